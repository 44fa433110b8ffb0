"""Profiles against measured inter-token latencies: no further off than the calibration claims for time per token."""

import csv
import io

import numpy as np
import pytest

HIT_FRAC = 0.85
"""Share of a prompt found in the prefix cache, *assumed*: the load repeats its prompts."""


def steady_itl_s(times, rate_per_s, prompt_tokens, output_tokens):
    """Mean inter-token latency at a constant rate [s]: Little's law and the step time, solved together.

    n = rate x output x itl sequences decode; each second `rate` steps also carry one prompt's uncached part.
    """
    fresh = round(prompt_tokens * (1 - HIT_FRAC))
    pairs = fresh * (prompt_tokens - fresh) + fresh * (fresh + 1) / 2
    context = prompt_tokens + output_tokens / 2
    itl_s = 0.01
    for _ in range(100):
        num_seqs = min(max(rate_per_s * output_tokens * itl_s, 1.0), times.max_num_seqs - 1)
        around = [int(num_seqs), int(num_seqs) + 1]
        decode_s = np.interp(num_seqs, around, [times.step_s(n, n, n * context, n) for n in around])
        n = round(num_seqs)
        mixed_s = times.step_s(n + fresh, n, n * context, n + 1, pairs)
        itl_s = 0.5 * itl_s + 0.5 * decode_s / (1 - rate_per_s * (mixed_s - decode_s))
    return itl_s


def errors(repository, compiled, gpu):
    text = (repository / "tests/reference/serving.csv").read_text()
    rows = [row for row in csv.DictReader(io.StringIO(text.split("\n", 1)[1])) if row["gpu"] == gpu]
    found = {}
    for row in rows:
        tp, rate = int(row["tensor_parallel_size"]), float(row["rate_per_s"])
        lengths = int(row["prompt_tokens"]), int(row["output_tokens"])
        profile = compiled(row["model"], gpu, tensor_parallel_size=tp, max_num_seqs=128, max_num_batched_tokens=2048)
        itl_s = steady_itl_s(profile.step_times, rate, *lengths)
        found[row["model"], tp, rate, lengths] = 1e3 * itl_s / float(row["itl_ms"]) - 1
    return profile.calibration.errors, found


def test_vllm_on_h100_errs_as_its_calibration_claims(repository, compiled):
    claimed, found = errors(repository, compiled, "h100-sxm-80gb")
    assert len(found) == 16
    off = np.abs(list(found.values()))
    assert np.median(off) <= claimed["tpot"].median_frac
    assert np.quantile(off, 0.9) <= claimed["tpot"].p90_frac


def test_vllm_on_a100_comes_close_in_spite_of_its_thin_calibration(repository, compiled):
    claimed, found = errors(repository, compiled, "a100-sxm-80gb")
    assert len(found) == 2
    assert max(map(abs, found.values())) <= claimed["tpot"].median_frac


@pytest.mark.parametrize(
    ("model", "tp", "batch", "measured_w"),
    [
        ("llama-3.1-70b", 4, 32, 448.6),
        ("llama-3.1-70b", 4, 96, 525.4),
        ("llama-3.1-70b", 4, 255, 588.6),
        ("llama-3.1-8b", 1, 96, 644.0),
        ("llama-3.1-8b", 1, 191, 688.3),
    ],
)
def test_power_errs_as_its_fit_claims(compiled, kernels, model, tp, batch, measured_w):
    """Watts of one H100 decoding chat answers: github:ml-energy/leaderboard@0cd52da."""
    times = compiled(model, tensor_parallel_size=tp).step_times
    step_s = times.step_s(batch, batch, batch * 450, batch)
    predicted_w = times.energy_j(batch, step_s) / step_s / tp
    assert abs(predicted_w / measured_w - 1) < kernels.power.error.p90_frac
