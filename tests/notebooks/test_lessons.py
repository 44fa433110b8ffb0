"""docs/lessons says what the notebooks and the exercises say."""

import re
import runpy

import pytest
from book import NAMES


@pytest.fixture(scope="module")
def pages(repository):
    return runpy.run_path(str(repository / "docs/make_lessons.py"))["pages"]()


def test_the_pages_are_those_made_from_the_notebooks(repository, pages):
    folder = repository / "docs/lessons"
    written = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    assert written == pages, "run: python docs/make_lessons.py"


def test_every_notebook_has_one_and_nothing_of_the_marks_is_left(pages):
    assert sorted(pages) == sorted(["README.md", *(f"{name}.md" for name in NAMES)])
    for name, text in pages.items():
        assert "<!--" not in text
        if name != "README.md":
            assert f"({name})" in pages["README.md"]
            assert text.count("*Figure: ") >= 1


def test_links_of_the_pages_lead_somewhere(repository, pages):
    for text in pages.values():
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            assert target.startswith("https://") or (repository / "docs/lessons" / target).exists(), target
