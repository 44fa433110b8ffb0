"""docs/scenario.md says what the specifications say."""

import runpy


def test_the_page_is_the_one_made_from_the_docstrings(repository):
    made = runpy.run_path(str(repository / "docs/make_scenario_reference.py"))["reference"]()
    advice = "run: python docs/make_scenario_reference.py"
    assert (repository / "docs/scenario.md").read_text(encoding="utf-8") == made, advice


def test_every_field_has_a_meaning(repository):
    rows = [line for line in (repository / "docs/scenario.md").read_text().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert all(len(row.rsplit(" | ", 1)[1]) > 5 for row in rows)
