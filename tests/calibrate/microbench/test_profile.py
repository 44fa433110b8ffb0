"""From a measurement folder to entries of a catalogue, and back to what was measured."""

import dataclasses

import numpy as np
import pytest

from sim import catalog
from sim.calibrate.microbench.compare import compare, predict_s
from sim.calibrate.microbench.fits import fit
from sim.calibrate.microbench.points import Point
from sim.calibrate.microbench.profile import entries, write
from sim.cost import compile as compile_profile
from sim.cost.calibration import load_engine, load_kernels
from sim.cost.residual import QUANTUM
from sim.errors import SpecError
from sim.spec.hardware import GpuSpec

START_S = 3e-6  # as in conftest.py


@pytest.fixture(scope="module")
def made(measured):
    return entries(measured, name="mine")


@pytest.fixture
def mine(made, tmp_path, monkeypatch):
    """The entries in a catalogue of the user's."""
    write(made, tmp_path)
    monkeypatch.setenv("TOKENFLEET_CATALOG_PATH", str(tmp_path))
    return tmp_path


def test_the_law_behind_the_points_comes_out(made):
    fits, gpu = made.kernels, made.gpu
    product = fits.gemm["bf16"]
    assert product.launch_s == pytest.approx(START_S, rel=0.1)
    assert product.compute_frac * gpu.bf16_flops_per_s == pytest.approx(700e12, rel=0.03)
    assert product.bandwidth_frac * gpu.memory_bandwidth_bytes_per_s == pytest.approx(4.2e12, rel=0.03)
    assert product.ceiling_frac * gpu.bf16_flops_per_s == pytest.approx(700e12, rel=0.02)
    decode = fits.decode_attention["bf16"]
    assert decode.bandwidth_frac * gpu.memory_bandwidth_bytes_per_s == pytest.approx(4.2e12, rel=0.03)
    assert fits.all_reduce[8].latency_s == pytest.approx(START_S, rel=0.1)
    assert all(score.held_out.median_frac < 0.03 for score in made.scores)
    assert {score.operator for score in made.scores} == {
        "gemm",
        "decode attention",
        "prefill attention",
        "all-reduce",
    }


def test_what_was_not_measured_is_named_and_kept(made):
    before = load_kernels("h200-sxm-141gb", "vllm").spec
    assert made.kernels.experts == before.experts
    assert made.kernels.decode_attention["fp8"] == before.decode_attention["fp8"]
    assert {"experts bf16", "decode_attention fp8"} <= set(made.kept)
    assert "decode_attention fp8" in made.kernels.notes[1]
    assert made.kernels.gemm["bf16"].source != before.gemm["bf16"].source
    assert "NVIDIA H200" in made.kernels.gemm["bf16"].source


@pytest.mark.usefixtures("mine")
def test_written_entries_read_back_and_predict_the_points(measured):
    kernels, gpu = load_kernels("mine", "vllm"), catalog.load_gpu("mine")
    assert kernels.spec.name == "vllm-mine"
    assert isinstance(gpu, GpuSpec)
    assert load_engine("vllm", "mine").status == "extrapolated"
    found = {(one.operator, one.precision): one for one in compare(measured, kernels, gpu)}
    assert set(found) == {
        ("gemm", "bf16"),
        ("gemm", "fp8"),
        ("decode_attention", "bf16"),
        ("prefill_attention", "bf16"),
        ("all_reduce", "bf16"),
    }
    assert all(one.median_frac < 0.02 and one.p90_frac < 0.06 for one in found.values())
    old = load_kernels("h200-sxm-141gb", "vllm")
    np.testing.assert_allclose(
        kernels.experts["bf16"].residual.values, old.experts["bf16"].residual.values, atol=QUANTUM
    )
    profile = compile_profile(catalog.load_model("llama-3.1-8b"), gpu)
    assert profile.step_times.decode_batch_s[1] > 0


def test_a_measured_gpu_that_is_slower_makes_slower_profiles(mine, measured):
    slow = dataclasses.replace(
        measured, rows=tuple(dataclasses.replace(row, median_s=2 * row.median_s) for row in measured.rows)
    )
    write(entries(slow, name="slow"), mine)
    model = catalog.load_model("llama-3.1-8b")
    quick_s, slow_s = (
        compile_profile(model, catalog.load_gpu(name)).step_times.batch_s[8192] for name in ("mine", "slow")
    )
    assert slow_s > 1.5 * quick_s


def test_nothing_is_overwritten(made, mine):
    with pytest.raises(SpecError) as raised:
        write(made, mine)
    assert len(raised.value.problems) == len(made.files)


def test_names_and_devices_that_cannot_be(measured):
    with pytest.raises(SpecError, match="the catalogue has h200-sxm-141gb already"):
        entries(measured, name="h200-sxm-141gb")
    unknown = dataclasses.replace(measured, provenance=measured.provenance | {"gpu": "NVIDIA Z1"})
    with pytest.raises(SpecError, match="--like"):
        entries(unknown, name="mine")
    newer = dataclasses.replace(unknown, provenance=unknown.provenance | {"sm_version": 100})
    made = entries(newer, name="mine", like="h100-sxm-80gb")
    assert (made.gpu.bf16_flops_per_s.kind, made.gpu.sm_version) == ("measured", 100)
    assert made.kernels.gemm["bf16"].ceiling_frac == pytest.approx(1.0)
    assert made.kernels.decode_attention["bf16"].error.num_points == sum(
        row.point.operator == "decode_attention" for row in measured.rows
    )
    dry = dataclasses.replace(measured, provenance=measured.provenance | {"num_gpus": 0})
    with pytest.raises(SpecError, match="dry run"):
        entries(dry, name="mine", like="h100-sxm-80gb")


def test_too_few_points_are_not_fitted(measured):
    few = dataclasses.replace(measured, rows=measured.rows[:20])
    with pytest.raises(SpecError, match="no operator has 30"):
        fit(few, catalog.load_gpu("h200-sxm-141gb"))


def test_an_operator_alone_leaves_the_others_as_they_were(measured):
    gemm = dataclasses.replace(measured, rows=tuple(row for row in measured.rows if row.point.operator == "gemm"))
    made = entries(gemm, name="mine")
    before = load_kernels("h200-sxm-141gb", "vllm").spec
    assert made.kernels.decode_attention == before.decode_attention
    assert made.kernels.gemm["fp8"] != before.gemm["fp8"]


def test_predictions_of_what_kernels_do_not_have():
    kernels, gpu = load_kernels("h200-sxm-141gb", "vllm"), catalog.load_gpu("h200-sxm-141gb")
    assert predict_s(Point("copy", variant="device_to_device", message_bytes=1), kernels, gpu) is None
    assert predict_s(Point("all_reduce", num_gpus=3, message_bytes=1024), kernels, gpu) is None
    assert predict_s(Point("gemm", m=1, n=4096, k=4096), kernels, gpu) > 1e-6
