"""The log of steps, taken apart: rows made by hand, and recorded steps written as a plane would log them."""

from pathlib import Path

import numpy as np
import pytest

from sim.fleet.golden import find_cases, read_case
from sim.fleet.steps import Step, Steps
from sim.plane.log import ADMIT, DONE, END, ENTRY, FINISH, INNER, PREEMPT, STATE, STEP
from sim.plane.tables import LOG

RECORDED = Path(__file__).parents[1] / "golden"
CASES = find_cases([RECORDED])


def log(*rows):
    """(kind, t_s, a, b, c), zeros at the end left out."""
    table = np.zeros(len(rows), LOG)
    for row, given in zip(table, rows, strict=True):
        for name, value in zip(("kind", "t_s", "a", "b", "c"), given, strict=False):
            row[name] = value
    return table


def steps_of(rows, arrivals_s=(0.0,), *, asynchronous=False):
    steps = Steps(list(arrivals_s), asynchronous=asynchronous)
    # Where the log is cut makes no difference.
    steps.add(rows[:3])
    steps.add(rows[3:])
    return steps.all()


def test_a_step_as_it_is_logged():
    (step,) = steps_of(
        log(
            (PREEMPT, 1.0, 3),
            (ADMIT, 2.0, 5, 8, 1),
            (STEP, 2.0, 0, 2, 1),
            (STATE, 2.5, 10, 7),
            (ENTRY, 2.0, 4, 1, 9),
            (ENTRY, 2.0, 5, 6, 8),
            (END, 3.0, 0),
            (FINISH, 3.0, 4),
            (DONE, 3.0, 0, 13),
        )
    )
    assert step == Step(
        step=0, t_sched=2.0, t_start=2.5, t_end=3.0, sched=[(4, 1, 9), (5, 6, 8)], admit=[(5, 8, 1)], preempt=[3],
        running=2, waiting=1, free=10, hashed=7, finish=[4], free_end=13,
    )  # fmt: skip


# Two requests decode, with 5 and 7 tokens before the leap's first step; a third comes at 3.0, and is seen by what is
# formed at or after that time.
LEAP = log(
    (STEP, 1.0, 0, 2, 0),
    (STATE, 1.0, 10, 5),
    (ENTRY, 1.0, 0, 1, 5),
    (ENTRY, 1.0, 1, 1, 7),
    (END, 2.0, 0),
    (INNER, 3.0, 1, 10, 5),
    (INNER, 4.0, 2, 8, 6),
    (INNER, 5.5, 3, 8, 6),
    (FINISH, 5.5, 1),
    (DONE, 5.5, 3, 10),
)
ARRIVALS_S = (0.0, 0.0, 3.0)


def test_the_rest_of_a_leap_follows_from_its_first_step():
    steps = steps_of(LEAP, ARRIVALS_S)
    assert [step.step for step in steps] == [0, 1, 2, 3]
    assert [(step.t_sched, step.t_start, step.t_end) for step in steps] == [
        (1.0, 1.0, 2.0), (2.0, 2.0, 3.0), (3.0, 3.0, 4.0), (4.0, 4.0, 5.5),
    ]  # fmt: skip
    assert [step.sched for step in steps] == [[(0, 1, 5 + k), (1, 1, 7 + k)] for k in range(4)]
    assert [step.running for step in steps] == [2] * 4
    assert [step.waiting for step in steps] == [0, 0, 1, 1]
    assert [step.hashed for step in steps] == [5, 5, 6, 6]
    assert [step.free_end for step in steps] == [10, 10, 8, 10]
    assert [step.finish for step in steps] == [[], [], [], [1]]


def test_two_steps_in_flight():
    steps = steps_of(LEAP, ARRIVALS_S, asynchronous=True)
    # A step is formed when the one before the last ends.
    assert [step.t_sched for step in steps] == [1.0, 1.0, 2.0, 3.0]
    assert [step.waiting for step in steps] == [0, 0, 0, 1]
    assert [step.free_end for step in steps] == [10, 8, 8, 10]


def as_logged(case, longest):
    """A case's steps as rows of a log, decode runs as leaps of at most `longest` steps; and how many they hide."""
    serial = {request["id"]: number for number, request in enumerate(case.requests)}
    prompt = {request["id"]: sum(n for _, n in request["prompt"]) for request in case.requests}
    asynchronous = case.config["async_scheduling"]
    rows, hidden, length = [], 0, 0
    last = before_last = None
    for step in case.steps:
        follows = (
            last is not None
            and not (step["admit"] or step["preempt"] or last["finish"])
            # Asynchronously, it is the end of the step before the last that this one is formed at.
            and not (asynchronous and before_last and before_last["finish"])
            and step["sched"] == [[name, 1, before + 1] for name, _, before in last["sched"]]
            and all(before > prompt[name] for name, _, before in step["sched"])
            and step["t_start"] == last["t_end"]
        )
        if follows and length < longest:
            length, hidden = length + 1, hidden + 1
            rows.append((INNER, step["t_end"], step["step"], step["free"], step["hashed"]))
        else:
            length = 0
            rows += [(ADMIT, step["t_sched"], serial[name], *rest) for name, *rest in step["admit"]]
            rows += [(PREEMPT, step["t_sched"], serial[name]) for name in step["preempt"]]
            rows.append((STEP, step["t_sched"], step["step"], step["running"], step["waiting"]))
            rows.append((STATE, step["t_start"], step["free"], step["hashed"]))
            rows += [(ENTRY, step["t_sched"], serial[name], *rest) for name, *rest in step["sched"]]
            rows.append((END, step["t_end"], step["step"]))
        if step["finish"]:
            rows += [(FINISH, step["t_end"], serial[name]) for name in step["finish"]]
        if step["finish"] or length == longest or asynchronous:
            rows.append((DONE, step["t_end"], step["step"], step["free_end"]))
        before_last, last = last, step
    return log(*rows), hidden


@pytest.mark.parametrize("longest", [0, 3, 1000])
@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_recorded_steps_come_back_from_their_log(folder, longest):
    case = read_case(folder)
    rows, hidden = as_logged(case, longest)
    assert (hidden > 0) == (longest > 0)
    arrivals_s = [request["arrival"] for request in case.requests]
    found = steps_of(rows, arrivals_s, asynchronous=case.config["async_scheduling"])
    ids = [request["id"] for request in case.requests]
    assert len(found) == len(case.steps)
    for step, want in zip(found, case.steps, strict=True):
        assert [[ids[serial], *rest] for serial, *rest in step.sched] == want["sched"]
        assert [ids[serial] for serial in step.finish] == want["finish"]
        for name in ("step", "t_sched", "t_start", "t_end", "running", "waiting", "free", "hashed", "free_end"):
            assert getattr(step, name) == want[name], (want["step"], name)
