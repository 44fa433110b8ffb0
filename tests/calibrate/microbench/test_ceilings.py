"""A GPU's entry with measured ceilings."""

import dataclasses

import pytest

from sim import catalog
from sim.calibrate.microbench.ceilings import ENTRIES, entry_of, with_ceilings
from sim.errors import SpecError
from sim.spec.hardware import read_gpu


def test_the_largest_rates_become_ceilings(measured):
    before = catalog.load_gpu(entry_of(measured))
    gpu = with_ceilings(before, measured, "mine")
    assert gpu.name == "mine"
    assert gpu.bf16_flops_per_s == pytest.approx(700e12, rel=0.01)
    assert gpu.fp8_flops_per_s == pytest.approx(1300e12, rel=0.01)
    assert gpu.memory_bandwidth_bytes_per_s == pytest.approx(4.2e12, rel=0.01)
    assert gpu.pcie_bytes_per_s == pytest.approx(55e9, rel=0.01)
    assert (gpu.num_sms, gpu.hbm_bytes, gpu.tdp_w) == (132, 150e9, 690)
    assert gpu.bf16_flops_per_s.kind == "measured"
    assert "NVIDIA H200" in gpu.bf16_flops_per_s.source
    assert "h200-sxm-141gb has 9.89e+14 (datasheet)" in gpu.bf16_flops_per_s.note
    assert gpu.nvlink_bytes_per_s == before.nvlink_bytes_per_s
    assert read_gpu(gpu.to_yaml()) == gpu


def test_what_stays_in_the_cache_says_nothing_of_the_memory(measured):
    small = [row for row in measured.rows if row.point.operator == "add" and row.point.m == 2]
    quick = [dataclasses.replace(row, median_s=1e-12) for row in small]
    changed = dataclasses.replace(measured, rows=(*measured.rows, *quick))
    gpu = with_ceilings(catalog.load_gpu("h200-sxm-141gb"), changed, "mine")
    assert gpu.memory_bandwidth_bytes_per_s < 4.3e12


def test_every_entry_exists():
    assert set(ENTRIES.values()) <= set(catalog.list_entries("hardware"))


@pytest.mark.parametrize(
    ("change", "message"), [({"gpu": "NVIDIA Z1"}, "nearest to it with --like"), ({"num_gpus": 0}, "dry run")]
)
def test_a_device_without_an_entry(measured, change, message):
    with pytest.raises(SpecError, match=message):
        entry_of(dataclasses.replace(measured, provenance=measured.provenance | change))
