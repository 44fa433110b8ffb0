"""Laws of pipelines and of speculation, with step times that can be worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from compare import compare
from drive import in_chunks, run_plane
from hypothesis import HealthCheck, given, settings
from slow_model import play
from small import kind, pool, rows, world
from worlds import Scene, play_scene, scenes
from worlds_singly import PIPELINE, SPECULATION

from sim.cost.speculation import tokens_per_step
from sim.cost.step_times import StepTimes
from sim.errors import CapacityError
from sim.fleet.clocks import CLOCKS
from sim.fleet.steps import Steps
from sim.metrics.records import COMPLETED, REFUSED
from sim.plane.owner import Plane
from sim.plane.tables import LOG
from sim.plane.world import CACHES, POLICIES

SHARES = (0.8, 0.5, 0.3)


def staged(stages, *, part=0.5, c0=1.0, c1=0.0, busy_w=0.0, idle_w=0.0, **settings):
    """A pool with pipeline stages whose slowest takes a part of the step's time."""
    one = pool(c0, c1, pipeline_parallel_size=stages, stage_times=None, **settings)
    limits = one.max_num_batched_tokens, one.max_num_seqs
    return replace(
        one,
        step_times=StepTimes.linear(c0, c1, 0.0, 0.0, *limits, busy_w=busy_w, idle_w=idle_w),
        stage_times=StepTimes.linear(c0 * part, c1 * part, 0.0, 0.0, *limits),
    )


def played(main, *given, **settings):
    """A play of requests (t_s, prompt, output ...) on one pool; plane and readable model must agree."""
    scene = Scene(world(main, **settings), rows(*given))
    found = run_plane(scene)
    assert compare(found, play(scene.world, scene.rows), time_tol=1e-12) == []
    found.records.sort(order="serial")
    return found


# ------------------------------------------------------------------ speculation


def test_drafts_that_are_never_accepted_change_nothing_but_the_batch():
    requests = [(0.25 * n, 3 + n, 5 + n) for n in range(6)]
    plain = played(pool(), *requests)
    drafted = played(pool(accept_frac=(0.0, 0.0), num_lookahead_tokens=2), *requests)
    for name in ("scheduled_s", "first_token_s", "end_s", "output_tokens"):
        assert drafted.records[name].tolist() == plain.records[name].tolist(), name
    assert drafted.records["busy_s"] == pytest.approx(plain.records["busy_s"], rel=1e-9)
    assert drafted.itl.tolist() == drafted.itl_per_token.tolist() == plain.itl.tolist()
    times, tokens, accepted = drafted.drafts
    assert (tokens, accepted) == (2 * times, 0)
    assert times == sum(output - 1 for *_, output in requests)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_drafts_that_are_always_accepted_give_k_more_a_step(k):
    found = played(pool(accept_frac=(1.0,) * k), (0.0, 4, 32))
    steps = 1 + math.ceil(31 / (k + 1))
    assert found.records["end_s"].tolist() == [steps]
    assert found.drafts.tolist() == [steps - 1, k * (steps - 1), k * (steps - 1)]
    assert (found.itl.sum(), found.itl_per_token.sum()) == (steps - 1, 31)


def test_tokens_a_step_are_as_many_as_the_shares_say():
    """Within four standard errors; the first step after the prompt counts like any other."""
    found = played(pool(accept_frac=SHARES), *((float(n), 4, 400) for n in range(40)))
    times, _, accepted = found.drafts
    chances = np.cumprod(SHARES)
    second = sum((2 * j + 1) * chance for j, chance in enumerate(chances))
    error = math.sqrt((second - chances.sum() ** 2) / times)
    assert times > 5_000
    assert 1 + accepted / times == pytest.approx(tokens_per_step(np.array(SHARES)), abs=4 * error)


def test_what_is_accepted_does_not_hang_on_the_batch():
    """A hundred answers alone and together: with steps of one length, each takes as many of them."""
    apart = played(pool(accept_frac=SHARES), *((1000.0 * n, 4, 50) for n in range(8)))
    together = played(pool(accept_frac=SHARES), *((0.0, 4, 50) for _ in range(8)))
    lasted = [run.records["end_s"] - run.records["scheduled_s"] for run in (apart, together)]
    assert lasted[0].tolist() == lasted[1].tolist()
    assert len(set(lasted[0].tolist())) > 3
    assert together.drafts.tolist() == apart.drafts.tolist()


def test_preempted_requests_go_on_with_the_same_draws():
    """Blocks for two of three: who is thrown out computes its text again, in steps that draft nothing."""
    tight = pool(num_gpu_blocks=21, block_size=2, accept_frac=SHARES, num_lookahead_tokens=3)
    requests = [(0.5 * n, 3, 20) for n in range(4)]
    crowded, ample = played(tight, *requests), played(replace(tight, num_gpu_blocks=1000), *requests)
    assert crowded.records["num_preemptions"].sum() > 0
    assert set(crowded.records["output_tokens"]) == {20}
    assert crowded.drafts[0] <= ample.drafts[0]


def test_drafts_are_trimmed_to_budget_and_to_the_model():
    ample = played(pool(accept_frac=(1.0,) * 3, max_num_batched_tokens=8, max_num_seqs=2), (0.0, 4, 9), (0.0, 4, 9))
    assert set(ample.records["end_s"]) == {3.0}
    # Five tokens a step: four for the first, one for the second.
    short = played(
        pool(accept_frac=(1.0,) * 3, max_num_batched_tokens=5, max_num_seqs=2), (0.0, 1, 9), (0.0, 1, 9)
    ).records["end_s"]
    assert short.tolist() == [3.0, 5.0]
    # The last position of the model's limit is never computed: nine of twelve tokens leave room for two drafts.
    limited = played(pool(accept_frac=(1.0,) * 3, max_model_len=12), (0.0, 4, 8))
    assert limited.drafts.tolist() == [2, 5, 5]
    limited = played(pool(accept_frac=(1.0,) * 3, max_model_len=11), (0.0, 4, 7))
    assert limited.drafts.tolist() == [2, 4, 4]


@pytest.mark.parametrize(("lookahead", "ending"), [(0, COMPLETED), (3, REFUSED)])
def test_a_request_must_fit_with_its_drafts(lookahead, ending):
    # 11 tokens at the end, 3 drafts: 14 in 7 blocks of two; what the drafter sets aside needs 2 more.
    tight = pool(num_gpu_blocks=8, block_size=2, accept_frac=SHARES, num_lookahead_tokens=lookahead)
    assert played(tight, (0.0, 4, 8)).records["ending"].tolist() == [ending]


# ------------------------------------------------------------------ pipelines


@pytest.mark.parametrize(("stages", "part", "period_s"), [(2, 0.5, 1.0), (2, 0.75, 1.5), (4, 0.25, 1.0), (4, 0.4, 1.6)])
def test_steady_decode_of_even_batches(stages, part, period_s):
    """N tokens in max(t, pp s): the budget makes as many even batches of the burst as there are stages."""
    n, output = 4 * stages, 200
    main = staged(stages, part=part, max_num_seqs=n, max_num_batched_tokens=32)
    found = played(main, *((0.0, 8, output) for _ in range(n)))
    tpot_s = (found.records["end_s"] - found.records["first_token_s"]) / (output - 1)
    assert tpot_s == pytest.approx(np.full(n, period_s), rel=1e-9)
    # Busy is the time with any batch in flight: the whole run.
    assert found.busy_s[0] == pytest.approx(found.records["end_s"].max(), rel=1e-9)
    assert found.records["busy_s"].sum() == pytest.approx(found.busy_s[0], rel=1e-9)


def test_a_burst_that_fits_one_batch_leaves_stages_empty():
    """Greedy formation: all eight are in one batch for ever, so the second stage works while the first has nothing."""
    many = [(0.0, 8, 100)] * 8
    apart, together = (
        played(staged(2, c1=0.0625, max_num_seqs=8, max_num_batched_tokens=budget), *many) for budget in (32, 64)
    )
    tpot_s = [(run.records["end_s"] - run.records["first_token_s"]) / 99 for run in (apart, together)]
    # The first four wait once for the others' prompts, which take 3 s and a stage of 1.5 s.
    assert tpot_s[0].tolist() == pytest.approx([1.25 + 0.875 / 99] * 4 + [1.25] * 4)
    assert tpot_s[1] == pytest.approx(np.full(8, 1.5))


def test_chunks_of_one_prompt_follow_each_other_through_the_stages():
    # Four chunks of 16: one every quarter of a second, of a second each. Then one token a second.
    found = played(staged(4, part=0.25, max_num_batched_tokens=16), (0.0, 64, 3))
    assert found.records["first_token_s"].tolist() == [1.75]
    assert found.records["end_s"].tolist() == [3.75]
    # With two batches at most in flight the third chunk waits for the first to end.
    two = played(staged(2, part=0.25, max_num_batched_tokens=16), (0.0, 64, 1))
    assert two.records["end_s"].tolist() == [2.25]


def test_a_batch_does_not_overtake():
    """A long step before a short one: the short one ends with it, and adds no busy time."""
    main = staged(2, part=0.125, c1=1.0, max_num_seqs=2, max_num_batched_tokens=16)
    found = played(main, (0.0, 17, 1))
    assert found.records["end_s"].tolist() == [17.0]
    assert found.busy_s.tolist() == [17.0]


@pytest.mark.parametrize("n", [1, 8])
def test_energy_is_one_stage_busy_for_each_batch(n):
    """300 W with one of two stages at work, 100 W idle: so 500 W where both are."""
    main = staged(2, busy_w=300.0, idle_w=100.0, max_num_seqs=8, max_num_batched_tokens=32)
    plane = Plane(world(main))
    scene = Scene(world(main), rows(*((0.0, 8, 50) for _ in range(n))))
    clock = CLOCKS["compiled"](plane, in_chunks(scene, 3), lambda _rows: None)
    clock.run(40.25)
    seen = [plane.observe(0, t_s) for t_s in (40.25,)]
    clock.run(math.inf)
    end = plane.observe(0, 100.0)
    power_w = 300.0 if n == 1 else 500.0
    assert seen[0]["busy_s"] == pytest.approx(40.25)
    assert seen[0]["busy_j"] == pytest.approx(40.25 * power_w, rel=0.02)
    assert end["busy_j"] == pytest.approx(end["busy_s"] * power_w, rel=0.02)


# ------------------------------------------------------------------ both


def speculating(**settings):
    return pool(accept_frac=SHARES, num_lookahead_tokens=3, **settings)


def three_stages(**settings):
    return staged(3, part=0.375, **settings)


@pytest.mark.parametrize("make", [speculating, three_stages])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("cache", ["off", *CACHES])
def test_a_storm_of_preemptions_and_aborts_passes(make, policy, cache):
    main = make(
        num_gpu_blocks=16, block_size=2, scheduling_policy=policy, max_num_batched_tokens=8,
        enable_prefix_caching=cache != "off", cache="extents" if cache == "off" else cache,
    )  # fmt: skip
    aborts = [(2.5 + 3 * n, "abort", 5 * n) for n in range(4)]
    scene = Scene(world(main, [kind(prefix_tokens=4)]), rows(*((0.125 * n, 3, 14) for n in range(20))), commands=aborts)
    slow = play(scene.world, scene.rows, scene.commands)
    for clock in CLOCKS:
        assert compare(run_plane(scene, clock=clock), slow, time_tol=1e-12) == []
    assert sum(record["num_preemptions"] for record in slow.records) > 10
    assert sum(record["ending"] == COMPLETED for record in slow.records) >= 16


@pytest.mark.parametrize("make", [speculating, three_stages])
def test_two_that_preempt_each_other_for_ever_are_reported(make):
    tight = make(
        num_gpu_blocks=10 if make is speculating else 7, block_size=2, scheduling_policy="priority",
        scheduler_reserve_full_isl=False, long_prefill_token_threshold=2,
    )  # fmt: skip
    scene = Scene(world(tight), rows((0.0, 10, 2), (0.0, 10, 2)))
    assert not play(scene.world, scene.rows, max_steps=5_000).complete
    with pytest.raises(CapacityError, match=r"is stuck .*nothing comes of it"):
        run_plane(scene)


@pytest.mark.parametrize("kinds", [(PIPELINE,), (SPECULATION,)], ids="+".join)
def test_the_log_of_steps_is_that_of_the_readable_model(kinds):
    @settings(suppress_health_check=list(HealthCheck))
    @given(scenes(exact=True, kinds=kinds))
    def check(scene):
        scene = replace(scene, commands=())
        slow = play_scene(scene, exact=True)
        plane, logs = Plane(scene.world, num_requests=2), []
        clock = CLOCKS["compiled"](plane, in_chunks(scene, 3), lambda _rows: None)
        clock.log(logs.append)
        clock.run(scene.until)
        log = np.concatenate([np.zeros(0, LOG), *logs])
        for number in {step.replica for step in slow.steps}:
            steps = Steps([], asynchronous=False)
            steps.add(log[log["replica"] == number])
            found = [
                (
                    s.t_sched,
                    s.t_start,
                    s.t_end,
                    s.sched,
                    [(who, cached) for who, cached, _ in s.admit],
                    s.preempt,
                    s.running,
                    s.free,
                    s.hashed,
                    s.finish,
                )
                for s in steps.all()
            ]
            assert found == [
                (
                    s.scheduled_s, s.start_s, s.end_s,
                    [(e.seq.request.record["serial"], e.num_tokens, e.before) for e in s.entries],
                    [(who, cached) for who, cached, _ in s.admitted], s.preempted, s.num_running, s.free_blocks,
                    s.cached_blocks, s.finished,
                )
                for s in slow.steps if s.replica == number
            ]  # fmt: skip

    check()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"accept_frac": (0.5,), "batch_policy": "static"}, "a synchronous vllm_v1 alone"),
        ({"accept_frac": (0.5,), "async_scheduling": True}, "a synchronous vllm_v1 alone"),
        ({"accept_frac": (1.5,)}, "accept_frac or num_lookahead_tokens out of range"),
        ({"accept_frac": (0.5, 0.5), "num_lookahead_tokens": 1}, "accept_frac or num_lookahead_tokens out of range"),
        ({"pipeline_parallel_size": 2}, "stage_times belong to a pipeline"),
        ({"pipeline_parallel_size": 65}, "must be 1 to 64"),
        ({"pipeline_parallel_size": 2, "stage_times": StepTimes.linear(1, 0, 0, 0, 64, 9)}, "the shapes of step_times"),
        (
            {"pipeline_parallel_size": 2, "stage_times": StepTimes.linear(1, 0, 0, 0, 64, 8), "accept_frac": (0.5,)},
            "a synchronous vllm_v1 alone",
        ),
    ],
)
def test_what_the_plane_cannot_play_is_an_error(wrong, said):
    with pytest.raises(ValueError, match=said):
        Plane(world(pool(**wrong)))
