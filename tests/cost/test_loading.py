"""How long a model takes to load: the table against itself, and the form against its cells."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

from sim import catalog, cost
from sim.cost.loading import load_time

ROOT = Path(__file__).parents[2]
RAW = ROOT / ".." / "shared" / "data" / "measured" / "facts_model_load_seconds.csv"


@pytest.fixture(scope="module")
def table():
    return catalog.load_model_load()


def test_the_cells_hold_all_the_loads(table):
    assert sum(cell.num_runs for cell in table.cells) == 280
    assert all(cell.min_s <= cell.median_s <= cell.max_s for cell in table.cells)
    assert len({cell.gpu for cell in table.cells}) == len(table.machine_factor) == 5


def test_factors_of_machines_have_geometric_mean_one(table):
    assert np.prod(list(table.machine_factor.values())) == pytest.approx(1.0, abs=0.01)
    spread = np.std(np.log(list(table.machine_factor.values())), ddof=1)
    assert table.machine_log_sd == pytest.approx(spread, abs=0.005)


def test_the_form_tells_the_cells_within_the_spread_of_single_loads(table):
    errors = [
        math.log(table.machine_factor[cell.gpu] * table.median_s(cell.weights_gb, cell.num_gpus, cell.engine))
        - math.log(cell.median_s)
        for cell in table.cells
    ]
    weights = np.array([cell.num_runs for cell in table.cells])
    assert np.sqrt(np.average(np.square(errors), weights=weights)) < table.run_log_sd
    assert abs(np.average(errors, weights=weights)) < 0.05


def test_it_is_what_its_maker_writes():
    if not RAW.is_file():
        pytest.skip("the published loads are not here")
    path = ROOT / "docs" / "make_model_load_table.py"
    spec = importlib.util.spec_from_file_location("make_model_load_table", path)
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    made = maker.page(maker.read(RAW))
    assert made == (ROOT / "hardware_profiles" / "model_load.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("engine", "measured"),
    [("vllm", "vllm 0.20.1"), ("vllm-0.11", "vllm 0.20.1"), ("sglang", "sglang 0.5.6"), ("nim", "vllm 0.20.1")],
)
def test_a_pools_engine_stands_for_the_newest_measured_of_its_family(table, engine, measured):
    assert table.engine_of(engine) == measured


def test_the_time_of_a_pool_by_hand(table):
    profile = cost.compile("llama-3.1-70b", "h100-sxm-80gb", tensor_parallel_size=4)
    gigabytes = profile.weights_bytes_per_gpu * 4 / 1e9
    assert gigabytes == pytest.approx(141, rel=0.02)
    median_s = table.engine_factor["vllm 0.20.1"] * (table.base_s + table.s_per_gb * gigabytes + table.several_gpus_s)
    found = load_time(profile, "vllm")
    variance = table.machine_log_sd**2 + table.run_log_sd**2
    assert found.mean == pytest.approx(median_s * math.exp(variance / 2.0))
    assert (found.standard_deviation / found.mean) ** 2 == pytest.approx(math.exp(variance) - 1.0)
