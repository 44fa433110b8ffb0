"""Classifiers beside the answer in pools with gateways: random worlds, with replicas that fail too, and by hand."""

from dataclasses import replace

import pytest
from compare import compare
from drive import identical, in_chunks, run_plane
from hypothesis import HealthCheck, given, settings
from small import constant, kind, rows
from test_companions import both, guarded
from worlds import Scene, play_scene
from worlds_companions import beside
from worlds_failures import failing
from worlds_gateway import gated
from worlds_singly import PIPELINE, PLAIN, SPECULATION

from sim.fleet.clocks import CLOCKS
from sim.metrics.records import ABANDONED, COMPLETED, SHED, TIMED_OUT
from sim.plane.owner import Plane
from sim.plane.promises import Gateway, Promise

pytestmark = pytest.mark.filterwarnings("error")
SCENES = settings.default.max_examples
FREELY = {
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
}


def agree(scene):
    """Whether plane and readable model are one, to the bit, and the plane under both clocks, leaping or not."""
    slow = play_scene(scene, exact=True)
    reference = run_plane(scene)
    assert compare(reference, slow) == []
    assert identical(reference, run_plane(scene, clock="simpy"))
    assert identical(reference, run_plane(scene, leap=False))


@settings(max_examples=SCENES, **FREELY)
@given(beside(gated(exact=True)))
def test_plane_is_the_readable_model_to_the_bit(scene):
    agree(scene)


@settings(max_examples=SCENES, **FREELY)
@given(beside(gated(exact=False)))
def test_plane_is_the_readable_model_in_general(scene):
    slow = play_scene(scene, exact=False)
    assert compare(run_plane(scene), slow, time_tol=1e-9) == []


@settings(max_examples=SCENES // 2, **FREELY)
@given(beside(gated(exact=True, kinds=(PLAIN, PIPELINE, SPECULATION))))
def test_step_by_step(scene):
    agree(scene)


@settings(max_examples=SCENES // 2, **FREELY)
@given(beside(gated(exact=True, split=True)))
def test_with_answers_from_two_pools(scene):
    agree(scene)


@settings(max_examples=SCENES // 2, **FREELY)
@given(failing(gated(exact=True), exact=True))
def test_replicas_fail_behind_gateways(scene):
    agree(scene)


@settings(max_examples=SCENES, **FREELY)
@given(beside(failing(gated(exact=True), exact=True)))
def test_replicas_fail_beside_answers_behind_gateways(scene):
    agree(scene)


# ------------------------------------------------------------------ by hand: 1 s a step, guards 1/8 s a token

ONE_PLACE = {"gateway": Gateway(max_outstanding=1, order="fifo")}


def promised(world, **promise):
    """A world whose only tier was promised something."""
    return replace(world, promises={"tier": Promise(**promise)}, has_deadlines=True)


def test_a_first_token_is_the_later_of_the_answer_and_a_verdict_that_waited_in_line():
    """Gates read 16 and 8 tokens one after the other, the second from 2 s on; both answers begin with 1 s."""
    done = both(Scene(guarded(gate={}, guard=ONE_PLACE), rows((0.0, 16, 3), (0.0, 8, 3))))
    assert done["first_token_s"].tolist() == [2.0, 3.0]
    assert done["verdict_s"].tolist() == [1.0, 2.0]
    assert done["end_s"].tolist() == [3.0, 3.0]
    assert done["gateway_s"].tolist() == [0.0, 0.0]  # neither request was in line, but for its companion
    assert done["guard_s"].tolist() == [2.0, 1.0]


def test_an_answer_waits_in_line_while_its_gate_is_read():
    """One place to answer: the second answer begins at 3 s, with its verdict long there."""
    done = both(Scene(guarded(gate={}, main=ONE_PLACE), rows((0.0, 8, 3), (0.0, 8, 3))))
    assert done["gateway_s"].tolist() == [0.0, 3.0]
    assert done["first_token_s"].tolist() == [2.0, 4.0]  # gates share a step of 16 tokens
    assert done["end_s"].tolist() == [3.0, 6.0]


def test_whole_answers_are_checked_one_after_the_other():
    done = both(Scene(guarded(check={"mode": "serial"}, guard=ONE_PLACE), rows((0.0, 5, 3), (0.0, 5, 3))))
    assert done["end_s"].tolist() == [3.375, 3.75]
    assert done["gateway_s"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("promise", "ending", "end_s"), [({"queue_time_limit_s": 0.5}, TIMED_OUT, 0.5), ({"max_queue": 0}, SHED, 0.0)]
)
def test_a_companion_that_is_not_let_in_ends_its_request(promise, ending, end_s):
    """Whose gate is not read is not answered: the step in progress is paid for, and no other."""
    done = both(Scene(promised(guarded(gate={}, guard=ONE_PLACE), **promise), rows((0.0, 16, 3), (0.0, 8, 3))))
    assert done["ending"].tolist() == [COMPLETED, ending]
    assert done["end_s"][1] == end_s
    assert done["guard_s"][1] == 0.0


def test_a_request_that_gives_up_takes_its_companion_out_of_the_line():
    """Patience ends at 1 s, while its gate is in line; the third, which came behind it, is read next."""
    given = promised(guarded(gate={}, guard=ONE_PLACE, classes=[kind(), kind(patience_s=constant(1.0))]))
    done = both(Scene(given, rows((0.0, 16, 3), (0.0, 8, 3, 1), (0.0, 8, 3))))
    assert done["ending"].tolist() == [COMPLETED, ABANDONED, COMPLETED]
    assert done["end_s"][1] == 1.0
    assert done["first_token_s"][2] == 3.0


def test_a_limit_of_a_queue_is_before_patience_at_the_same_instant():
    given = promised(
        guarded(gate={}, guard=ONE_PLACE, classes=[kind(), kind(patience_s=constant(0.5))]), queue_time_limit_s=0.5
    )
    done = both(Scene(given, rows((0.0, 16, 3), (0.0, 8, 3, 1))))
    assert done["ending"].tolist() == [COMPLETED, TIMED_OUT]


def test_what_a_check_reads_is_known_and_what_an_answer_writes_is_not():
    """Work predicted: what each visit reads and its verdict; prompt and expected answer."""
    fair = {"gateway": Gateway(max_outstanding=1)}
    check = {"chunk_tokens": 4, "carry_over_tokens": 1, "template_tokens": 3}
    given = replace(guarded(check=check, main=fair, guard=fair), expected_output_tokens=((7,),))
    plane = Plane(given)
    CLOCKS["compiled"](plane, in_chunks(Scene(given, rows((0.0, 5, 10))), 1), lambda _: None).run(1e6)
    main, guard = plane["lanes"]
    assert (main["predicted_tokens"], main["work_tokens"]) == (5 + 7, 5 + 10)
    read_tokens = (3 + 4) + (3 + 1 + 4) + (3 + 1 + 2)
    assert guard["predicted_tokens"] == guard["work_tokens"] == read_tokens + 3
    assert (guard["num_arrived"], guard["in_use"]) == (3, 0)
