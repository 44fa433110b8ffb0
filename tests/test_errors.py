"""Errors: every problem on its own line, with where it is and what to try."""

import pickle

import pytest

from sim.errors import Problem, SpecError, TokenfleetError, did_you_mean


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("is wrong"), "is wrong"),
        (Problem("is wrong", "a.yaml"), "a.yaml  is wrong"),
        (Problem("is wrong", "a.yaml", 14), "a.yaml:14  is wrong"),
        (Problem("is wrong", "a.yaml", 14, "b.c"), "a.yaml:14  b.c: is wrong"),
        (Problem("is wrong", path="b.c"), "b.c: is wrong"),
        (Problem("is wrong", None, 3, "b.c"), "line 3  b.c: is wrong"),
    ],
)
def test_a_problem_says_where(problem, text):
    assert str(problem) == text


def test_an_error_holds_all_problems():
    error = SpecError(Problem("one", "a", 1), "two")
    assert str(error) == "a:1  one\ntwo"
    assert [problem.message for problem in error.problems] == ["one", "two"]
    assert error.exit_code == 2


def test_an_error_survives_the_way_to_another_process():
    error = pickle.loads(pickle.dumps(SpecError(Problem("one", "a", 1), "two")))
    assert (type(error), str(error)) == (SpecError, "a:1  one\ntwo")


def test_no_problems_no_error():
    TokenfleetError.raise_if([])
    with pytest.raises(SpecError, match="x"):
        SpecError.raise_if(["x"])


def test_help_with_an_unknown_word():
    known = ["max_num_seqs", "Replicas"]
    assert did_you_mean("max_num_seq", known) == "Did you mean max_num_seqs?"
    assert did_you_mean("REPLICAS", known) == "Did you mean Replicas?"
    assert did_you_mean("zzz", known) == "Known: Replicas, max_num_seqs."
    assert did_you_mean("zzz", [], what="Allowed") == "Allowed: none."
