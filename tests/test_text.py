"""Hygiene of the repository's text: short files, no paths of a build machine, plain punctuation in code."""

import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

MAX_PYTHON_LINES = 400  # what one reads in one sitting
NOT_OURS = {"__pycache__", "build", "dist", "runs"}
TEXT = {
    "",
    ".cff",
    ".cfg",
    ".css",
    ".csv",
    ".html",
    ".ipynb",
    ".j2",
    ".js",
    ".json",
    ".md",
    ".py",
    ".toml",
    ".txt",
    ".yaml",
}

# An absolute path into somebody's home, project folder or mount.
MACHINE_PATH = re.compile(r"(?<![\w.~/)}-])/(?:home|mnt|opt|root|srv|Users|work|workspace)/[\w.-]+")


def _files(repository: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(repository):
        folders[:] = [name for name in folders if name == ".ci" or not (name in NOT_OURS or name.startswith("."))]
        yield from (Path(folder, name) for name in names if Path(name).suffix in TEXT)


@pytest.fixture(scope="module")
def python_files(repository):
    return [path for path in _files(repository) if path.suffix == ".py"]


def test_no_python_file_is_longer_than_one_sitting(repository, python_files):
    lengths = {str(path.relative_to(repository)): path.read_text().count("\n") for path in python_files}
    assert lengths  # the walk found the code
    assert {path: lines for path, lines in lengths.items() if lines > MAX_PYTHON_LINES} == {}


def test_code_uses_plain_punctuation(repository, python_files):
    found = {
        f"{path.relative_to(repository)}: {character!r}"
        for path in python_files
        for character in set(path.read_text())
        if not character.isascii() and unicodedata.category(character).startswith("P")
    }
    assert found == set()


def test_no_text_names_a_path_of_a_machine(repository):
    found = [
        f"{path.relative_to(repository)}:{number}: {hit.group()}"
        for path in _files(repository)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        for hit in MACHINE_PATH.finditer(line)
    ]
    assert found == []


@pytest.mark.parametrize("folder", ["home", "root", "Users", "work"])
@pytest.mark.parametrize("text", ["{}", "see {} there", "'{}'", "file:{}"])
def test_a_path_of_a_machine_is_seen(text, folder):
    assert MACHINE_PATH.search(text.format(f"/{folder}/ann"))


@pytest.mark.parametrize("text", ["https://example.org/home/ann", "traffic/home/load", "{base}/opt/x", "and/or"])
def test_other_slashes_are_not(text):
    assert not MACHINE_PATH.search(text)
