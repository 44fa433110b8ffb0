"""The table of designs in docs/validation.md is that of benchmarks/designs.yaml, and of what was played."""

import runpy

import pytest


@pytest.fixture(scope="module")
def made(repository):
    return runpy.run_path(str(repository / "benchmarks/designs.py"))


def test_the_page_shows_every_expectation_beside_what_was_found(made, repository):
    text = (repository / "docs/validation.md").read_text(encoding="utf-8")
    shown = text.partition(made["BEGIN"])[2].partition(made["END"])[0].strip("\n")
    assert shown == made["page"](made["plan"](), made["results"]()), "run: python benchmarks/designs.py write"


def test_each_design_was_played_with_each_seed(made):
    plan, found = made["plan"](), made["results"]()
    assert list(found) == [design["name"] for design in plan["designs"]]
    assert all(len(figures["p50_ttft_ms"]) == len(plan["seeds"]) for figures in found.values())


def test_expectations_are_ranges_of_known_figures_with_a_reason(made):
    plan = made["plan"]()
    names = [design["name"] for design in plan["designs"]]
    assert len(set(names)) == len(names)
    for design in plan["designs"]:
        assert design.get("against", "none") in names
        for expected in design["expects"]:
            assert expected["low"] <= expected["high"]
            assert expected["why"]
            assert made["measured"](made["results"](), design, expected)


def test_a_design_is_a_scenario(made):
    plan = made["plan"]()
    for name in ("gate + stream check, client first, 8B", "gateway, fair", "session affinity"):
        design = next(one for one in plan["designs"] if one["name"] == name)
        assert made["scenario_of"](plan, design, 3).seed == 3
