"""docs/claims.md says what the lessons and the ladder say."""

import re

import pytest
from book import NAMES, read, stated

import sim

OPTIMISATIONS = {
    "Batching",
    "FlashAttention",
    "KV cache",
    "PagedAttention",
    "Continuous batching",
    "Speculative decoding",
    "Prompt caching",
    "Quantization",
}
"""The notes' last table, all of it."""


@pytest.fixture(scope="module")
def page(repository):
    return (repository / "docs/claims.md").read_text(encoding="utf-8")


def test_its_figures_are_those_of_the_lessons(page):
    lessons = {name[:2]: stated(read(name)) for name in NAMES}
    found = re.findall(r"(-?\d[\d,]*(?:\.\d+)?)<!--(\d\d)\.(\w+)-->", page)
    assert len(found) == page.count("<!--") > 40
    wrong = [(lesson, claim, figure) for figure, lesson, claim in found if figure not in lessons[lesson][claim]]
    assert wrong == []
    assert {lesson for _, lesson, _ in found} == set(lessons)


def test_every_optimisation_of_the_notes_has_its_rung(page, repository):
    rungs = {rung.override: rung for rung in sim.load("ladder").ladder}
    shown = dict(re.findall(r"^\| `([\w-]+)` \|(.*)\|$", (repository / "docs/ladder.md").read_text(), re.MULTILINE))
    table = re.findall(r"^\| ([A-Z][\w ]+) \| `([\w-]+)` \| ([\d.]+) \|$", page, re.MULTILINE)
    assert {optimisation for optimisation, _, _ in table} == OPTIMISATIONS
    for _, rung, times in table:
        assert rungs[rung].against is not None
        assert shown[rung].split("|")[2].strip() == times


def test_its_links_lead_somewhere(page, repository):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page):
        assert (repository / "docs" / target).exists(), target
