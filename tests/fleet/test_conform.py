"""The plane repeats recorded runs of a real scheduler, step by step, and a difference is found where it is."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sim.fleet.conform import FIELDS, conform, replay
from sim.fleet.golden import RECORD_TYPES, STEP_KEYS, read_case

RECORDED = Path(__file__).parents[1] / "golden"
WAYS = {
    "compiled": {},
    "no leap": {"leap": False},
    "blocks": {"cache": "blocks"},
    "blocks, no leap": {"cache": "blocks", "leap": False},
    "simpy": {"clock": "simpy"},
    "simpy, no leap": {"clock": "simpy", "leap": False},
    "simpy, blocks": {"clock": "simpy", "cache": "blocks"},
}


@pytest.mark.parametrize("way", WAYS)
def test_recorded_cases_are_repeated(way):
    found = conform([RECORDED], **WAYS[way])
    assert found.num_cases >= 6
    assert found.num_steps > 10_000
    assert [str(failure) for failure in found.failures] == []


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_every_case_at_hand_is_repeated(shared, way):
    found = conform([shared / "oracle" / "golden"], **WAYS[way])
    assert found.num_cases >= 21
    assert [str(failure) for failure in found.failures] == []


def test_every_recorded_field_is_compared():
    assert set(FIELDS) == set(STEP_KEYS)
    header, _ = (RECORDED / "tiny_pool" / "requests_out.csv").read_text().split("\n", 1)
    assert header.split(",") == list(RECORD_TYPES)


@pytest.fixture
def case(tmp_path):
    """A copy of a small case, to be changed."""
    return Path(shutil.copytree(RECORDED / "tiny_pool", tmp_path / "tiny_pool"))


def test_another_setting_is_noticed_at_the_first_step_that_shows_it(case):
    config = json.loads((case / "config.json").read_text())
    (case / "config.json").write_text(json.dumps(config | {"num_gpu_blocks": config["num_gpu_blocks"] + 1}))
    (failure,) = conform([case]).failures
    assert (failure.case, failure.step, failure.field) == ("tiny_pool", 0, "free")
    assert failure.got == failure.expected + 1


def test_another_request_is_noticed(case):
    requests = json.loads((case / "requests.json").read_text())
    requests[-1]["output"] += 1
    (case / "requests.json").write_text(json.dumps(requests))
    (failure,) = conform([case]).failures
    assert failure.step is not None
    assert failure.step > 100


def test_a_request_that_can_never_run_is_a_difference_and_no_crash(case):
    requests = json.loads((case / "requests.json").read_text())
    config = json.loads((case / "config.json").read_text())
    requests[0]["prompt"] = [["long", config["num_gpu_blocks"] * config["block_size"]]]
    (case / "requests.json").write_text(json.dumps(requests))
    (case / "config.json").write_text(json.dumps(config | {"max_model_len": 10_000}))
    found = conform([case])
    assert found.to_dict()["matched"] == 0


@pytest.mark.parametrize("cache", ["extents", "blocks"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_leaps_lose_nothing_where_cached_blocks_are_doubled(cache, asynchronous):
    # Prompts of whole blocks that are equal: each recomputes its last block, beside the one that is there.
    given = read_case(RECORDED / "tiny_pool")
    requests = [
        {**request, "prompt": [["same", 4 * (1 + request["id"] % 5)], *request["prompt"][: request["id"] % 3 // 2]]}
        for request in given.requests
    ]
    config = {**given.config, "async_scheduling": asynchronous, "max_model_len": 200}
    case = replace(given, requests=requests, config=config)
    stepped, _ = replay(case, clock="compiled", leap=False, cache="blocks")
    leapt, _ = replay(case, clock="compiled", leap=True, cache=cache)
    assert len({step.hashed for step in stepped}) > 10
    assert leapt == stepped


@pytest.mark.parametrize("leap", [True, False])
def test_a_head_that_does_not_fit_fits_when_arrivals_lower_the_threshold(leap):
    changed = {"max_num_batched_tokens": 80, "num_gpu_blocks": 13, "scheduler_reserve_full_isl": False}
    changed |= {"long_prefill_token_threshold": 1, "long_prefill_token_threshold_adaptive": True}
    changed |= {"step_time": {"c0": 1.0, "c1": 0.0, "c2": 0.0, "c3": 0.0}}
    given = read_case(RECORDED / "tiny_pool")
    requests = [
        {"id": 0, "arrival": 0.0, "prompt": [["a", 16]], "output": 12},
        {"id": 1, "arrival": 0.5, "prompt": [["b", 40]], "output": 1},
        {"id": 2, "arrival": 2.5, "prompt": [["c", 4]], "output": 1},
    ]
    case = replace(given, config={**given.config, **changed}, requests=requests)
    steps, _ = replay(case, clock="compiled", leap=leap, cache="extents")
    # Of two, the second may have 80 // 2 = 40 tokens, 10 of the 7 blocks that are free; of three 80 // 3 = 26, all 7.
    assert steps[2].waiting == 1
    assert steps[3].sched == [(0, 1, 18), (1, 26, 0)]
    assert steps[3].free == 0


RECORDS = {
    "itl_p50": lambda cell: repr(float(cell) + 2e-9),
    "token_steps": lambda cell: cell + " 999",
    "recached_tokens": lambda cell: str(int(cell) + 1),
    "priority": lambda cell: str(int(cell) + 1),
}


@pytest.mark.parametrize("name", RECORDS)
def test_requests_are_compared_too(case, name):
    path = case / "requests_out.csv"
    header, *rows = path.read_text().splitlines()
    cells = rows[3].split(",")
    at = header.split(",").index(name)
    before, cells[at] = cells[at], RECORDS[name](cells[at])
    rows[3] = ",".join(cells)
    path.write_text("\n".join([header, *rows]))
    (failure,) = conform([case]).failures
    assert (failure.step, failure.field) == (None, f"request {cells[0]}: {name}")
    kind = RECORD_TYPES[name]
    assert failure.expected == kind(cells[at])
    assert failure.got == (pytest.approx(kind(before)) if kind is float else kind(before))
