"""docs/microbench.md says what each column is, in the words of the code."""

from sim.calibrate.microbench.plan import CONTEXTS, MATRICES, ROWS, SECTIONS
from sim.calibrate.microbench.points import COLUMNS


def test_columns_sections_and_grids_are_documented(repository):
    text = (repository / "docs" / "microbench.md").read_text()
    assert [name for name, meaning in COLUMNS.items() if f"| `{name}` | {meaning} |" not in text] == []
    assert [name for name in SECTIONS if f"| `{name}` |" not in text] == []
    assert f"{len(ROWS)} numbers of rows from {min(ROWS)} to {max(ROWS):,}; {len(MATRICES)} (n, k)" in text
    assert f"contexts of {min(CONTEXTS)} to {max(CONTEXTS):,}" in text
