"""Paths by hand: what each visit reads, when it begins, what is cached, and how a request ends."""

import math

import numpy as np
import pytest
from compare import compare
from drive import identical, run_plane
from slow_model import play
from small import constant, kind, pool, rows, world
from worlds import Scene

from sim.metrics.records import ABANDONED, BLOCKED, CAUGHT, COMPLETED, ESCALATED, REFUSED, REVISED, UNSAFE
from sim.plane.owner import Plane
from sim.plane.world import Visit

STEP_S = 1.0
JUDGE_S = 0.25


def records(path, arrivals, pools=None, commands=(), **settings):
    """What the plane records, in order of serial: the same under both clocks, and as the readable model has it."""
    pools = pools or (pool(STEP_S), pool(JUDGE_S))
    classes = (kind(**settings.pop("kind", {})),)
    scene = Scene(world(pools, classes, paths={"main": tuple(path)}, **settings), arrivals, commands=commands)
    found = run_plane(scene)
    assert identical(found, run_plane(scene, clock="simpy"))
    assert identical(found, run_plane(scene, leap=False))
    assert compare(found, play(scene.world, arrivals, commands), time_tol=1e-9) == []
    return np.sort(found.records, order="serial")


def deviation(num, frac):
    """Standard deviation of a binomial count."""
    return math.sqrt(num * frac * (1.0 - frac))


def guard(**settings):
    return Visit(1, "classify", **settings)


def delay(seconds, **settings):
    return Visit(-1, "delay", delay_s=constant(seconds), **settings)


# Times: steps of one second, a judge's of a quarter; an answer of n tokens takes n steps.


def test_delays_come_one_after_the_other_and_are_no_part_of_any_pool():
    (done,) = records([delay(2.0), delay(3.0), Visit(0)], rows((1.0, 5, 4)))
    assert (done["delay_s"], done["classified_s"], done["first_token_s"], done["end_s"]) == (5.0, 6.0, 7.0, 10.0)


def test_times_between_two_nanoseconds_are_no_delays():
    """Steps of 1/7 s end between two of them, and this world has no rows in which a request could wait."""
    path = [Visit(0, output_tokens=constant(1)) for _ in range(5)]
    found = records([*path, Visit(0)], rows(*((0.1 * n, 5, 4) for n in range(6))), pools=(pool(1.0 / 7.0),))
    assert not found["delay_s"].any()


def test_patience_runs_out_in_a_delay():
    path = [guard(), delay(9.0), Visit(0)]
    (done,) = records(path, rows((0.0, 5, 4)), kind={"patience_s": constant(4.0)})
    assert (done["ending"], done["end_s"], done["delay_s"], done["pool"]) == (ABANDONED, 4.0, 0.0, -1)
    assert done["cost_usd"] == 0.0
    assert math.isnan(done["classified_s"])


def test_who_is_in_a_delay_can_be_aborted_and_is_in_flight_at_the_end():
    path = [delay(9.0), Visit(0)]
    (done,) = records(path, rows((0.0, 5, 4)), commands=((2.0, "abort", 0),))
    assert done["end_s"] == 2.0
    plane = Plane(world((pool(),), paths={"main": tuple(path)}))
    assert plane.scalar("has_deadlines") == plane.scalar("has_extras") == 1


def test_a_draft_is_read_by_the_answer_and_costs_like_a_guard():
    """Draft of 3, instructions of 2, answer of 4: 3 + 4 steps; the answer reads 5 + 3 + 2 tokens."""
    path = [Visit(0, output_tokens=constant(3)), Visit(0, prompt_extra_tokens=2)]
    (done,) = records(path, rows((0.0, 5, 4)))
    assert (done["prompt_tokens"], done["output_tokens"], done["end_s"]) == (10, 4, 7.0)
    assert (done["classified_s"], done["scheduled_s"], done["first_token_s"]) == (3.0, 3.0, 4.0)
    assert (done["guard_s"], done["busy_s"]) == (3.0, 4.0)


def test_critique_and_revision_take_three_answers():
    """A draft as long as the answer (4), a critique of 6, the answer: 4 + 6 + 4 steps."""
    critique = Visit(0, prompt_extra_tokens=3, output_tokens=constant(6))
    (done,) = records([Visit(0), critique, Visit(0, prompt_extra_tokens=2)], rows((0.0, 5, 4)))
    assert (done["end_s"], done["prompt_tokens"]) == (14.0, 5 + 4 + 3 + 6 + 2)
    assert done["flags"] == REVISED


def test_a_judge_reads_the_exchange_and_says_several_tokens():
    """Draft of 3; the judge reads 7 + 5 + 3 tokens in a pool with room for just that many and its 4 tokens."""
    for room, ending in ((15 + 4, COMPLETED), (15 + 3, REFUSED)):
        judge = guard(prompt="exchange", template_tokens=7, output_tokens=constant(4))
        path = [Visit(0, output_tokens=constant(3)), judge, Visit(0)]
        pools = pool(STEP_S), pool(JUDGE_S, max_model_len=room)
        (done,) = records(path, rows((0.0, 5, 4)), pools)
        assert done["ending"] == ending
    assert np.isnan(done["first_token_s"])


# Cascades


@pytest.mark.parametrize(("escalate_frac", "end_s", "guard_s"), [(0.0, 4.0, 0.0), (1.0, 4.0 + 1.0, 4.0)])
def test_a_cascade_is_its_small_model_or_both(escalate_frac, end_s, guard_s):
    """The answer of 4 tokens: a second each of the small model, a quarter each of the large one."""
    path = [Visit(0, escalate_frac=escalate_frac), Visit(1)]
    (done,) = records(path, rows((0.0, 5, 4)))
    assert (done["end_s"], done["guard_s"], done["prompt_tokens"]) == (end_s, guard_s, 5)
    assert done["pool"] == (escalate_frac == 1.0)
    assert done["flags"] == (ESCALATED if escalate_frac else 0)
    assert done["output_tokens"] == 4


def test_where_nobody_goes_on_the_answer_streams():
    """Without a decision the first token is out after a second; a fraction of all is answered by the other pool."""
    arrivals = rows(*((10.0 * n, 5, 4) for n in range(200)))
    found = records([Visit(0, escalate_frac=0.0, frac=0.7), Visit(1)], arrivals)
    is_small = found["pool"] == 0
    assert abs(is_small.sum() - 140) < 4 * deviation(200, 0.7)
    waits_s = found["first_token_s"] - found["arrived_s"]
    assert np.array_equal(waits_s, np.where(is_small, STEP_S, JUDGE_S))
    assert not found["verdict_s"].any()


def test_an_answer_that_is_decided_on_is_withheld_until_then():
    """First token after 1 s, the last after 4, the judge's two tokens after 4.5: all of it is the client's then."""
    judge = guard(prompt="exchange", output_tokens=constant(2), escalate_frac=0.0)
    (done,) = records([Visit(0), judge, Visit(1)], rows((0.0, 5, 4)))
    assert (done["first_token_s"], done["end_s"], done["verdict_s"]) == (4.5, 4.5, 3.5)
    assert (done["classified_s"], done["scheduled_s"], done["pool"], done["replica"]) == (0.0, 0.0, 0, 0)
    assert (done["busy_s"], done["guard_s"]) == (4.0, 0.5)


def test_gaps_between_tokens_that_no_client_sees_are_not_told():
    path = [Visit(0, output_tokens=constant(9)), guard(output_tokens=constant(5)), Visit(0)]
    scene = Scene(world((pool(STEP_S), pool(JUDGE_S)), paths={"main": tuple(path)}), rows((0.0, 5, 4)))
    assert run_plane(scene).itl.sum() == 3  # of the answer's four tokens


# Verdicts


def test_a_refusal_that_is_told_costs_its_tokens():
    """Blocked after 0.25 s; then three tokens of the answering pool, which the client gets."""
    (done,) = records([guard(block_frac=1.0, refusal_tokens=constant(3)), Visit(0)], rows((0.0, 5, 9)))
    assert (done["ending"], done["flags"], done["output_tokens"]) == (BLOCKED, CAUGHT, 3)
    assert (done["first_token_s"], done["end_s"], done["busy_s"], done["guard_s"]) == (1.25, 3.25, 3.0, 0.25)


def test_a_refusal_is_no_answer_so_the_next_turn_does_not_repeat_it():
    path = [guard(block_frac=1.0, refusal_tokens=constant(3)), Visit(0)]
    found = records(path, rows((0.0, 5, 9, 0, 2)), kind={"keep_history": True})
    assert found["prompt_tokens"].tolist() == [5, 5]


def test_rates_hold_for_the_unsafe_and_for_the_others_by_language():
    """Within four standard errors of each binomial count; 3,000 requests of two languages, three in ten unsafe."""
    num, unsafe_frac = 3_000, 0.3
    recall, alarms = (0.9, 0.5), (0.02, 0.2)
    arrivals = rows(*((float(n), 5, 1) for n in range(num)))
    arrivals["language"] = np.arange(num) % 2
    path = (guard(true_positive_rate=recall, false_positive_rate=alarms), Visit(0))
    scene = Scene(world((pool(), pool()), (kind(unsafe_frac=unsafe_frac),), paths={"main": path}), arrivals)
    done = run_plane(scene, requests=64).records
    is_unsafe, is_blocked = done["flags"] & UNSAFE != 0, done["ending"] == BLOCKED
    assert np.array_equal(is_blocked, done["flags"] & CAUGHT != 0)
    assert abs(is_unsafe.sum() - num * unsafe_frac) < 4 * deviation(num, unsafe_frac)
    for language in (0, 1):
        for unsafe, rate in ((True, recall[language]), (False, alarms[language])):
            among = (done["language"] == language) & (is_unsafe == unsafe)
            count = (among & is_blocked).sum()
            assert abs(count - rate * among.sum()) < 4 * deviation(among.sum(), rate)


def test_who_makes_a_visit_is_drawn_by_turn_so_other_visits_change_nothing():
    arrivals = rows(*((float(n), 5, 1) for n in range(400)))

    def delayed(path):
        return records(path, arrivals)["delay_s"] > 0.0

    path = [delay(0.5, frac=0.3), guard(), Visit(0)]
    first = delayed(path)
    assert abs(first.sum() - 120) < 4 * deviation(400, 0.3)
    assert np.array_equal(first, delayed([path[0], Visit(0, output_tokens=constant(2)), path[2]]))


# Text: blocks of 4 tokens, one replica, so what is cached is what stands at the same place.


CACHING = (pool(STEP_S, enable_prefix_caching=True), pool(JUDGE_S, enable_prefix_caching=True))


def test_each_visit_finds_what_the_one_before_read_and_wrote():
    """The answer's prompt is 8 + 6 + 5; of the 14 before it all but the draft's last token was computed: 12 cached."""
    path = [Visit(0, output_tokens=constant(6)), Visit(0, prompt_extra_tokens=5)]
    (done,) = records(path, rows((0.0, 8, 4)), CACHING)
    assert (done["prompt_tokens"], done["cached_tokens"]) == (19, 12)


def test_the_next_turn_repeats_what_was_kept():
    """Of the first turn (8, 6 added, 4 answered) 17 were computed; without the 6, the answer stands elsewhere."""
    lengths = {"user_tokens": constant(8), "output_tokens": constant(4)}
    for keeps, prompt_tokens, cached_tokens in ((True, 8 + 6 + 4, 16), (False, 8 + 4, 8)):
        path = [delay(1.0, adds_tokens=constant(6), keep_in_history=keeps), Visit(0)]
        found = records(path, rows((0.0, 8, 4, 0, 2)), CACHING, kind={"keep_history": True} | lengths)
        assert found["prompt_tokens"].tolist() == [14, prompt_tokens + 8 + 6]
        assert found["cached_tokens"].tolist() == [0, cached_tokens]


def test_an_answer_that_was_thrown_away_is_not_found_in_place_of_the_other():
    """A second a token: 8 and 4 of the small model's 5; then 13 of 21, since its own answer is not what was said."""
    small = pool(0.0, c1=1.0, enable_prefix_caching=True)
    lengths = {"user_tokens": constant(8), "output_tokens": constant(5)}
    path = [Visit(0, escalate_frac=1.0), Visit(1)]
    found = records(path, rows((0.0, 8, 5, 0, 2)), (small, CACHING[1]), kind={"keep_history": True} | lengths)
    assert found["guard_s"].tolist() == [8 + 4, 13 + 4]
    assert found["cached_tokens"].tolist() == [0, 12]


def test_history_gives_way_to_what_visits_add():
    """With 40 tokens for all: 6 added and 4 answered leave 30 of the 20 + 8 + 4 + 8 that would be asked."""
    path = [delay(1.0, adds_tokens=constant(6)), Visit(0)]
    lengths = {"user_tokens": constant(20), "output_tokens": constant(4), "max_context_tokens": 40}
    found = records(path, rows((0.0, 8, 4, 0, 2)), CACHING, kind={"keep_history": True} | lengths)
    assert found["prompt_tokens"].tolist() == [14, 30 + 6]


# What a World refuses


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ([Visit(0, output_tokens=constant(3))], "output tokens at a visit of kind generate"),
        ([delay(1.0)], "must end with a generate visit"),
        ([Visit(-1, "delay"), Visit(0)], "a duration at a visit of kind delay"),
        ([guard(escalate_frac=0.5), Visit(0)], "decides on no answer"),
        ([Visit(0), guard(escalate_frac=0.5, frac=0.5), Visit(0)], "or not always"),
        ([Visit(0, frac=0.5)], "every request makes the visit that answers"),
        ([guard(true_positive_rate=(0.5,)), Visit(0)], "one rate"),
        ([guard(frac=1.5), Visit(0)], "out of range"),
        ([Visit(0, refusal_tokens=constant(3)), Visit(0)], "a refusal at a visit of kind generate"),
    ],
)
def test_paths_that_make_no_sense(path, message):
    with pytest.raises(ValueError, match=message):
        Plane(world((pool(), pool()), paths={"main": tuple(path)}))


def test_arrivals_in_a_language_without_rates():
    path = (guard(true_positive_rate=(0.5,), false_positive_rate=(0.5,)), Visit(0))
    arrivals = rows((0.0, 5, 1))
    arrivals["language"] = 1
    with pytest.raises(ValueError, match="no rates for"):
        run_plane(Scene(world((pool(), pool()), paths={"main": path}), arrivals))
