"""The script that restates figures: it writes what came out, as it was rounded, and says what moved."""

import runpy
import shutil

import book
import pytest


@pytest.fixture
def restate(repository, tmp_path):
    script = runpy.run_path(str(repository / "docs/restate_notebooks.py"))
    name = book.NAMES[0]
    shutil.copy(book.FOLDER / f"{name}.ipynb", tmp_path)
    found = script["restate"].__globals__["BOOK"]

    def _restate(claims):
        original = book.read(name)
        found.update(read=lambda _: original, FOLDER=tmp_path, play=lambda *_: (original, claims))
        said = script["restate"](name)
        return said, (tmp_path / f"{name}.ipynb").read_text(encoding="utf-8")

    return _restate


def test_what_has_not_moved_stays(restate):
    written = {claim: float(each[0].replace(",", "")) for claim, each in book.stated(book.read(book.NAMES[0])).items()}
    said, text = restate({claim: (value, value, value) for claim, value in written.items()})
    assert said == []
    assert text == (book.FOLDER / f"{book.NAMES[0]}.ipynb").read_text(encoding="utf-8")


def test_what_has_moved_is_written_and_what_is_outside_is_said(restate):
    stated = book.stated(book.read(book.NAMES[0]))
    claims = {claim: (float(each[0].replace(",", "")), -1e9, 1e9) for claim, each in stated.items()}
    said, text = restate(claims | {"in_flight": (1234.56, 10, 20)})
    assert said == [
        f"{book.NAMES[0]}: in_flight was {stated['in_flight'][0]}, is 1,234.6",
        f"{book.NAMES[0]}: in_flight is 1234.56, not in 10 to 20",
    ]
    assert "1,234.6<!--in_flight-->" in text
