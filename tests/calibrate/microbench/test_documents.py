"""docs/microbench.md says what each column is, in the words of the code."""

from sim.calibrate.microbench.plan import CONTEXTS, MATRICES, ROWS, SECTIONS
from sim.calibrate.microbench.points import COLUMNS


def test_columns_and_sections_are_documented(repository):
    text = (repository / "docs" / "microbench.md").read_text()
    assert [
        f"| `{name}` | {meaning} |" for name, meaning in COLUMNS.items() if f"| `{name}` | {meaning} |" in text
    ] == [f"| `{name}` | {meaning} |" for name, meaning in COLUMNS.items()]
    assert all(f"| `{name}` |" in text for name in SECTIONS)
    assert f"{len(ROWS)} numbers of rows from {min(ROWS)} to {max(ROWS):,}; {len(MATRICES)} (n, k)" in text
    assert f"contexts of {min(CONTEXTS)} to {max(CONTEXTS):,}" in text
