"""What every notebook looks like, without running it."""

import ast
import re

import nbformat
import pytest
from book import FOLDER, NAMES, read, stated, tagged

pytestmark = pytest.mark.parametrize("name", NAMES)


def test_there_are_at_most_ten_in_order(name):
    assert 1 <= len(NAMES) <= 10
    assert [int(one[:2]) for one in NAMES] == list(range(1, len(NAMES) + 1))
    assert re.fullmatch(r"\d\d-[a-z]+(-[a-z]+)*", name)


def test_it_is_valid_and_as_nbformat_writes_it(name):
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    notebook = read(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert text == nbformat.writes(notebook) + "\n"


def test_it_has_no_outputs_and_names_for_cells(name):
    notebook = read(name)
    for cell in notebook.cells:
        assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", cell.id)  # a word, which stays as it is
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_it_asks_expects_runs_and_compares(name):
    notebook = read(name)
    question, expectation = notebook.cells[:2]
    *_, claims, compared = notebook.cells
    kinds = [cell.cell_type for cell in notebook.cells]
    assert [cell.metadata.tags for cell in (question, expectation, claims, compared)] == [
        ["question"], ["expectation"], ["claims"], ["compared"],
    ]  # fmt: skip
    assert (kinds[0], kinds[1], kinds[-2], kinds[-1]) == ("markdown", "markdown", "code", "markdown")
    assert question.source.startswith(f"# {int(name[:2])}. ")
    assert "**Question.**" in question.source
    assert expectation.source.startswith("## What we expect\n")
    assert re.search(r"\*\*[^*]*\d", expectation.source), "an expectation is a number"
    assert compared.source.startswith("## Compare\n")
    assert kinds.count("code") >= 3
    words = sum(len(cell.source.split()) for cell in notebook.cells if cell.cell_type == "markdown")
    assert words < 1000, "a few minutes to read"


def test_figures_say_what_they_show(name):
    found = tagged(read(name), "figure")
    assert found
    assert all(cell.cell_type == "code" and len(cell.metadata.shows) > 20 for cell in found)
    assert all(cell.metadata.shows.endswith(".") for cell in found)


def test_every_claim_is_stated_and_every_stated_figure_is_a_claim(name):
    notebook = read(name)
    (cell,) = tagged(notebook, "claims")
    last = ast.parse(cell.source).body[-1]
    assert isinstance(last, ast.Assign)
    assert ast.unparse(last.targets[0]) == "claims"
    assert isinstance(last.value, ast.Dict)
    names = [ast.literal_eval(key) for key in last.value.keys]
    assert all(isinstance(claim, ast.Tuple) and len(claim.elts) == 3 for claim in last.value.values)
    assert sorted(names) == sorted(stated(notebook))


def test_links_lead_somewhere(name):
    for cell in read(name).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)#]+)[^)]*\)", cell.source):
                assert target.startswith("https://") or (FOLDER / target).exists(), target
