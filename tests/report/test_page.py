import dataclasses
import json
import re
import shutil
import subprocess

import pytest
from html_page import Page
from synthetic import finished

from sim.errors import SpecError
from sim.report.figures import figures
from sim.report.page import render, write_report


@pytest.fixture(scope="module")
def run():
    return finished(8000, saturated=True)[0]


@pytest.fixture(scope="module")
def text(run):
    return render(run)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_the_page_is_well_formed(page, text):
    assert text.startswith("<!DOCTYPE html>")
    assert page.errors == []
    assert page.open == []


def test_the_page_loads_nothing(page):
    assert page.all("link") == page.all("img") == page.all("iframe") == []
    for _, attrs in page.elements:
        assert not {"src", "href", "action", "srcset", "data"} & set(attrs)
        assert "url(" not in (attrs.get("style") or "")
    assert page.all("script")


def test_the_browser_is_told_to_load_nothing(page):
    policies = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    (policy,) = policies
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    assert "connect-src" not in policy


def test_no_figure_is_offered_to_a_cloud(page):
    config = json.loads(page.scripts[2])
    assert config["showSendToCloud"] is False
    assert config["displaylogo"] is False
    assert "Plotly.newPlot(id, figure.data, figure.layout, config)" in page.scripts[3]


def test_plotlyjs_is_there_once_and_the_page_is_small(text, page):
    assert sum(len(script) > 1_000_000 for script in page.scripts) == 1
    assert len(text.encode()) < 15e6


def test_every_figure_is_drawn_described_and_has_its_data(page, run):
    drawn = json.loads(page.scripts[1])
    assert set(drawn) == set(figures(run))
    ids = {attrs["id"]: attrs for _, attrs in page.elements if "id" in attrs}
    tables = len(page.all("table"))
    for key, figure in drawn.items():
        assert figure["data"], key
        assert ids[key]["role"] == "img"
        assert ids[key]["aria-label"]
        assert f"{key}-description" in ids
    assert tables >= len(drawn)


def test_ids_are_unique(page):
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_users_text_is_escaped(text):
    assert "a day &lt;of&gt; tests" in text
    assert "a &lt;b&gt;price&lt;/b&gt; list" in text
    assert "<b>price" not in text


def test_a_name_cannot_end_the_data(run):
    evil = "</script><script>alert(1)</script>"
    tiers = {evil: run.result["sim"]["by_tier"]["free"]}
    result = {**run.result, "sim": {**run.result["sim"], "by_tier": tiers}}
    renamed = dataclasses.replace(
        run, result=result, tiers=(evil,), histograms={evil: run.histograms["free"]}, assumptions=[]
    )
    text = render(renamed)
    assert "alert(1)" in text
    assert len(Page(text).scripts) == len(Page(render(run)).scripts)


def test_what_matters_is_on_the_page(text, run):
    assert "SATURATED" in text
    assert run.result["sim"]["digest"] in text
    assert "residual_frac" in text
    assert "a-host" in text
    assert run.result["sim"]["cost"]["rule"][:30] in text
    assert "name: a day of tests" in text


def test_warnings_stand_between_the_verdict_and_the_headline(run):
    far = {"main": {"status": "extrapolated", "notes": ["<16> was not measured."]}}
    text = render(dataclasses.replace(run, result={**run.result, "sim": {**run.result["sim"], "calibration": far}}))
    parts = ('role="status"', '<p class="warning">Not answered: ', '<p class="warning">Extrapolated: ', "<dl ")
    order = [text.index(part) for part in parts]
    assert order == sorted(order)
    assert "&lt;16&gt; was not measured; 1 note in the report." in text


def test_light_and_dark(text):
    assert "prefers-color-scheme: dark" in text
    assert '<meta name="color-scheme" content="light dark">' in text


def test_the_same_run_has_the_same_page(text):
    assert render(finished(8000, saturated=True)[0]) == text


def test_a_run_without_requests_has_a_page():
    page = Page(render(finished(0)[0]))
    assert page.errors == page.open == []
    assert set(json.loads(page.scripts[1])) == set(figures(finished(0)[0]))


def test_the_page_is_written_or_the_error_is_clear(run, tmp_path):
    write_report(run, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render(run)
    with pytest.raises(SpecError, match="cannot write"):
        write_report(run, tmp_path)


@pytest.mark.web
def test_a_browser_draws_every_figure(run, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium")
    write_report(run, tmp_path / "report.html")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=15000", "--dump-dom"]
    done = subprocess.run(
        [*command, (tmp_path / "report.html").as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    assert len(re.findall(r'class="[^"]*\bjs-plotly-plot\b', done.stdout)) == len(figures(run))
