"""A GPU's entry with measured ceilings."""

import dataclasses

import pytest

from sim import catalog
from sim.calibrate.microbench.ceilings import ENTRIES, entry_of, largest_rates, with_ceilings
from sim.errors import SpecError
from sim.spec.hardware import read_gpu


def renamed(measured, gpu):
    return dataclasses.replace(measured, provenance=measured.provenance | {"gpu": gpu})


def test_another_device_has_what_it_reached_for_ceilings(measured):
    before = catalog.load_gpu("h200-sxm-141gb")
    gpu = with_ceilings(before, renamed(measured, "NVIDIA Z1"), "mine")
    assert gpu.name == "mine"
    assert gpu.bf16_flops_per_s == pytest.approx(700e12, rel=0.01)
    assert gpu.fp8_flops_per_s == pytest.approx(1300e12, rel=0.01)
    assert gpu.memory_bandwidth_bytes_per_s == pytest.approx(4.2e12 / 0.95, rel=0.01)  # 95 % on compute capability 9.0
    assert gpu.pcie_bytes_per_s == pytest.approx(55e9, rel=0.01)
    assert (gpu.num_sms, gpu.hbm_bytes, gpu.nominal_hbm_bytes, gpu.tdp_w) == (132, 150e9, 150e9, 690)
    assert gpu.bf16_flops_per_s.kind == "measured"
    assert "NVIDIA Z1" in gpu.bf16_flops_per_s.source
    assert gpu.nvlink_bytes_per_s == before.nvlink_bytes_per_s
    assert read_gpu(gpu.to_yaml()) == gpu


def test_a_known_device_keeps_its_peaks_and_notes_what_it_reached(measured):
    before = catalog.load_gpu(entry_of(measured))
    gpu = with_ceilings(before, measured, "mine")
    assert gpu.bf16_flops_per_s == before.bf16_flops_per_s
    assert gpu.bf16_flops_per_s.source == before.bf16_flops_per_s.source
    assert "(71%): largest rate of a product" in gpu.bf16_flops_per_s.note  # 700 of 989
    assert (gpu.hbm_bytes, gpu.hbm_bytes.kind) == (150e9, "measured")
    assert gpu.nominal_hbm_bytes == before.nominal_hbm_bytes
    assert read_gpu(gpu.to_yaml()) == gpu


def test_what_stays_in_the_cache_says_nothing_of_the_memory(measured):
    small = [row for row in measured.rows if row.point.operator == "add" and row.point.m == 4]
    quick = [dataclasses.replace(row, median_s=1e-12) for row in small]
    assert quick
    changed = dataclasses.replace(measured, rows=(*measured.rows, *quick))
    rates = {field: rate for field, rate, _ in largest_rates(changed)}
    assert rates["memory_bandwidth_bytes_per_s"] < 4.3e12


def test_every_entry_exists():
    assert set(ENTRIES.values()) <= set(catalog.list_entries("hardware"))


@pytest.mark.parametrize(
    ("change", "message"), [({"gpu": "NVIDIA Z1"}, "nearest to it with --like"), ({"num_gpus": 0}, "dry run")]
)
def test_a_device_without_an_entry(measured, change, message):
    with pytest.raises(SpecError, match=message):
        entry_of(dataclasses.replace(measured, provenance=measured.provenance | change))
