"""The end of a spot replica's notice: who is still there is moved, or fails, at that instant."""

import numpy as np
import pytest
from recorder import Recorder

from sim.errors import SpecError
from sim.fleet.scaling.spot import HOUR_S
from sim.fleet.scaling.starts import ALL, Draws
from sim.metrics.records import COMPLETED, FAILED, MOVED
from sim.spec import Scenario
from sim.traffic import draws

PER_HOUR, SEED = 30.0, 1
NOTICE_S = 1.0
BASE = {
    "name": "spot",
    "model": "llama-3.1-8b",
    "hardware": "h100-sxm-80gb",
    "seed": SEED,
    "horizon": "10 min",
    "report_interval": "1 min",
    "traffic": {"kind": "open_loop", "rate_per_s": 4, "input_sequence_length": 200, "output_sequence_length": 400},
}


def scenario(**spot):
    """Two replicas, of which the second is spot, and nobody comes for it."""
    spot = {"interruptions_per_hour": PER_HOUR, "together_frac": 1.0, "notice_s": NOTICE_S} | spot
    pool = {"replicas": 2, "startup": {"provisioning": 10_000, "load": 0}, "spot": spot}
    return Scenario.from_dict(BASE | {"fleet": {"pools": {"main": pool}}})


@pytest.fixture(scope="module")
def drained():
    """The run whose notice is long enough for everybody: the same until NOTICE_S after it is given."""
    return Recorder(scenario(notice_s=300.0))


@pytest.fixture(scope="module")
def end_s():
    """When the first notice ends: all spot replicas have theirs at once, at the pool's rate."""
    return Draws(SEED, draws.INTERRUPTION, 0).gap(PER_HOUR / HOUR_S, ALL, 1) + NOTICE_S


def hit(drained, end_s):
    """Serials of those who are at the second replica then: who drains is through later."""
    rows = drained.records
    frontend_s = drained.built.world.pools[0].frontend_s
    serials = rows["serial"][(rows["replica"] == 1) & (rows["end_s"] - frontend_s >= end_s)]
    assert len(serials) > 2
    assert (rows["arrived_s"][serials] < end_s - NOTICE_S).all()
    return serials


def scaling(run):
    return run.result["sim"]["by_pool"]["main"]["scaling"]


def test_with_time_enough_a_replica_drains_and_nobody_is_hurt(drained):
    assert (drained.records["ending"] == COMPLETED).all()
    assert not drained.records["flags"].any()
    assert scaling(drained)["num_interrupted"] == 1
    assert scaling(drained)["num_cut_off"] == 0


@pytest.mark.parametrize("clock", ["compiled", "simpy"])
@pytest.mark.parametrize("on_failure", ["retry", "resume", "fail"])
def test_who_is_there_at_the_end_goes_elsewhere_or_fails(drained, end_s, clock, on_failure):
    run = Recorder(scenario(on_failure=on_failure), clock)
    rows, serials = run.records, hit(drained, end_s)
    assert np.array_equal(rows["serial"], np.arange(len(rows)))
    assert scaling(run)["num_interrupted"] == scaling(run)["num_cut_off"] == 1
    assert scaling(run)["replica_hours"]["draining"] * HOUR_S == pytest.approx(NOTICE_S, rel=1e-9)
    others = np.setdiff1d(rows["serial"], serials)
    assert (rows["ending"][others] == COMPLETED).all()
    assert not rows["flags"][others].any()
    if on_failure == "fail":
        assert (rows["ending"][serials] == FAILED).all()
        assert (rows["end_s"][serials] == end_s).all()
        assert (rows["output_tokens"][serials] < rows["requested_tokens"][serials]).all()
        return
    assert (rows["flags"][serials] == MOVED).all()
    assert (rows["ending"][serials] == COMPLETED).all()
    assert (rows["replica"][serials] == 0).all()
    assert run.result["sim"]["flags"]["num_moved"] == len(serials)
    # All of them had their first tokens before: kept, or given anew.
    kept = rows["first_token_s"][serials] == drained.records["first_token_s"][serials]
    assert kept.all() if on_failure == "resume" else (rows["first_token_s"][serials] > end_s).all()


def test_what_cannot_fail_is_not_spot():
    given = scenario(interruptions_per_hour=0.0, together_frac=0.0)
    with_store = given.replace("fleet.pools.main.kv_offload", {"capacity_gib": 1.0})
    with pytest.raises(SpecError) as caught:
        with_store.replace("fleet.pools.main.spot.interruptions_per_hour", 1.0)
    (problem,) = caught.value.problems
    assert problem.path == "fleet.pools.main.kv_offload"
    assert problem.message == (
        "must be null where the fleet has spot capacity that is taken back: not simulated together"
    )
