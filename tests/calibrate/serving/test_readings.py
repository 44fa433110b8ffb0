"""Derivatives of what a client reads off a play, against plays with other coefficients."""

import numpy as np
import pytest

from sim.calibrate.serving.asking import asked_s
from sim.calibrate.serving.bench import Stand
from sim.calibrate.serving.predictions import metrics
from sim.calibrate.serving.readings import spans_of, summed, token_gap

NIM = {"source": "NVIDIA-DLI-nim.csv", "engine": "NIM/TensorRT-LLM", "version": "NIM 1.x"}
METRICS = ("ttft_mean", "tpot_mean", "e2e_mean", "output_throughput")
STEP = 0.01
"""Relative change of a coefficient between the two plays."""


@pytest.fixture
def stand_for(basis_for):
    def make(**changes):
        setup, _, basis = basis_for(**{"model": "Llama-3.2-1B", **changes})
        ones = dict.fromkeys(METRICS, 1.0)
        return Stand(setup, basis, ones, ones, "g")

    return make


def elasticities(stand, path, step=STEP):
    """Derivative of the logs of the metrics by that of a coefficient: told, and found between two plays."""
    values = dict(stand.basis.values)
    _, slopes = stand.linearise(values)
    told = slopes[:, list(values).index(path)] * values[path]
    up, down = (stand.predict({**values, path: values[path] * factor}) for factor in (1 + step, 1 - step))
    return told, (up - down) / (2 * step)


@pytest.mark.parametrize(
    "load",
    [
        {"load": "concurrency=1"},
        {"load": "concurrency=4", "osl": "64"},
        {"load": "concurrency=4", "osl": "64", **NIM},  # requests 1 ms apart; an idle engine waits for the first
        {"load": "concurrency=16", "isl": "300", "osl": "64", "model": "Llama-3.1-8B-Instruct", **NIM},  # a busy engine
        {"load": "concurrency=6", "osl": "50", "engine": "SGLang", "version": "0.5.5", "source": "gap-analysis"},
        {"load": "inf rate (all 12 prompts at once)", "osl": "64"},
    ],
)
def test_while_the_order_of_events_holds_derivatives_are_exact(stand_for, load):
    stand = stand_for(**load)
    assert stand.linearise(dict(stand.basis.values))[0] == pytest.approx(stand.predict(dict(stand.basis.values)))
    for path in stand.basis.values:
        told, found = elasticities(stand, path, step=1e-3)  # so little that nobody overtakes another
        assert told == pytest.approx(found, rel=0.01, abs=2e-5), path


@pytest.mark.parametrize("path", ["decode_attention_scale.bf16", "layer_s", "step_s", "prefill_attention_scale"])
def test_a_full_server(stand_for, path):
    """Who waits for whom changes here and there; throughput counts the tokens of whole steps in a time: to a few %."""
    told, found = elasticities(stand_for(load="max_num_seqs=8 (saturated)", osl="64", version="0.10.0"), path)
    assert told[1] == pytest.approx(found[1], rel=0.01)
    assert told[3] == pytest.approx(found[3], rel=0.05, abs=0.006)


def test_in_an_open_loop_throughput_stays_and_times_per_token_move(stand_for):
    stand = stand_for(load="rate=5 req/s", osl="32", notes="60 requests")
    told, found = elasticities(stand, "layer_s")
    assert told[3] == 0.0
    assert told[1] == pytest.approx(found[1], rel=0.02)


def test_gaps_between_tokens_are_those_of_the_steps(basis_for, played):
    setup, _, basis = basis_for(model="Llama-3.2-1B", load="concurrency=4", osl="64")
    gaps = []
    for factor in (1.0, 1.0 + STEP, 1.0 - STEP):
        values = {**basis.values, "layer_s": factor * basis.values["layer_s"]}
        plan, records, steps = played(setup, basis.at(values))
        rows = records.rows[plan.counts(records.rows)]
        gaps.append(token_gap(steps, "p50", rows["arrived_s"].min(), rows["end_s"].max()))
    (here, weight), (up, _), (down, _) = gaps
    _, _, steps = played(setup, basis.profile)
    told = weight @ steps.time_s(basis.unit("layer_s")) * basis.values["layer_s"] / here
    assert told == pytest.approx((up - down) / (2 * STEP * here), rel=0.01)
    assert (weight * steps.num_steps).sum() == pytest.approx(1.0)
    # Half of the steps that emit are as long or shorter; those with prefill count for the sequences that decode.
    each = np.repeat((steps.end_s - steps.begin_s) / steps.num_steps, steps.num_steps * steps.decodes)
    assert here == pytest.approx(np.percentile(each, 50, method="inverted_cdf"))


def test_a_decode_step(basis_for):
    setup, _, basis = basis_for(load="decode_batch~7", isl="1000", osl="")
    ones = {"itl_mean": 1.0, "output_throughput": 1.0}
    stand = Stand(setup, basis, ones, ones, "g")
    for path in basis.values:
        told, found = elasticities(stand, path)
        assert told == pytest.approx(found, rel=1e-3, abs=1e-9)
        assert told[1] == -told[0]


def test_statistics_and_their_weights():
    values = np.array([3.0, 1.0, 2.0, 4.0, 100.0])
    mean, weights = summed(values, "mean")
    assert (mean, weights.tolist()) == (22.0, [0.2] * 5)
    median, weights = summed(values, "p50")
    assert (median, weights.tolist()) == (3.0, [1.0, 0.0, 0.0, 0.0, 0.0])
    many = np.random.default_rng(1).permutation(1000) / 10.0
    level, weights = summed(many, "p90")
    assert level == pytest.approx(np.percentile(many, 90))
    assert weights.sum() == pytest.approx(1.0)
    assert weights @ many == pytest.approx(level, rel=0.01)  # neighbours on both sides


def test_spans_have_the_values_that_the_metrics_sum_up(basis_for, played):
    setup, _, basis = basis_for(load="concurrency=4", osl="64")
    plan, records, _ = played(setup, basis.profile)
    rows = records.rows[plan.counts(records.rows)]
    found = metrics(setup, basis.profile, plan, records)
    for metric in ("ttft_mean", "tpot_mean", "e2e_mean"):
        spans = spans_of(metric, rows, basis.profile.frontend_s)
        assert 1e3 * spans.value_s.mean() == pytest.approx(found[metric])
    assert spans_of("output_throughput", rows, 0.0) is None


def test_arrivals_follow_answers_and_the_client_that_sends_one_after_the_other(basis_for, played):
    setup, _, basis = basis_for(model="Llama-3.2-1B", load="concurrency=4", osl="64", **NIM)
    _, records, _ = played(setup, basis.profile)
    rows, host_s = records.rows, basis.profile.frontend_s
    follows = asked_s(rows, host_s, setup.client.reissue_interval_s)
    assert np.all(np.isneginf(follows[rows["turn"] == 0]))
    later = rows["turn"] > 0
    assert np.abs(follows[later][:, np.newaxis] - (rows["end_s"] - host_s)).min(axis=1).max() < 2e-9
    waits = rows["arrived_s"][later] - follows[later] - host_s
    assert np.unique(np.round(1e3 * waits, 4)).tolist() == [1.0, 2.0, 3.0]  # one alone, the three others after it
