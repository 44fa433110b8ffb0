"""Routers and regions in scenarios: laws known beforehand, on runs of minutes."""

import numpy as np
import pytest
from recorder import Recorder

from sim.metrics.records import COMPLETED, FAILED, SPILLED
from sim.spec import Scenario

BASE = {
    "name": "routed",
    "model": "llama-3.1-8b",
    "hardware": "h100-sxm-80gb",
    "horizon": "3 min",
    "drain": True,
    "traffic": {
        "kind": "open_loop", "rate_per_s": 40, "input_sequence_length": 400, "output_sequence_length": 60,
    },
    "fleet": {"pools": {"main": {"replicas": 4}}},
}  # fmt: skip


def scenario(fleet=(), pool=(), **changes):
    """A scenario with something else about the fleet."""
    fleet = {"pools": {"main": {"replicas": 4, **dict(pool)}}, **dict(fleet)}
    return Scenario.from_dict(BASE | {"fleet": fleet} | changes)


@pytest.mark.parametrize("clock", ["compiled", "simpy"])
def test_a_router_that_fails_loses_what_it_carries_and_nothing_twice(clock):
    failure = {"at": 60.0, "do": "fail_router", "router": 1, "duration": 30.0}
    played = Recorder(scenario({"routing": {"num_routers": 4}, "operations": [failure]}), clock)
    rows = played.records
    failed = rows[rows["ending"] == FAILED]
    (entry,) = played.result["sim"]["operations"]
    assert entry == {"t_s": 60.0, "do": "fail_router", "router": 1, "failed": len(failed), "ended_s": 90.0}
    assert (failed["end_s"] == 60.0).all()
    assert (failed["arrived_s"] < 60.0).all()
    assert len(np.unique(rows["serial"])) == len(rows)
    assert set(np.unique(rows["ending"])) == {COMPLETED, FAILED}
    # A quarter of those under way then, within four standard errors.
    under_way = ((rows["arrived_s"] < 60.0) & (rows["end_s"] >= 60.0)).sum()
    assert abs(len(failed) - under_way / 4) < 4 * np.sqrt(under_way * 3 / 16)


def test_latency_comes_on_top_of_what_the_fleet_takes():
    plain = Recorder(scenario(), "compiled").records
    regions = {"here": {"users": {"all": 0.02}}}
    rows = Recorder(scenario({"regions": regions}, {"regions": {"here": 4}}), "compiled").records
    assert (rows["network_s"] > 0.0399).all()
    assert np.allclose(rows["network_s"], 0.04)
    # Everything is later by the way there, so all else is the same: to rounding, by serial.
    plain, rows = np.sort(plain, order="serial"), np.sort(rows, order="serial")
    assert (plain["replica"] == rows["replica"]).all()
    assert np.allclose(rows["first_token_s"] - plain["first_token_s"], 0.04)
    assert np.allclose(rows["end_s"] - plain["end_s"], 0.04)


def test_a_region_that_is_full_spills_over_and_only_then():
    ways = {"near": {"users": {"all": 0.01}, "regions": {"far": 0.04}}, "far": {"users": {"all": 0.06}}}
    pool = {"replicas": 2, "regions": {"near": 1, "far": 1}}
    alone = Recorder(scenario({"regions": ways}, pool), "compiled").records
    assert (alone["replica"] == 0).all()
    assert not alone["flags"].any()
    spilt = Recorder(scenario({"regions": ways, "spill_at": 8}, pool), "compiled").records
    went = (spilt["flags"] & SPILLED) > 0
    assert 0 < went.sum() < len(spilt)
    assert (went == (spilt["replica"] == 1)).all()
    assert np.allclose(spilt["network_s"], np.where(went, 0.1, 0.02))
