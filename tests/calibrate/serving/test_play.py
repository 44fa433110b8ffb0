"""Every kind of load is played, and what is read off it is what its rule says."""

import pytest

from sim.calibrate.serving.play import Player, fold_of, play
from sim.calibrate.serving.rows import points_of
from sim.calibrate.serving.scenarios import plan_of, pool_of
from sim.calibrate.serving.setup import make_setup
from sim.cost.calibration import load_engine
from sim.spec.evidence import Evidence, Fold

BLIS = {"source": "BLIS sim-to-real", "isl": "547", "osl": "64", "load": "rate=8 req/s", "notes": "max_num_seqs=128"}
NIM = {"source": "NVIDIA-DLI-nim.csv", "engine": "NIM/TensorRT-LLM", "version": "NIM 1.x", "isl": "200", "osl": "50"}


def profile_of(player, point):
    setup = make_setup(point, library=player.library)
    return setup, player.profile(setup, player.engine_of(setup))


def test_every_row_of_the_small_table(player, table):
    points = points_of(table)
    outcomes = [player.outcome(point) for point in points]
    missing = [(point.engine, point.load) for point, one in zip(points, outcomes, strict=True) if not one.covered]
    assert missing == [
        ("vLLM", "max_num_seqs=16 (saturated; avg batch 16.0)"),  # a hybrid
        ("Triton", "concurrency=1"),
        ("vLLM", "steady 5 / burst 25 req/s"),
    ]
    saturated = [point.load for point, one in zip(points, outcomes, strict=True) if one.saturated]
    assert saturated == ["max_num_seqs=16 (saturated; avg batch 16.0)", "inf (max throughput)"]


def test_one_user_waits_for_nobody(player, point):
    _, profile = profile_of(player, point(isl="512", osl="16"))
    outcome = player.outcome(point(isl="512", osl="16"))
    prefill_s = profile.step_times.step_s(512, 0, 0, 1, 512 * 513 / 2) + profile.frontend_s
    assert outcome.predicted["ttft_mean"] == pytest.approx(1e3 * prefill_s, rel=1e-6)
    decode_s = profile.step_times.step_s(1, 1, 520, 1)
    assert outcome.predicted["tpot_mean"] == pytest.approx(1e3 * decode_s, rel=1e-3)
    e2e_s = outcome.predicted["e2e_mean"] / 1e3
    assert outcome.predicted["output_throughput"] == pytest.approx(16 / e2e_s, rel=1e-9)
    assert outcome.predicted["total_throughput"] == pytest.approx(528 / e2e_s, rel=1e-9)
    assert not outcome.saturated


def test_users_of_a_closed_loop_move_together(player, point):
    """The first answer ends a step early, as its prompt was computed alone; the others come 1 ms apart after theirs."""
    where = point(**NIM, load="concurrency=3")
    _, profile = profile_of(player, where)
    times = profile.step_times
    last_s = times.step_s(2, 2, 2 * 249, 2)  # the last step of the two others, while the first asks again
    alone_s = times.step_s(200, 0, 0, 1, 200 * 201 / 2)
    together_s = times.step_s(401, 1, 201, 3, 2 * 200 * 201 / 2)
    first_s = profile.frontend_s + 0.001  # from an answer's last token to the request after it
    ttft_s = [last_s - first_s + alone_s, alone_s - first_s + together_s, alone_s - first_s - 0.001 + together_s]
    expected_s = sum(ttft_s) / 3 + profile.frontend_s
    assert player.outcome(where).predicted["ttft_mean"] == pytest.approx(1e3 * expected_s, rel=1e-6)


def test_a_static_batch_ends_together(player, point):
    where = point(
        source="x", engine="TensorRT-LLM", version="0.9.0", isl="128", osl="32", load="static_batch=8", precision="fp16"
    )
    setup, profile = profile_of(player, where)
    assert (setup.bed, setup.kind) == ("trtllm-static", "static")
    times = profile.step_times
    prefill_s = times.step_s(8 * 128, 0, 0, 8, 8 * 128 * 129 / 2)
    decode_s = sum(times.step_s(8, 8, 8 * (128 + k), 8) for k in range(1, 32))
    predicted = player.outcome(where).predicted
    assert predicted["ttft_mean"] == pytest.approx(1e3 * (prefill_s + profile.frontend_s), rel=1e-6)
    assert predicted["e2e_mean"] == pytest.approx(1e3 * (prefill_s + decode_s + profile.frontend_s), rel=1e-6)
    assert predicted["gpu_peak_memory"] * 1e9 > profile.weights_bytes_per_gpu


def test_a_decode_step_of_a_batch(player, point):
    where = point(isl="1000", osl="", load="decode_batch~7.0")
    _, profile = profile_of(player, where)
    step_s = profile.step_times.step_s(7, 7, 7000, 7)
    assert player.outcome(where).predicted["itl_mean"] == pytest.approx(1e3 * step_s)
    assert player.outcome(where).predicted["output_throughput"] == pytest.approx(7 / step_s)


def test_a_full_server_holds_the_cap_of_its_batch(player, point):
    where = point(
        source="ML.ENERGY", isl="150", osl="100", load="max_num_seqs=16 (saturated; avg batch 16.0)", notes="num_gpus=1"
    )
    setup, profile = profile_of(player, where)
    assert profile.max_num_seqs == 16
    plan = plan_of(setup, profile)
    assert plan.scenario.traffic.concurrency > 16
    predicted = player.outcome(where).predicted
    # 16 sequences, one token each a step, but for the steps that carry prefill.
    assert 0.8 < predicted["output_throughput"] * predicted["itl_p50"] / 1e3 / 16 < 1.02
    assert 300 < predicted["avg_power_all_gpus"] < 700
    assert predicted["energy_per_output_token"] == pytest.approx(
        predicted["avg_power_all_gpus"] / predicted["output_throughput"]
    )


def test_an_open_loop_gives_what_it_is_asked_for(player, point):
    outcome = player.outcome(point(isl="100", osl="20", load="rate=4 req/s", notes="400 prompts"))
    assert outcome.predicted["request_throughput"] == pytest.approx(4, rel=0.15)
    assert not outcome.saturated
    drowned = player.outcome(point(isl="4000", osl="400", load="rate=50 req/s", notes="600 prompts"))
    assert drowned.saturated
    assert drowned.predicted["ttft_p99"] > 10 * drowned.predicted["ttft_p50"] / 9


def test_prompts_that_are_sent_again_are_cached(player, point):
    """The hit rate comes out: whole blocks of a prompt but the last token, once each of them has come."""
    again = player.outcome(point(**BLIS))
    anew = player.outcome(point(**BLIS), {"enable_prefix_caching": False})
    _, profile = profile_of(player, point(**BLIS))
    hit = 546 // 16 * 16
    tail_s = profile.step_times.step_s(547 - hit, 0, 0, 1, (547 - hit) * hit + (547 - hit) * (548 - hit) / 2)
    assert again.predicted["ttft_mean"] < anew.predicted["ttft_mean"]
    assert again.predicted["ttft_mean"] >= 1e3 * (tail_s + profile.frontend_s)


def test_all_at_once_queues(player, point):
    outcome = player.outcome(point(isl="512", osl="16", load="inf (64 prompts)"))
    assert not outcome.saturated
    assert player.outcome(point(isl="512", osl="16", load="inf (256 prompts)")).saturated
    assert outcome.predicted["ttft_p99"] > 5 * player.outcome(point()).predicted["ttft_mean"]
    assert outcome.predicted["request_throughput"] == pytest.approx(64 / (outcome.predicted["e2e_p99"] / 1e3), rel=0.2)


def test_answers_split_over_two_pools(player, point):
    where = point(
        source="dstack benchmarks (PD ratio)", engine="SGLang PD-disaggregated", model="openai/gpt-oss-20b", tp="2",
        precision="mxfp4", load="concurrency=4", notes="2 prefill + 1 decode workers; real mean isl 300 osl 20",
    )  # fmt: skip
    scenario = player.scenario(where)
    assert {name: pool.replicas for name, pool in scenario.fleet.pools.items()} == {"prefill": 2, "decode": 1}
    outcome = player.outcome(where)
    assert outcome.covered
    assert outcome.predicted["output_throughput_per_gpu"] == pytest.approx(outcome.predicted["output_throughput"] / 6)


def test_saturation_of_a_closed_loop_is_a_cache_that_its_users_fill(player, point):
    _, profile = profile_of(player, point(isl="30000", osl="16"))
    room = (profile.num_gpu_blocks - 1) * profile.block_size
    most = int(0.95 * room / 30016)
    assert not player.outcome(point(isl="30000", osl="16", load=f"concurrency={most}")).saturated
    assert player.outcome(point(isl="30000", osl="16", load=f"concurrency={most + 1}")).saturated


def test_another_calibration_or_setting(point):
    plain = play(point()).predicted
    engine = load_engine("vllm", "h100-sxm-80gb")
    slower = engine.model_copy(update={"step_s": engine.step_s + 0.001})
    assert play(point(), slower).predicted["tpot_mean"] == pytest.approx(plain["tpot_mean"] + 1.0, abs=1e-3)
    short = play(point(), settings={"max_num_batched_tokens": 256, "max_num_seqs": 256}).predicted
    assert short["ttft_mean"] > plain["ttft_mean"]


def test_a_curve_is_also_predicted_by_what_never_saw_it(library, point):
    engine = load_engine("vllm", "h100-sxm-80gb")
    folds = (
        Fold(curves=("g1", "g2"), coefficients={"step_s": engine.step_s + 0.002}),
        Fold(
            curves=("g3",), coefficients={"step_s": 0.0}, settings={"max_num_batched_tokens": 256, "max_num_seqs": 256}
        ),
    )
    fitted = engine.model_copy(update={"evidence": Evidence(num_curves=3, num_points=9, folds=folds)})
    assert fold_of(fitted, "g2") is folds[0]
    assert fold_of(fitted, "g4") is None
    assert fold_of(engine, "g1") is None
    player = Player(library, fitted)
    outcome = player.outcome(point(group_id="g1"))
    assert outcome.held_out["tpot_mean"] == pytest.approx(outcome.predicted["tpot_mean"] + 2.0, abs=1e-3)
    assert player.outcome(point(group_id="g4")).held_out == {}
    other = player.outcome(point(group_id="g3"))
    assert other.held_out["tpot_mean"] < other.predicted["tpot_mean"]
    assert other.held_out["ttft_mean"] > outcome.predicted["ttft_mean"]


def test_what_was_measured_did_fit(player, point):
    """A node as large as the replica, a text as long as it was, all of the memory where the default leaves no room."""
    assert player.outcome(
        point(gpu="GH200-96GB", model="Llama-2-70B", precision="fp8", tp="2", load="static_batch=1")
    ).covered
    assert player.outcome(point(model="Llama-2-7B", isl="6000", osl="16")).covered
    tight = point(model="Qwen/Qwen3-32B", isl="1000", osl="16")
    assert player.outcome(tight, {"gpu_memory_utilization": 0.7}).covered
    too_large = player.outcome(point(model="Llama-3-70B"))
    assert not too_large.covered
    assert (too_large.predicted, too_large.reason) == ({}, "the simulator finds no room for it in the memory")


def test_pools_are_as_large_as_the_load(player, point):
    where = point(engine="TensorRT-LLM", load="static_batch=100", isl="2048", osl="128")
    pool = pool_of(make_setup(where, library=player.library))
    assert (pool.max_num_seqs, pool.max_num_batched_tokens) == (100, 204_800)
    assert pool.num_gpu_blocks_override == 100 * 136 + 2
    whole = pool_of(make_setup(point(engine="TensorRT-LLM", isl="60000"), library=player.library))
    assert whole.max_num_batched_tokens == 60_000
