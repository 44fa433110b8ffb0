"""The page of traffic: well-formed, whole in itself, and for every figure a table."""

import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from html_page import Page
from rich.console import Console

from sim.errors import SpecError
from sim.report.traffic import panels
from sim.report.traffic_page import render_compared, render_traffic, write_folder
from sim.traffic.statistics import Labels, Seen, Statistics

KEYS = ["rates", "dispersion", "lengths", "gaps", "turns", "reuse"]
NAME = "<b>mine</b>"


def statistics(*, whole):
    """Statistics of made-up requests of three hours; of text and sessions too, where `whole`."""
    rng = np.random.default_rng(1)
    times_s = np.sort(rng.uniform(0.0, 10_800.0, 3000))
    found = Statistics(16)
    for t_s in np.array_split(times_s, 3):
        seen = Seen(t_s, rng.integers(1, 900, len(t_s)), rng.integers(1, 90, len(t_s)))
        seen.labels["tier"] = Labels(rng.integers(0, 2, len(t_s)), ["free", "</script>"])
        if whole:
            seen.gap_s = np.where(rng.random(len(t_s)) < 0.5, np.nan, rng.exponential(60.0, len(t_s)))
            seen.new_tokens = seen.prompt_tokens // 2 + 1
            seen.ended_turns = rng.integers(1, 30, 100)
            seen.user = rng.integers(0, 50, len(t_s))
            seen.sampled = np.arange(len(t_s))
            seen.blocks = [list(range(tokens // 16 + 1)) for tokens in seen.prompt_tokens.tolist()]
        found.add(seen)
    traffic = {"kind": "trace", "name": NAME, "source": "trace", "path": "x.csv", "format": "auto", "operations": []}
    rows = {"rows": 3001, "kept": 3000, "repairs": {"length": 1}, "left_out": {"failed requests": 7}}
    return {"traffic": traffic | {"rows": rows, "note": "this is assumed"}, **found.result()}


@pytest.fixture(scope="module")
def whole():
    return statistics(whole=True)


@pytest.fixture(scope="module")
def text(whole, tmp_path_factory):
    folder = tmp_path_factory.mktemp("traffic")
    write_folder(whole, folder)
    assert json.loads((folder / "traffic.json").read_text()) == whole
    return (folder / "traffic.html").read_text()


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_the_page_is_well_formed_and_whole_in_itself(page, text):
    assert page.errors == []
    assert page.open == []
    assert not [
        attrs for tag in ("script", "link", "img") for attrs in page.all(tag) if "src" in attrs or "href" in attrs
    ]
    assert NAME not in text.replace("&lt;b&gt;", "")
    assert "Length" in text


def test_every_figure_has_a_description_and_a_table(whole, page):
    shown = panels(whole)
    assert [panel.key for panel in shown] == KEYS
    ids = {attrs.get("id") for _, attrs in page.elements}
    for panel in shown:
        assert {panel.key, f"{panel.key}-title", f"{panel.key}-description"} <= ids
        assert len(panel.description) > 40
        assert panel.table.rows
        assert all(len(row) == len(panel.table.header) for row in panel.table.rows)
        assert panel.figure.data


def test_figures_show_the_numbers_of_the_statistics(whole):
    by_key = {panel.key: panel for panel in panels(whole)}
    rates = by_key["rates"].figure.data
    assert [trace.name for trace in rates] == ["free", "</script>"]
    total = sum(np.sum(trace.y) for trace in rates) * whole["rates"]["width_s"]
    assert total == pytest.approx(3000, rel=1e-3)
    fano = by_key["dispersion"].figure.data[0]
    assert list(fano.y) == [row["fano"] for row in whole["arrivals"]["by_window"] if row["fano"] is not None]
    assert sum(by_key["turns"].figure.data[0].y) == pytest.approx(1.0)
    reuse = by_key["reuse"].figure.data[0]
    assert list(reuse.y) == [row["token_frac"] for row in whole["reuse"]["by_cache_size"]]
    prompt = by_key["lengths"].figure.data[0]
    assert np.interp(0.5, prompt.y, prompt.x) == pytest.approx(whole["prompt_tokens"]["p50_tokens"], rel=0.01)


def test_what_is_not_known_is_left_out():
    poor = statistics(whole=False)
    assert [panel.key for panel in panels(poor)] == ["rates", "dispersion", "lengths"]
    told = shown_as_text(render_traffic(poor))
    assert "Prefix reuse" not in told
    assert "between turns" not in told


def shown_as_text(renderable):
    console = Console(width=250, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()


def test_the_terminal_shows_what_was_taken_for_granted(whole):
    told = shown_as_text(render_traffic(whole))
    assert "This is assumed." in told
    assert "1 rows with negative, zero or absurd lengths, dropped" in told
    assert "Left out: 7 failed requests." in told
    assert "Prefix reuse" in told
    assert "By tier" in told


def test_a_terminal_of_80_columns_cuts_no_name_and_no_number(whole):
    console = Console(width=80, file=io.StringIO())
    console.print(render_traffic(whole))
    told = console.file.getvalue()
    assert "\N{HORIZONTAL ELLIPSIS}" not in told
    assert max(map(len, told.splitlines())) <= 80
    median = whole["prompt_tokens"]["p50_tokens"]
    lengths = [line.split() for line in told.splitlines() if line.startswith("  prompt  ")]
    assert lengths[0][3] == f"{median:.4g}"
    assert "p99.9" in shown_as_text(render_traffic(whole))
    assert "p99.9" not in told


def test_two_side_by_side(whole):
    told = shown_as_text(render_compared(whole, whole))
    assert "prompt [tokens], p50" in told
    assert "+0.0%" in told


def test_a_page_that_cannot_be_written(whole, tmp_path):
    with pytest.raises(SpecError, match="cannot write there"):
        write_folder(whole, tmp_path / "not" / "there")


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to parse the page's script")
def test_the_scripts_parse(page, tmp_path):
    script = tmp_path / "page.js"
    script.write_text(page.scripts[-1])
    assert subprocess.run(["node", "--check", script], check=False).returncode == 0


@pytest.mark.web
def test_a_browser_draws_every_figure(text, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium")
    page = tmp_path / "traffic.html"
    page.write_text(text)
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=15000", "--dump-dom"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    assert len(re.findall(r'class="[^"]*\bjs-plotly-plot\b', done.stdout)) == len(KEYS)
