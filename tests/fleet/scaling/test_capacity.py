"""Replicas that start, wake, drain and are taken back: by hand, with constant times, under both clocks."""

import numpy as np
import pytest
from small import kind, pool, rows, world

from sim.fleet.clocks import CLOCKS
from sim.fleet.scaling.capacity import Capacity
from sim.fleet.scaling.hours import spent_s
from sim.fleet.scaling.ledger import Ledger
from sim.fleet.scaling.spot import Interruptions
from sim.fleet.scaling.starts import Starts, Times
from sim.plane.owner import Plane
from sim.plane.tables import ACTIVE, DRAINING, OFF, STARTING, WARM
from sim.spec.distribution import TimeDistribution
from sim.spec.startup import Spot
from sim.traffic import Chunk

PROVISIONING_S, LOAD_S, WAKE_S = 100.0, 50.0, 2.0
NAMES = {OFF: "-", ACTIVE: "A", DRAINING: "D", STARTING: "s", WARM: "w"}


def constant(seconds):
    return Times(TimeDistribution(distribution_type="constant", mean=seconds), 1, 1, 0)


class Stage:
    """A pool at control pace, with some requests or none."""

    def __init__(self, clock_name="compiled", *, replicas=1, most=6, warm=0, base=None, wait_s=0.0, arrivals=()):
        plane = Plane(world(pool(num_replicas=replicas, max_replicas=most, max_num_seqs=1), [kind()]))
        chunks = iter([Chunk(rows(*arrivals))] if arrivals else [])
        self.plane = plane
        self.clock = CLOCKS[clock_name](plane, chunks, lambda _rows: None)
        wait = None if base is None else constant(wait_s)
        starts = Starts(wait, constant(PROVISIONING_S), constant(LOAD_S), constant(WAKE_S))
        self.ledger = Ledger(plane, 0, np.array([True]), base)
        self.capacity = Capacity(self.clock, 0, starts, warm, base, self.ledger, lambda: False)
        self.seen = {}

    def play(self, orders, looks, until_s=10_000.0):
        """Want so many replicas at some times; the states seen at others."""

        def process():
            for t_s, what in sorted([*((t_s, n) for t_s, n in orders.items()), *((t_s, None) for t_s in looks)]):
                yield self.clock.at(t_s)
                if what is None:
                    self.seen[t_s] = "".join(NAMES[int(state)] for state in self.capacity.states)
                else:
                    self.capacity.want(what)

        self.clock.env.process(process())
        self.clock.run(until_s)
        return self.seen


both = pytest.mark.parametrize("clock_name", sorted(CLOCKS))


@both
def test_what_is_ordered_serves_when_its_gpus_are_there_and_its_model_is_loaded(clock_name):
    stage = Stage(clock_name)
    assert stage.play({10.0: 3}, [5, 11, 159.9, 160.1]) == {
        5: "A-----", 11: "Ass---", 159.9: "Ass---", 160.1: "AAA---",
    }  # fmt: skip
    found = stage.ledger.summary(1000.0)
    assert found["num_starts"] == 2
    assert found["mean_start_s"] == found["max_start_s"] == 150.0
    assert found["short_s"] == 150.0
    hours = {name: value * 3600.0 for name, value in found["replica_hours"].items()}
    assert hours == pytest.approx({"active": 1000 + 2 * 840, "starting": 2 * 150, "warm": 0, "draining": 0}, rel=1e-12)


@both
def test_what_still_starts_is_cancelled_first_highest_numbers_first(clock_name):
    stage = Stage(clock_name, replicas=2)
    seen = stage.play({10.0: 5, 50.0: 4, 70.0: 1}, [49, 51, 71, 400])
    assert seen == {49: "AAsss-", 51: "AAss--", 71: "A-----", 400: "A-----"}
    found = stage.ledger.summary(1000.0)
    assert (found["num_starts"], found["num_starts_cancelled"]) == (0, 3)
    assert found["replica_hours"]["starting"] * 3600.0 == pytest.approx(40 + 60 + 60, rel=1e-12)


@both
def test_a_number_cancelled_and_ordered_again_begins_anew(clock_name):
    stage = Stage(clock_name, most=2)
    seen = stage.play({10.0: 2, 50.0: 1, 60.0: 2}, [159, 161, 209.9, 210.1])
    assert seen == {159: "As", 161: "As", 209.9: "As", 210.1: "AA"}


@both
def test_a_warm_replica_serves_at_once_and_another_takes_its_place(clock_name):
    stage = Stage(clock_name, warm=1)
    seen = stage.play({0.0: 1, 300.0: 2}, [1, 151, 299, 301, 302.1, 449.9, 450.1])
    assert seen == {
        1: "As----", 151: "Aw----", 299: "Aw----", 301: "Ass---", 302.1: "AAs---", 449.9: "AAs---", 450.1: "AAw---",
    }  # fmt: skip
    found = stage.ledger.summary(1000.0)
    assert found["num_woken"] == 1
    assert found["short_s"] == pytest.approx(WAKE_S, abs=1e-9)


@both
def test_one_that_is_being_woken_goes_back_and_may_be_woken_again(clock_name):
    stage = Stage(clock_name, warm=1)
    # Woken at 300 and called off at 301, woken again at 301.5: it serves two seconds after that.
    seen = stage.play({0.0: 1, 300.0: 2, 301.0: 1, 301.5: 2}, [301.2, 302.5, 303.4, 303.6])
    assert [states[:2] for states in seen.values()] == ["Aw", "As", "As", "AA"]


@both
def test_a_start_in_progress_serves_where_it_is_wanted_and_is_kept_warm_where_not(clock_name):
    stage = Stage(clock_name, warm=2)
    seen = stage.play({0.0: 1, 100.0: 2}, [99, 101, 149.9, 150.1, 250.1])
    assert seen == {99: "Ass---", 101: "Asss--", 149.9: "Asss--", 150.1: "AAws--", 250.1: "AAww--"}


@both
def test_orders_wait_for_the_gpus_of_those_that_drain(clock_name):
    # One request of eight steps of a second keeps replica 1 until 28 s.
    arrivals = [(20.0, 5, 8), (20.0, 5, 8)]
    stage = Stage(clock_name, replicas=2, most=2, arrivals=arrivals)
    seen = stage.play({22.0: 1, 23.0: 2}, [22.5, 27.9, 28.1, 177.9, 178.1])
    assert seen == {22.5: "AD", 27.9: "AD", 28.1: "As", 177.9: "As", 178.1: "AA"}
    assert stage.ledger.summary(200.0)["replica_hours"]["draining"] * 3600.0 == pytest.approx(6.0, abs=1e-9)


@both
def test_spot_orders_wait_unpaid(clock_name):
    stage = Stage(clock_name, most=4, base=2, wait_s=30.0)
    seen = stage.play({10.0: 3}, [11, 39.9, 40.1, 160.1, 190.1])
    assert seen == {11: "As--", 39.9: "As--", 40.1: "Ass-", 160.1: "AAs-", 190.1: "AAA-"}
    found = stage.ledger.summary(1000.0)
    assert found["spot_replica_hours"] * 3600.0 == pytest.approx(960.0, rel=1e-12)


def test_the_time_on_line_is_the_time_in_all_states():
    stage = Stage(replicas=2, warm=1, arrivals=[(20.0 * n, 5, 8) for n in range(20)])
    stage.play({50.0: 4, 120.0: 2, 200.0: 5, 420.0: 1}, [])
    for now in (10_000.0, 20_000.0):
        spent = spent_s(stage.plane, 0, now)
        replicas = stage.plane["replicas"]
        on_line_s = replicas["online_s"] + (replicas["state"] != OFF) * (now - replicas["online_at_s"])
        assert sum(spent.values()) == pytest.approx(on_line_s, rel=1e-12)
        assert min(values.min() for values in spent.values()) > -1e-9


# ------------------------------------------------------------------ spot capacity


@pytest.mark.parametrize("together_frac", [0.0, 0.5, 1.0])
def test_spot_replicas_are_taken_back_at_their_rate(together_frac):
    # Six spot replicas for 2,000 hours at one interruption in five hours each: 2,400 less the time without GPUs.
    stage = Stage(replicas=8, most=16, base=2)
    spot = Spot(on_demand_base=2, interruptions_per_hour=0.2, together_frac=together_frac)
    stage.clock.env.process(Interruptions(stage.capacity, spot, 7).run())
    until_s = 2_000 * 3600.0
    stage.clock.run(until_s)
    found = stage.ledger.summary(until_s)
    provisioning_hours = found["num_interrupted"] * PROVISIONING_S / 3600.0
    expected = 0.2 * (found["spot_replica_hours"] - provisioning_hours)
    # Events are Poisson; one that takes k replicas, binomial of six, adds k: variance of the sum over its mean.
    spread = 1.0 + 5.0 * together_frac
    assert abs(found["num_interrupted"] - expected) < 4.0 * np.sqrt(spread * expected)
    assert stage.capacity.states[:2].tolist() == [ACTIVE, ACTIVE]
    # Each is replaced from the notice on, so the hours of service lost are those of its start.
    lost_hours = found["num_interrupted"] * (PROVISIONING_S + LOAD_S) / 3600.0
    assert found["replica_hours"]["active"] == pytest.approx(8 * 2_000 - lost_hours, rel=1e-3)


def test_interruptions_are_the_same_under_both_clocks():
    found = []
    for clock_name in sorted(CLOCKS):
        stage = Stage(clock_name, replicas=4, most=8, base=1, warm=1, arrivals=[(9.0 * n, 5, 8) for n in range(200)])
        spot = Spot(on_demand_base=1, interruptions_per_hour=6.0, together_frac=0.3, notice_s=20.0)
        stage.clock.env.process(Interruptions(stage.capacity, spot, 7).run())
        stage.clock.run(20_000.0)
        found.append((stage.ledger.summary(20_000.0), stage.plane["replicas"]["busy_s"].tobytes()))
    assert found[0] == found[1]
    assert found[0][0]["num_interrupted"] > 50
