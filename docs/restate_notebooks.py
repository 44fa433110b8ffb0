# ruff: noqa: INP001  (a script, in no package)
"""Plays notebooks, and writes the figures that come out where their text states them, with as many decimals as before.

Run `python docs/restate_notebooks.py`, or with names such as `01-first-run`, after a change that moves figures; then
read what stands around them, and run `docs/make_lessons.py`. What is outside its range is printed, for you to judge.
"""

from __future__ import annotations

import runpy
import sys
import tempfile
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
BOOK = runpy.run_path(str(ROOT / "tests" / "notebooks" / "book.py"))


def restate(name: str) -> list[str]:
    """Play one notebook, write its figures, and return what there is to say of them."""
    notebook = BOOK["read"](name)
    with tempfile.TemporaryDirectory() as folder:
        _, claims = BOOK["play"](name, Path(folder))
    said = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for written, claim in BOOK["FIGURE"].findall(cell.source):
                now = BOOK["rounded_as"](claims[claim][0], written)
                if now != written:
                    said.append(f"{name}: {claim} was {written}, is {now}")
                    cell.source = cell.source.replace(f"{written}<!--{claim}-->", f"{now}<!--{claim}-->")
    (BOOK["FOLDER"] / f"{name}.ipynb").write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    outside = {claim: row for claim, row in claims.items() if not row[1] <= row[0] <= row[2]}
    return said + [f"{name}: {claim} is {row[0]:g}, not in {row[1]:g} to {row[2]:g}" for claim, row in outside.items()]


def main() -> None:
    """Restate the notebooks that are named, or all."""
    for name in sys.argv[1:] or BOOK["NAMES"]:
        print("\n".join(restate(name)) or f"{name}: as it says")  # noqa: T201


if __name__ == "__main__":
    main()
