"""The figures of every notebook in a real browser: they draw, and nothing is said on the console."""

import json
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs

sys.path.append(str(Path(__file__).parents[1] / "notebooks"))

from book import NAMES, figures, play

pytestmark = pytest.mark.web

PAGE = """<!DOCTYPE html><html><head><meta charset="utf-8"><script>
const said = [];
const note = () => document.documentElement.setAttribute("data-said", JSON.stringify(said));
for (const level of ["error", "warn"]) console[level] = (...words) => {{ said.push(words.join(" ")); note(); }};
addEventListener("error", event => {{ said.push(event.message); note(); }});
addEventListener("unhandledrejection", event => {{ said.push(String(event.reason)); note(); }});
note();
</script><script>{plotly}</script></head><body><script>
for (const [number, figure] of {figures}.entries()) {{
  const place = document.body.appendChild(document.createElement("div"));
  place.style.width = "800px";
  Plotly.newPlot(place, figure.data, figure.layout).then(() => place.setAttribute("data-drawn", number));
}}
</script></body></html>
"""


def browse(figures, folder):
    """Draw figures in a browser. Returns how many were drawn, their marks by figure, and what the console was told."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium")
    page = folder / "figures.html"
    page.write_text(
        PAGE.format(plotly=get_plotlyjs(), figures=json.dumps(figures).replace("</", "<\\/")), encoding="utf-8"
    )
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, check=True, timeout=180)
    dom = done.stdout
    drawn = re.findall(r'data-drawn="(\d+)"', dom)
    parts = re.split(r'<div class="js-plotly-plot', dom)[1:]
    marks = [len(re.findall(r'<path class="(?:point|js-line)|<g class="point"|class="trace ', part)) for part in parts]
    said = json.loads(unescape(re.search(r'data-said="([^"]*)"', dom).group(1)))
    return len(drawn), marks, said


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_of_a_notebook_draws(name, tmp_path):
    notebook, _ = play(name, tmp_path)
    found = figures(notebook)
    drawn, marks, said = browse(found, tmp_path)
    assert said == []
    assert drawn == len(found) > 0
    assert len(marks) == len(found)
    assert all(marks), marks


def test_a_figure_that_cannot_be_drawn_is_noticed(tmp_path):
    good = {"data": [{"type": "scatter", "x": [1, 2], "y": [1, 2]}], "layout": {}}
    drawn, (marks,), said = browse([good], tmp_path)
    assert (drawn, said) == (1, [])
    assert marks >= 3  # a line and two points
    _, (marks,), _ = browse([{"data": [{"type": "scatter", "x": [], "y": []}], "layout": {}}], tmp_path)
    assert marks == 0
    _, _, said = browse([None], tmp_path)
    assert said
