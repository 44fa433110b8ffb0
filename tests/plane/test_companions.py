"""Classifiers beside the answer, worked by hand: gates, whole answers, pieces; who waits for whom, that all ends."""

import math
from dataclasses import replace

import numpy as np
import pytest
from compare import compare
from drive import identical, run_plane
from slow_model import play
from slow_replica import DOWN
from small import constant, kind, pool, rows, world
from worlds import Scene

from sim.metrics.records import ABANDONED, BLOCKED, CAUGHT, COMPLETED, FAILED, REFUSED, SHED
from sim.plane import failures
from sim.plane.world import Visit
from sim.traffic.arrivals import ARRIVAL

SURE = 1.0 - 2.0**-53
"""So likely that it happens."""


def guarded(gate=None, check=None, *, main=None, guard=None, classes=()):
    """Answers at a second a step (prompt and tokens alike), classifiers at 1/8 s a token that they read."""
    pools = (
        pool(c0=1.0, **({"max_num_batched_tokens": 512} | (main or {}))),
        pool(c0=0.0, c1=0.125, **({"name": "guard", "max_num_batched_tokens": 512} | (guard or {}))),
    )
    path = (
        (Visit(0),) if gate is None else (Visit(1, "classify", **({"mode": "gate", "prompt": "user"} | gate)), Visit(0))
    )
    checks = {} if check is None else {"main": Visit(1, "classify", **({"prompt": "answer", "mode": "stream"} | check))}
    return world(pools, classes, paths={"main": path}, checks=checks, has_extras=True, router="round_robin")


def both(scene):
    """The records in order, after plane and readable model have agreed on them, under both clocks, leaping or not."""
    slow = play(scene.world, scene.rows, scene.commands, scene.until, segments=scene.segments)
    assert slow.complete
    plane = run_plane(scene)
    assert compare(plane, slow, time_tol=1e-12) == []
    for other in ({"clock": "simpy"}, {"leap": False}, {"clock": "simpy", "leap": False}):
        assert identical(plane, run_plane(scene, **other))
    return np.sort(plane.records, order="serial")


# ------------------------------------------------------------------ gates


@pytest.mark.parametrize("read_tokens", [2, 8, 16, 40])
def test_the_first_token_comes_at_the_later_of_answer_and_verdict(read_tokens):
    """Three tokens of an answer come at 1, 2 and 3 s, the verdict at read_tokens / 8."""
    (record,) = both(Scene(guarded(gate={}), rows((0.0, read_tokens, 3))))
    verdict_s = read_tokens / 8
    assert record["first_token_s"] == max(1.0, verdict_s)
    assert record["verdict_s"] == max(0.0, verdict_s - 1.0)
    assert record["end_s"] == max(3.0, verdict_s)
    assert (record["ending"], record["output_tokens"], record["guard_s"], record["busy_s"]) == (
        COMPLETED, 3, verdict_s, 3.0,
    )  # fmt: skip


def test_a_serial_classifier_adds_what_a_gate_hides():
    (serial,) = both(Scene(guarded(gate={"mode": "serial"}), rows((0.0, 8, 3))))
    (gate,) = both(Scene(guarded(gate={}), rows((0.0, 8, 3))))
    assert serial["first_token_s"] == gate["first_token_s"] + 1.0
    assert serial["guard_s"] == gate["guard_s"] == 1.0


def test_a_gate_blocks_what_is_being_written_with_the_step_in_progress():
    """The verdict comes at 2.5 s, in the third step, whose end the record does not tell but whose work is paid for."""
    (record,) = both(Scene(guarded(gate={"block_frac": SURE}), rows((0.0, 20, 9))))
    assert (record["ending"], record["end_s"], record["flags"]) == (BLOCKED, 2.5, CAUGHT)
    assert math.isnan(record["first_token_s"])
    assert (record["busy_s"], record["guard_s"], record["output_tokens"]) == (3.0, 2.5, 3)


def test_a_gate_blocks_an_answer_that_is_complete():
    (record,) = both(Scene(guarded(gate={"block_frac": SURE}), rows((0.0, 40, 3))))
    assert (record["ending"], record["end_s"], record["busy_s"]) == (BLOCKED, 5.0, 3.0)


def test_patience_lasts_until_the_verdict():
    """One gives up at 2 s while the first token, out at 1 s, is withheld; its companion goes with its step, at 5 s."""
    (record,) = both(Scene(guarded(gate={}, classes=[kind(patience_s=constant(2.0))]), rows((0.0, 40, 9))))
    assert (record["ending"], record["end_s"]) == (ABANDONED, 2.0)
    assert record["guard_s"] == 5.0
    (record,) = both(Scene(guarded(gate={}, classes=[kind(patience_s=constant(2.0))]), rows((0.0, 8, 9))))
    assert record["ending"] == COMPLETED


# ------------------------------------------------------------------ checks


@pytest.mark.parametrize("holds_back", [False, True])
@pytest.mark.parametrize(("output_tokens", "chunk_tokens", "carry"), [(10, 4, 2), (8, 4, 0), (3, 4, 2), (12, 1, 8)])
def test_pieces_are_read_one_after_the_other(holds_back, output_tokens, chunk_tokens, carry):
    """Token n is out at n s. A piece is read when it is there and the verdict before is in; it takes 1/8 s a token."""
    check = {"chunk_tokens": chunk_tokens, "carry_over_tokens": carry, "holds_back": holds_back}
    (record,) = both(Scene(guarded(check=check), rows((0.0, 5, output_tokens))))
    verdicts_s, read_tokens = [0.0], 0
    for start in range(0, output_tokens, chunk_tokens):
        end = min(start + chunk_tokens, output_tokens)
        tokens = end - max(0, start - carry)
        verdicts_s.append(max(verdicts_s[-1], float(end)) + tokens / 8)
        read_tokens += tokens
    assert record["guard_s"] == read_tokens / 8
    assert record["first_token_s"] == (verdicts_s[1] if holds_back else 1.0)
    assert record["verdict_s"] == (verdicts_s[1] - 1.0 if holds_back else 0.0)
    assert record["end_s"] == (verdicts_s[-1] if holds_back else output_tokens)


def test_a_whole_answer_is_shown_with_its_verdict():
    (record,) = both(Scene(guarded(check={"mode": "serial"}), rows((0.0, 5, 6))))
    assert record["first_token_s"] == record["end_s"] == 6.0 + 6 / 8
    assert record["verdict_s"] == 5.0 + 6 / 8


def test_an_exchange_grows_and_is_found_in_the_cache():
    """Pieces end with tokens 4, 8 and 10; each visit reads all from the user's message on, in blocks of 4."""
    check = {"prompt": "exchange", "chunk_tokens": 4}
    given = guarded(check=check, guard={"enable_prefix_caching": True})
    (record,) = both(Scene(given, rows((0.0, 4, 10))))
    assert record["guard_s"] == (8 + (12 - 8) + (14 - 12)) / 8


def test_what_a_check_finds_is_in_the_piece_that_holds_it():
    """Where it lies is drawn: over many answers all pieces alike, and the share that is blocked is the one given."""
    given = guarded(check={"chunk_tokens": 2, "carry_over_tokens": 0, "block_frac": 0.5}, main={"num_replicas": 1})
    arrivals = rows(*((20.0 * n, 5, 8) for n in range(400)))
    done = run_plane(Scene(given, arrivals)).records
    blocked = done[done["ending"] == BLOCKED]
    assert abs(len(blocked) - 200) < 4 * math.sqrt(400 * 0.25)
    pieces = np.bincount(np.round((blocked["end_s"] - blocked["arrived_s"]) / 2 - 0.125).astype(int), minlength=5)
    assert pieces[0] == 0
    assert np.all(np.abs(pieces[1:] - len(blocked) / 4) < 4 * math.sqrt(len(blocked) * 3 / 16))
    assert np.all(blocked["first_token_s"] - blocked["arrived_s"] == 1.0)  # the client had seen some of it


def test_gate_and_pieces_share_one_companion():
    """The gate's verdict comes at 5 s; pieces of 2, there at 2 and 4 s, are read after it."""
    (record,) = both(Scene(guarded(gate={}, check={"chunk_tokens": 2, "carry_over_tokens": 0}), rows((0.0, 40, 5))))
    assert record["first_token_s"] == 5.0
    assert record["end_s"] == 5.0  # all tokens were there with the gate's verdict, and streamed before theirs
    assert record["guard_s"] == 5.0 + 5 / 8


# ------------------------------------------------------------------ that all ends


def test_a_classifier_without_replicas_ends_its_request():
    given = guarded(check={"chunk_tokens": 3}, guard={"num_replicas": 0, "max_replicas": 1})
    (record,) = both(Scene(given, rows((0.0, 5, 9))))
    assert (record["ending"], record["end_s"], record["output_tokens"]) == (SHED, 3.0, 3)
    given = guarded(gate={}, guard={"num_replicas": 0, "max_replicas": 1})
    (record,) = both(Scene(given, rows((0.0, 5, 9))))
    assert (record["ending"], record["end_s"], record["output_tokens"]) == (SHED, 0.0, 0)


def test_what_no_classifier_could_read_is_refused_at_the_door():
    given = guarded(check={"prompt": "exchange"}, guard={"max_model_len": 20})
    done = both(Scene(given, rows((0.0, 10, 9), (20.0, 10, 10))))
    assert done["ending"].tolist() == [COMPLETED, REFUSED]


@pytest.mark.parametrize("t_s", [0.5, 2.5, 3.0, 4.5, 6.2])
def test_an_abort_takes_the_companion_along(t_s):
    given = guarded(gate={}, check={"chunk_tokens": 3, "carry_over_tokens": 0})
    done = both(Scene(given, rows((0.0, 8, 6), (0.25, 8, 6)), commands=((t_s, "abort", 0),)))
    assert sorted(done["ending"].tolist()) == [COMPLETED, FAILED]


@pytest.mark.parametrize("on_failure", [failures.FAIL, failures.RETRY, failures.RESUME])
def test_a_replica_that_failed_has_forgotten_whose_pieces_were_to_come(on_failure):
    """Answers of 12 tokens in pieces of 4; both replicas fail amid a piece, and others answer there afterwards."""
    given = guarded(check={"chunk_tokens": 4}, main={"num_replicas": 2, "max_replicas": 2})
    given = replace(given, has_faults=True)
    commands = (
        (2.5, "fail", [0], DOWN, on_failure), (6.5, "fail", [1], DOWN, on_failure), (6.75, "up", 0), (6.75, "up", 1),
    )  # fmt: skip
    times_s = (0.0, 0.25, 0.5, 6.0, 7.0, 7.0, 7.25, 7.5, 9.0)
    done = both(Scene(given, rows(*((t_s, 5, 12) for t_s in times_s)), commands=commands))
    assert len(done) == len(times_s)
    assert set(done["ending"].tolist()) == {COMPLETED, FAILED}


def test_a_verdict_of_several_tokens_before_the_answer_is_no_piece_of_it():
    """It is written where the answer is, a second a token; only what follows is read, token by token."""
    judge = Visit(0, "classify", prompt="user", output_tokens=constant(6))
    check = {"chunk_tokens": 1, "carry_over_tokens": 0, "holds_back": True}
    given = replace(guarded(check=check), paths={"main": (judge, Visit(0))})
    done = both(Scene(given, rows((0.0, 5, 3), (20.0, 5, 2))))
    assert done["ending"].tolist() == [COMPLETED] * 2
    assert (done["first_token_s"] - done["arrived_s"]).tolist() == [7.125] * 2
    assert (done["end_s"] - done["arrived_s"]).tolist() == [9.125, 8.125]


def test_a_candidate_that_begins_anew_is_withheld_from_its_new_first_token_on():
    """Its replica fails at 2.5 s; at the other its first token is out at 3.5 s, its last at 5.5, the verdict at 6.5."""
    judge = Visit(0, "classify", prompt="user", escalate_frac=2.0**-60)
    given = world(
        (pool(c0=1.0, num_replicas=2, max_replicas=2),),
        paths={"main": (Visit(0), judge, Visit(0))},
        has_extras=True,
        has_faults=True,
        router="round_robin",
    )
    (record,) = both(Scene(given, rows((0.0, 5, 3)), commands=((2.5, "fail", [0], DOWN, failures.RETRY),)))
    assert (record["ending"], record["end_s"], record["verdict_s"]) == (COMPLETED, 6.5, 3.0)


def test_a_tandem_of_queues():
    """A serial check behind the answer is a second server in line: departures are those of a tandem (Burke)."""
    random = np.random.default_rng(1)
    given = guarded(
        check={"mode": "serial"}, main={"max_num_seqs": 1}, guard={"max_num_seqs": 1},
    )  # fmt: skip
    times = np.floor(np.cumsum(random.exponential(3.0, 300)) * 8) / 8
    arrivals = np.array([(t, n, 0, 1, 5, 2, 0, 0, -1, 0) for n, t in enumerate(times)], dtype=ARRIVAL)
    done = np.sort(run_plane(Scene(given, arrivals)).records, order="serial")
    answered = checked = 0.0
    for record in done:
        answered = max(answered, record["arrived_s"]) + 2.0
        checked = max(checked, answered) + 2 / 8
        assert record["end_s"] == checked


def test_pieces_do_not_end_leaps():
    """A lone answer of 400 tokens in pieces of 20 is a leap however it is read: an event a piece, not one a token."""
    from sim.fleet.clocks import CLOCKS
    from sim.plane.owner import Plane
    from sim.traffic.arrivals import NO_SEGMENTS, Chunk

    given = guarded(check={"chunk_tokens": 20}, main={"max_model_len": 1 << 30})
    plane = Plane(given)
    clock = CLOCKS["compiled"](plane, iter([Chunk(rows((0.0, 5, 400)), NO_SEGMENTS)]), lambda _: None)
    clock.run(1e6)
    pieces = 400 // 20
    assert plane.scalar("num_events") <= 1 + 2 + 1 + 3 * pieces  # arrival; kick, prefill; the leap; mark, kick and step
