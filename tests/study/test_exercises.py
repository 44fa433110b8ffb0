"""Exercises of the lessons: three a lesson, answers that are computed, marks."""

import math
import re
from collections import Counter

import pytest

from sim.errors import SpecError
from sim.study.exercises import EXERCISES, answers, mark


@pytest.fixture(scope="module")
def known():
    return {one.id: one for one in answers()}


def test_each_lesson_has_three(repository):
    lessons = {path.name[:2] for path in (repository / "notebooks").glob("*.ipynb")}
    assert Counter(one.lesson for one in EXERCISES) == dict.fromkeys(lessons, 3)
    assert [one.id for one in EXERCISES] == [f"{lesson}.{i}" for lesson in sorted(lessons) for i in (1, 2, 3)]


def test_each_asks_and_says_how_and_in_what_unit():
    for one in EXERCISES:
        assert re.search(r"\?( |$)", one.question), one.id
        assert len(one.how) >= 10, one.id
        assert one.unit
        assert 0 < one.tolerance_frac <= 0.1


def test_answers_are_finite_and_the_same_twice(known):
    assert all(math.isfinite(one.value) and one.value != 0 for one in known.values())
    some = ("01.1", "03.1")
    assert answers(some) == [known[id_] for id_ in some]


@pytest.mark.parametrize(
    ("id_", "by_hand"),
    [
        ("01.1", 25.95),
        ("02.1", 312e12 / 2.039e12),
        ("02.3", 8),
        ("03.1", 2 * 80 * 8 * 128 * 2 * 32_768 / 1e9),
    ],
)
def test_answers_by_hand(known, id_, by_hand):
    assert known[id_].value == pytest.approx(by_hand)


def test_marks_allow_for_the_tolerance(known):
    right = known["01.1"].value
    marks = mark({"01.1": right * 1.019, "03.1": known["03.1"].value * 0.97})
    assert [one.right for one in marks] == [True, False]
    assert [one.given for one in marks] == [right * 1.019, known["03.1"].value * 0.97]


def test_all_mistakes_of_an_answer_sheet_are_said_at_once():
    with pytest.raises(SpecError) as raised:
        mark({"1.1": 3.0, "02.1": "153", "02.2": True})
    assert [problem.path for problem in raised.value.problems] == ["1.1", "02.1", "02.2"]
