"""docs/validation.md says what the engines' entries claim."""

import runpy

from sim.cost.calibration import load_engine


def test_the_table_is_the_one_made_from_the_entries(repository):
    made = runpy.run_path(str(repository / "docs/make_calibration_table.py"))["page"]
    text = (repository / "docs/validation.md").read_text(encoding="utf-8")
    assert text == made(text), "run: python docs/make_calibration_table.py"
    claims = load_engine("nim", "h100-sxm-80gb")
    row = next(line for line in text.splitlines() if line.startswith("| `nim-h100-sxm-80gb` |"))
    assert f"| {claims.evidence.num_curves} | {claims.evidence.num_points} |" in row
    assert f"{100 * claims.errors['ttft'].median_frac:.1f}/" in row
