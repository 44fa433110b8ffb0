# ruff: noqa: INP001  (a script, in no package)
"""Writes docs/lessons/ from the notebooks and the exercises.

Run `python docs/make_lessons.py` after a change of either; a test compares. Nothing is played but what the exercises'
answers need: figures in the text are held by the tests that play the notebooks.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sim.study.exercises import Answer, answers

ROOT = Path(__file__).resolve().parents[1]
FIGURE = re.compile(r"(-?\d[\d,]*(?:\.\d+)?)<!--(\w+)-->")
ABOUT = """\
# Lessons

Each is a notebook in `notebooks/` as a page to read: a question, what was expected before anything was run, what came
out. Every figure that a text states is held to the run by a test (`make test-slow`), within the range that stands
beside it in the table. `tokenfleet audit --answers FILE` marks answers to the exercises.

"The notes" are those of the course that the project began with; what they and other seeds say of serving stands beside
our figures in [claims.md](../claims.md).

These pages are made by `docs/make_lessons.py`; `docs/restate_notebooks.py` plays the notebooks and writes figures anew.

"""


def pages() -> dict[str, str]:
    """Return every page by its file name."""
    known = answers()
    found = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        exercises = [one for one in known if one.id.startswith(path.stem[:2])]
        found[f"{path.stem}.md"] = "\n".join(lesson(path.stem, notebook["cells"], exercises))
    titles = {name: text.partition("\n")[0].lstrip("# ") for name, text in found.items()}
    contents = "\n".join(f"* [{title}]({name})" for name, title in titles.items())
    return {"README.md": f"{ABOUT}{contents}\n"} | found


def lesson(name: str, cells: list[dict[str, Any]], exercises: list[Answer]) -> Iterator[str]:
    """Yield the lines of one lesson."""
    texts = ["".join(cell["source"]) for cell in cells]
    stated: dict[str, str] = {}
    for text in texts:
        stated |= {claim: figure for figure, claim in FIGURE.findall(text)}
    for cell, text in zip(cells, texts, strict=True):
        tags = cell["metadata"].get("tags", ())
        if "claims" in tags:
            yield from claims(text, stated)
        elif cell["cell_type"] == "markdown":
            yield plain(text) + "\n"
            if "question" in tags:
                yield f"The notebook: [notebooks/{name}.ipynb](../../notebooks/{name}.ipynb).\n"
        else:
            yield f"```python\n{text}\n```\n"
            if "figure" in tags:
                yield f"*Figure: {cell['metadata']['shows']}*\n"
    yield "## Exercises\n"
    yield from (f"{i}. **{one.id}** {one.question}" for i, one in enumerate(exercises, start=1))
    yield "\n<details><summary>Answers</summary>\n"
    yield "| exercise | answer | right within | how |\n|---|---:|---:|---|"
    for one in exercises:
        yield f"| {one.id} | {digits(one.value)} {one.unit} | {within(one.tolerance_frac)} | {one.how} |"
    yield "\n</details>\n"


def plain(text: str) -> str:
    """Return a notebook's text with its figures unmarked, and its links as seen from docs/lessons."""
    return FIGURE.sub(r"\1", text).replace("](../", "](../../").replace("](../../docs/", "](../")


def claims(code: str, stated: dict[str, str]) -> Iterator[str]:
    """Yield the table of what a lesson claims: the figure, and the range that the test holds it to."""
    assigned = ast.parse(code).body[-1]
    if not isinstance(assigned, ast.Assign) or not isinstance(assigned.value, ast.Dict):
        message = "the cell of claims ends with `claims = {...}`"
        raise TypeError(message)
    yield "What came out, and the range in which it must be:\n"
    yield "| figure | value | from | to |\n|---|---:|---:|---:|"
    for key, claim in zip(assigned.value.keys, assigned.value.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(claim, ast.Tuple):
            low, high = (bound(one) for one in claim.elts[1:])
            yield f"| {str(key.value).replace('_', ' ')} | {stated[str(key.value)]} | {low} | {high} |"
    yield ""


def bound(node: ast.expr) -> str:
    """Return a bound as it is written: a number, or an expression."""
    text = ast.unparse(node)
    return f"{float(text):,g}" if re.fullmatch(r"-?[\d._]+", text) else f"`{text}`"


def within(tolerance_frac: float) -> str:
    """Return a tolerance, or that there is none to speak of."""
    return f"{tolerance_frac:.0%}" if tolerance_frac >= 0.005 else "exactly"


def digits(value: float) -> str:
    """Return four significant digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def main() -> None:
    """Write the pages, and remove those of notebooks that are gone."""
    folder = ROOT / "docs" / "lessons"
    folder.mkdir(exist_ok=True)
    made = pages()
    for path in folder.glob("*.md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
