"""Model (step by step) and plane against records of vLLM's own scheduler, where no block's identity matters."""

import math

import numpy as np
import pytest
from drive import run_plane
from golden import as_world, differences_of_records, differences_of_steps, read_case
from slow_model import play
from worlds import Scene

# No hit, and no preemption that caching could soften: block numbers alone decide.
PLAIN = (
    "budget_chunked_mixed", "budget_tiny", "chunked_off", "kv_preempt_nocache", "light_load", "priority_queue",
    "saturated", "seqs_bound",
)  # fmt: skip
# Hits on a shared first segment only, in a pool so large that nothing is evicted.
PREFIX = ("burst_identical_arrivals", "output_one", "prefix_groups")


@pytest.fixture
def golden(shared):
    folder = shared / "oracle" / "golden"
    if not folder.is_dir():
        pytest.skip("needs the recorded scheduler cases")
    return folder


@pytest.mark.parametrize("name", PLAIN + PREFIX)
def test_model_repeats_the_recorded_case(golden, name):
    case = read_case(golden / name)
    world, rows, ids = as_world(case, caching=name in PREFIX)
    result = play(world, rows)
    assert differences_of_steps(case, result.steps, ids)[:5] == []
    assert differences_of_records(case, result.records, ids)[:5] == []


@pytest.mark.parametrize("leap", [True, False])
@pytest.mark.parametrize("name", PLAIN + PREFIX)
def test_plane_repeats_the_recorded_case(golden, name, leap):
    case = read_case(golden / name)
    world, rows, ids = as_world(case, caching=name in PREFIX)
    records = run_plane(Scene(world, rows, (), math.inf), leap=leap, chunk=50, requests=64).records
    by_serial = [dict(zip(records.dtype.names, record, strict=True)) for record in np.sort(records, order="serial")]
    assert differences_of_records(case, by_serial, ids)[:5] == []


def test_every_case_that_needs_no_cache_is_played(golden):
    cases = [read_case(folder) for folder in golden.iterdir()]
    plain = {
        case.name
        for case in cases
        if case.is_plain and not case.has_hits and not (case.has_preemptions and case.config["enable_prefix_caching"])
    }
    assert plain == set(PLAIN)


def test_a_broken_rule_is_noticed(golden):
    case = read_case(golden / "kv_preempt_nocache")
    world, rows, ids = as_world(case, caching=False)
    rows["output_tokens"][7] += 1
    result = play(world, rows)
    assert differences_of_steps(case, result.steps, ids) != []
    assert differences_of_records(case, result.records, ids) != []
