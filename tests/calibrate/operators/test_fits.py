"""Fits to timings whose form is known; residual tables; what is monotone; what is held out."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.calibrate.operators.attention import fit_decode, fit_prefill
from sim.calibrate.operators.collectives import fit_collective
from sim.calibrate.operators.experts import fit_experts
from sim.calibrate.operators.grid import fit_residual
from sim.calibrate.operators.monotone import curve_numbers, monotone_along
from sim.calibrate.operators.products import fit_gemm
from sim.calibrate.operators.scores import error_of, held_out_curves

_spec = importlib.util.spec_from_file_location("operator_tables", Path(__file__).with_name("conftest.py"))
tables = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tables)


def test_a_grid_goes_through_what_was_measured_and_straight_between():
    axes = [np.arange(5.0), np.arange(4.0)]
    x, y = (at.ravel() for at in np.meshgrid(*axes, indexing="ij"))
    plane = 0.3 * x - 0.1 * y
    kept = ~((x == 2) & (y == 1))
    table = fit_residual(axes, [x[kept], y[kept]], plane[kept], (0.1, 0.1))
    assert table.log_at(x, y) == pytest.approx(plane, abs=5e-3)
    assert float(table.log_at(2.0, 1.0)) == pytest.approx(0.5, abs=5e-3)


@given(st.lists(st.floats(1e-6, 1e-2), min_size=1, max_size=20))
def test_what_is_made_monotone_rises_and_stays_near(times):
    times = np.array(times)
    order = np.arange(len(times), dtype=float)
    raised = monotone_along(order, np.zeros(len(times), dtype=np.int64), times)
    assert np.all(np.diff(raised) >= -1e-12)
    assert times.min() * (1 - 1e-9) <= raised.min()
    assert raised.max() <= times.max() * (1 + 1e-9)
    assert monotone_along(order, curve_numbers(order), times) == pytest.approx(times, rel=1e-12)  # one point a curve
    already = np.sort(times)
    assert monotone_along(order, np.zeros(len(times), dtype=np.int64), already) == pytest.approx(already, rel=1e-9)


def test_a_lone_spike_is_taken_down():
    times = np.array([3.0, 3.1, 38.0, 3.3, 3.4])
    raised = monotone_along(np.arange(5.0), np.zeros(5, dtype=np.int64), times)
    assert raised == pytest.approx([3.0, 3.1, 3.3, 3.3, 3.4])


def test_whole_curves_are_held_out_and_always_the_same():
    curves = np.repeat(np.arange(50), 7)
    held = held_out_curves(curves)
    assert np.array_equal(held, held_out_curves(curves))
    assert len(np.unique(curves[held])) == 10
    assert not set(curves[held]) & set(curves[~held])


def test_errors_are_those_of_the_ratio():
    error = error_of(np.array([1.1, 0.8, 1.0]), np.ones(3))
    assert (error.median_frac, error.num_points) == (0.1, 3)


def test_products_of_a_known_form(h100):
    result = fit_gemm(tables.product_rows(), h100, "bf16", ("made-up", "1.0"))
    assert result.fit.launch_s == pytest.approx(4e-6, rel=0.01)
    assert result.fit.compute_frac == pytest.approx(0.6, rel=0.01)
    assert result.fit.bandwidth_frac == pytest.approx(0.8, rel=0.01)
    assert np.all(np.abs(result.residual.values) < 0.01)
    assert result.score.held_out.p90_frac < 0.01
    assert fit_gemm(tables.product_rows(), h100, "fp8", ("made-up", "1.0")) is None


def test_a_step_of_kernels_is_in_the_table(h100):
    """From 65 rows another kernel runs, 1.5 times as slow: no smooth form has that, the table does."""
    rows = tables.product_rows(bump=lambda m: np.where(m > 64, 1.5, 1.0))
    result = fit_gemm(rows, h100, "bf16", ("made-up", "1.0"))
    before, after = result.residual.factor(np.log2([64.0, 65.0]), 11.0, 11.0)
    assert after / before == pytest.approx(1.5, rel=0.03)
    assert result.score.held_out.p90_frac < 0.03


def test_decode_attention_of_a_known_form(a100):
    b, c, layout = (
        x.ravel() for x in np.meshgrid(2.0 ** np.arange(8), 2.0 ** np.arange(4, 14) - 1, np.arange(6), indexing="ij")
    )
    heads, kv = (np.array(one)[layout.astype(int)] for one in ([8, 16, 32, 32, 64, 8], [1, 2, 4, 8, 8, 8]))
    read = b * c * 2 * kv * 128 * 2
    start = 1.2e-5 + np.where((b > 1) & (kv > 1), 5e-6, 0.0) + b * kv * 3e-8
    rows = pd.DataFrame(
        {
            "batch_size": b, "isl": 1, "step": c, "num_heads": heads, "num_key_value_heads": kv, "head_dim": 128,
            "window_size": 0, "attn_dtype": "bfloat16", "kv_cache_dtype": "bfloat16", "kernel": "one",
            "time_s": start + read / (0.7 * 2.039e12),
        }
    )  # fmt: skip
    result = fit_decode(rows, a100, "bf16", ("made-up", "1.0"))
    assert result.fit.start_s == pytest.approx(1.2e-5, rel=0.02)
    assert result.fit.batch_start_s == pytest.approx(5e-6, rel=0.05)
    assert result.fit.bandwidth_frac == pytest.approx(0.7, rel=0.01)
    assert result.score.held_out.p90_frac < 0.02
    impossible = rows.assign(time_s=np.where(read > 1e9, rows["time_s"] / 2, rows["time_s"]))
    assert f"{int(np.sum(read > 1e9))} of {len(rows)}" in fit_decode(impossible, a100, "bf16", ("x", "1")).score.note


def test_prefill_attention_of_a_known_form(h100):
    b, q, layout = (
        x.ravel() for x in np.meshgrid(2.0 ** np.arange(4), 2.0 ** np.arange(4, 15), np.arange(5), indexing="ij")
    )
    heads, kv = (np.array(one)[layout.astype(int)] for one in ([8, 16, 32, 32, 64], [1, 2, 4, 8, 8]))
    compute = 4 * b * heads * 128 * q * (q + 1) / 2 / (0.55 * 989e12)
    memory = 2 * b * q * (2 * heads + 2 * kv) * 128 / (0.3 * 3.35e12)
    rows = pd.DataFrame(
        {
            "batch_size": b, "isl": q, "step": 0, "num_heads": heads, "num_key_value_heads": kv, "head_dim": 128,
            "window_size": 0, "attn_dtype": "bfloat16", "kv_cache_dtype": "bfloat16", "kernel": "one",
            "time_s": 1e-5 + np.hypot(compute, memory),
        }
    )  # fmt: skip
    result = fit_prefill(rows, h100, "bf16", ("made-up", "1.0"))
    assert result.fit.compute_frac == pytest.approx(0.55, rel=0.01)
    assert result.score.held_out.p90_frac < 0.02
    assert fit_prefill(rows, h100, "fp8", ("made-up", "1.0")) is None


def test_message_sizes_are_elements_of_two_bytes(h100):
    size = 2 ** np.arange(7, 27)
    rows = pd.DataFrame(
        {
            "num_gpus": 4, "message_size": size, "allreduce_dtype": "bfloat16", "kernel": "graph",
            "time_s": 5e-6 + 2 * size / 100e9,
        }
    )  # fmt: skip
    fits, found, score = fit_collective(rows, h100, "all-reduce", ("made-up", "1.0"))
    assert fits[4].bytes_per_s == pytest.approx(100e9, rel=0.01)
    assert fits[4].latency_s == pytest.approx(5e-6, rel=0.01)
    assert np.all(np.abs(found["all_reduce.4"].values) < 0.02)
    assert score.held_out.p90_frac < 0.02


def test_a_switch_of_kernels_says_nothing_of_the_other_side(h100):
    """Three times as slow from 8 MiB: held-out sizes beside the switch are told from their own side."""
    size = 2 ** np.arange(7, 27)
    time_s = (5e-6 + 2 * size / 100e9) * np.where(2 * size >= 2**23, 3.0, 1.0)
    rows = pd.DataFrame({"num_gpus": 8, "message_size": size, "allreduce_dtype": "bfloat16", "time_s": time_s})
    scores = [
        fit_collective(rows, h100, "all-reduce", ("made-up", "1.0"), switch_bytes=switch)[2]
        for switch in (0.0, 2.0**23)
    ]
    assert scores[1].held_out.p90_frac < 0.5 * scores[0].held_out.p90_frac


def test_experts_that_were_timed_have_a_table_of_their_own(h100):
    tokens = 2.0 ** np.arange(0, 13)
    parts = []
    for hidden, width, per_token, experts in (
        (4096, 1536, 8, 128),
        (2048, 768, 8, 128),
        (4096, 14336, 2, 8),
        (5120, 8192, 1, 16),
    ):
        for ep in (1, 2, 4, 8):
            visited = experts * (1 - (1 - per_token / experts) ** tokens) / ep
            time_s = (
                5e-5
                + visited * 3 * hidden * width * 2 / (0.9 * 3.35e12)
                + per_token * tokens / ep * hidden * 2 * 5 / 3.35e12
            )
            time_s = time_s * (1.3 if width == 14336 else 1.0)
            parts.append(
                pd.DataFrame(
                    {
                        "num_tokens": tokens, "hidden_size": hidden, "inter_size": width, "topk": per_token,
                        "num_experts": experts, "moe_tp_size": 1, "moe_ep_size": ep, "distribution": "power_law_1.01",
                        "moe_dtype": "bfloat16", "kernel": "one", "time_s": time_s,
                    }
                )
            )  # fmt: skip
    result = fit_experts(pd.concat(parts), h100, "bf16", ("made-up", "1.0"))
    (score,) = result.scores
    assert score.fitted.p90_frac < 0.02  # its own table
    assert 0.02 < score.held_out.p90_frac < 0.4  # nobody else is 1.3 times as slow
    assert result.shapes.tolist()[0] == [2048.0, 768.0, 8.0, 128.0]
