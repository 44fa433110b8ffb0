"""docs/scenario.md and docs/lifecycle-fields.md say what the specifications say."""

import runpy

import pytest

PAGES = ("scenario.md", "lifecycle-fields.md")


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_the_one_made_from_the_docstrings(repository, page):
    made = runpy.run_path(str(repository / "docs/make_scenario_reference.py"))["reference"](page)
    advice = "run: python docs/make_scenario_reference.py"
    assert (repository / "docs" / page).read_text(encoding="utf-8") == made, advice


@pytest.mark.parametrize("page", PAGES)
def test_every_field_has_a_meaning(repository, page):
    rows = [line for line in (repository / "docs" / page).read_text().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert all(len(row.rsplit(" | ", 1)[1]) > 5 for row in rows)
