"""Figures of the lecture notes (docs/equations.md, the lecture's figures, checked)."""

import pytest

from sim.lifecycle.shapes import (
    kv_bytes_per_sequence,
    kv_bytes_per_token_layer,
    linear_flops_per_token,
    parameters,
)
from sim.units import GIB


def test_eight_billion_parameters_at_two_bytes(models):
    """8e9 x 2 B = 14.9 GiB; Llama-3.1-8B itself has 8.03e9 and takes 15.0 GiB."""
    assert pytest.approx(14.9, abs=0.05) == 2 * 8e9 / GIB
    assert parameters(models("llama-3.1-8b")).total * 2 / GIB == pytest.approx(14.96, abs=0.005)


def test_the_cache_formula_leaves_out_the_layers(models):
    """2 x heads x tokens x head_dim x bytes is one layer: 0.25 GiB; all 80 take 20 GiB, with 8 heads 2.5 GiB."""
    formula = 2 * 64 * 8192 * 128 * 2  # 0.25 GiB
    mha, gqa = models("meridian-1-70b-mha"), models("meridian-1-70b")
    assert 8192 * kv_bytes_per_token_layer(mha, 2) == formula
    assert kv_bytes_per_sequence(mha, 8192, 2) == 80 * formula
    assert kv_bytes_per_sequence(mha, 8192, 2) == 20 * GIB
    assert kv_bytes_per_sequence(gqa, 8192, 2) == 2.5 * GIB


def test_its_five_and_eighty_gigabytes_do_not_belong_to_one_model(models):
    """5 GB at 8K and 80 GB at 128K are 1 to 16, as the contexts; 64 heads of 80 layers give 20 and 320 GiB."""
    mha, gqa = models("meridian-1-70b-mha"), models("meridian-1-70b")
    assert kv_bytes_per_sequence(mha, 8192, 2) / 5e9 == pytest.approx(4.3, abs=0.05)
    assert kv_bytes_per_sequence(mha, 131072, 2) == 320 * GIB
    assert kv_bytes_per_sequence(gqa, 131072, 2) == 40 * GIB
    sixteen_heads = 2 * kv_bytes_per_sequence(gqa, 8192, 2)
    assert sixteen_heads == pytest.approx(5e9, rel=0.08)  # what would give 5 GB: 16 key-value heads


def test_the_corner_of_the_roofline(h100, kernels):
    """About 200 operations a byte: the datasheet says 295; with what kernels reach of either side, 263."""
    corner = h100.bf16_flops_per_s / h100.memory_bandwidth_bytes_per_s
    assert corner == pytest.approx(295, abs=0.5)
    fit = kernels.gemm["bf16"].fit
    # 794.5 of 989 TFLOP/s measured on ordinary data, 0.90 of the bandwidth
    assert corner * fit.ceiling_frac / fit.bandwidth_frac == pytest.approx(263.4, abs=0.5)


def test_decode_does_about_one_operation_a_byte_for_each_sequence(models):
    """The lecture's 1 to 10 operations a byte are batches of 1 to 10: 2 FLOP for every weight of 2 B."""
    model = models("llama-3.1-8b")
    for batch in (1, 10):
        assert batch * linear_flops_per_token(model) / (2 * parameters(model).active) == pytest.approx(batch, rel=1e-3)


def test_the_embedding_of_a_large_vocabulary(models):
    """About 2 GB at 128K x 8192 x 2 B: 2.1 GB."""
    assert parameters(models("meridian-1-70b")).embedding * 2 == 128_000 * 8192 * 2 == pytest.approx(2.1e9, rel=0.01)


def test_waiting_for_data_in_decode(models, compiled):
    """About 95 % of the time: at batch 1 the tensor cores could do a step's work in 0.2 % of its time."""
    time_s = compiled("llama-3.1-8b").step_times.step_s(1, 1, 1000, 1)
    work_s = linear_flops_per_token(models("llama-3.1-8b")) / 989e12
    assert work_s / time_s == pytest.approx(0.002, abs=0.0005)
