"""Pools that share nothing are played side by side, to the same bytes as on one plane."""

import threading
import time

import numpy as np
import pytest
import yaml
from fleets import scenarios
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import sim
from sim.fleet.build import build
from sim.fleet.dealer import MOST_AHEAD, Dealer, StoppedError
from sim.fleet.islands import islands, share_out
from sim.fleet.run import Player
from sim.fleet.side_by_side import side_by_side
from sim.metrics.writer import INFO
from sim.spec import Scenario
from sim.traffic.arrivals import ARRIVAL, SEGMENT, Chunk

ALONE, API = frozenset({0, 2}), frozenset({1, 3})
ROOM = {"fleet.pools.guard.max_replicas": 2, "fleet.pools.api-guard.max_replicas": 2}
INDEX_FIELDS = ("prefix_index", "prefix_index_blocks", "min_match_frac")
FREELY = settings(suppress_health_check=list(HealthCheck))


def small(*override, **changes):
    short = {"horizon": "10 min", "run_in": "5 min", "report_interval": "2 min"}
    return sim.load("meridian-1", set=short | changes, override=["small", *override])


# ------------------------------------------------------------------ what is an island


def test_the_chat_and_the_api_of_meridian_share_nothing():
    scenario = small()
    assert list(scenario.fleet.pools) == ["main", "api", "guard", "api-guard"]
    assert set(islands(scenario)) == {ALONE, API}
    assert set(islands(scenario.replace("fleet.paths.api.0.pool", "guard"))) == {ALONE | API - {3}, frozenset({3})}


def test_a_tier_that_falls_back_joins_its_paths():
    limit = {"messages": 1, "window": "1 h", "fall_back": "api"}
    assert islands(small(**{"tiers.free.user_limit": limit})) == [ALONE | API]


ADD = {"at": "1 min", "do": "add", "replicas": 1}
ZONE = {"at": "1 min", "do": "kill", "zone": 0}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("fleet.operations", [ADD | {"pool": "guard"}, ADD | {"pool": "api-guard"}]),
        ("fleet.faults.incidents", [ZONE]),
    ],
)
def test_what_is_ordered_by_hand_joins_its_pools(path, value):
    assert max(islands(small(**{path: value, **ROOM})), key=len) >= frozenset({2, 3})


@pytest.mark.parametrize(
    "changes",
    [
        {"drain": True},
        {"fleet.operations": [{"at": "1 min", "do": "outage", "duration": "1 min"}]},
        {"fleet.routing.num_routers": 2},
        {"fleet.pools.api.router": "least_kv"},
        {"drifts": [{"at": "1 min", "kind": "longer_answers", "factor": 1.5}]},
    ],
)
def test_what_looks_at_all_pools_has_one_plane(changes):
    assert len(share_out(build(small(**changes)), 8)) == 1


@given(most=st.integers(1, 6))
@settings(FREELY, max_examples=6)
def test_every_pool_is_shared_out_once(most):
    shares = share_out(build(small()), most)
    assert len(shares) == min(most, 2)
    assert sorted(number for share in shares for number in share) == [0, 1, 2, 3]


# ------------------------------------------------------------------ the same bytes


def files(scenario, num_planes, folder):
    player = Player(build(scenario), "compiled", True, None, num_planes)
    player.play().write(folder)
    return len(player.plays), {path.name: path.read_bytes() for path in folder.iterdir() if path.name != INFO}


@pytest.mark.parametrize("override", [(), ("one-pool",), ("plain",), ("priority",)])
def test_meridian_is_the_same_on_any_number_of_planes(override, tmp_path):
    scenario = small(*override)
    if override == ("one-pool",):
        scenario = scenario.replace_all({"fleet.pools.main.replicas": 4, "fleet.pools.main.autoscaler": None})
    alone, expected = files(scenario, 1, tmp_path / "one")
    planes, found = files(scenario, 8, tmp_path / "many")
    assert (alone, planes) == (1, 1 if override == ("one-pool",) else 2)
    assert [name for name in expected if found[name] != expected[name]] == []


@st.composite
def archipelagos(draw):
    """A random fleet of people, and another like it for one of the tiers."""
    told = yaml.safe_load(draw(scenarios()).to_yaml())
    assume(told["traffic"]["kind"] == "population" and not told["fleet"].get("regions"))
    fleet = told["fleet"]
    for one in (fleet, *fleet["pools"].values()):
        one["router"] = {"least_kv": "least_outstanding"}.get(one.get("router"), one.get("router"))
    fleet["routing"] = {name: value for name, value in fleet.get("routing", {}).items() if name in INDEX_FIELDS}
    fleet["operations"] = [one for one in fleet.get("operations", []) if one.get("pool")]
    if faults := fleet.get("faults"):
        faults["incidents"] = [one for one in faults.get("incidents", []) if one.get("pool") is not None]
    for name in list(fleet["pools"]):
        fleet["pools"][f"{name}-2"] = fleet["pools"][name]
    for name in list(fleet["paths"]):
        fleet["paths"][f"{name}-2"] = [visit | {"pool": f"{visit['pool']}-2"} if visit.get("pool") else visit
                                       for visit in fleet["paths"][name]]  # fmt: skip
    tier = told["tiers"][draw(st.sampled_from(sorted(told["tiers"])))]
    tier["path"] += "-2"
    if (tier.get("user_limit") or {}).get("fall_back"):
        tier["user_limit"]["fall_back"] += "-2"
    return Scenario.from_dict(told | {"drain": False, "drifts": []})


def books(built, num_planes):
    player = Player(built, "compiled", True, None, num_planes)
    parts, add = [], player.take
    player.take = lambda rows: (parts.append(rows), add(rows))
    run = player.play()
    rows = np.concatenate(parts)
    rows["serial"], rows["retry_of"] = 0, rows["retry_of"] >= 0  # each plane counts its own
    rows.sort(order=["user", "conversation", "turn", "attempt"])
    return len(player.plays), rows.tobytes(), run.timeline.tobytes(), run.result


@settings(FREELY, max_examples=15)
@given(archipelagos())
def test_a_random_archipelago_is_the_same_on_any_number_of_planes(scenario):
    built = build(scenario)
    _, *expected = books(built, 1)
    for most in (2, 9):
        num_planes, *found = books(built, most)
        assert num_planes >= 2
        assert found == expected


@pytest.mark.slow
@settings(FREELY, max_examples=150)
@given(archipelagos())
def test_many_random_archipelagos_are_the_same_on_any_number_of_planes(scenario):
    built = build(scenario)
    _, *expected = books(built, 1)
    _, *found = books(built, 9)
    assert found == expected


# ------------------------------------------------------------------ dealing


def chunks(num, with_segments=False):
    """Chunks of four arrivals each, of classes 0, 1, 1, 2, whose users count."""
    for number in range(num):
        rows = np.zeros(4, ARRIVAL)
        rows["user"], rows["class_id"] = 4 * number + np.arange(4), (0, 1, 1, 2)
        rows["num_segments"] = (1, 2, 0, 1) if with_segments else 0
        segments = np.zeros(int(rows["num_segments"].sum()), SEGMENT)
        segments["key"] = np.repeat(rows["user"], rows["num_segments"]).astype(np.uint64)
        yield Chunk(rows, segments)


def dealt(source, num=2):
    return Dealer(source, np.array([0, 1, 0]), num)


def test_each_plane_gets_its_own_in_order_with_its_segments():
    dealer, found = dealt(chunks(50, with_segments=True)), {}

    def take(plane):
        got = list(dealer.of(plane))
        rows = np.concatenate([chunk.rows for chunk in got])
        found[plane] = rows["user"], np.concatenate([chunk.segments["key"] for chunk in got])
        np.testing.assert_array_equal(np.repeat(rows["user"], rows["num_segments"]), found[plane][1])

    side_by_side([lambda plane=plane: take(plane) for plane in (0, 1)])
    users = np.arange(200)
    np.testing.assert_array_equal(found[0][0], users[np.isin(users % 4, (0, 3))])
    np.testing.assert_array_equal(found[1][0], users[np.isin(users % 4, (1, 2))])


def test_nobody_runs_far_ahead():
    made = []

    def source():
        for chunk in chunks(100):
            made.append(1)
            yield chunk

    dealer = dealt(source())
    mine = dealer.of(0)
    for _ in range(MOST_AHEAD):
        next(mine)
    eager = threading.Thread(target=lambda: list(mine))
    eager.start()
    eager.join(0.2)
    assert eager.is_alive()
    assert len(made) == MOST_AHEAD  # so many wait for the other
    dealer.leave(1)
    eager.join(10.0)
    assert not eager.is_alive()
    assert len(made) == 100


def test_what_goes_wrong_on_a_thread_is_told():
    dealer = dealt(chunks(1_000_000))

    def fail():
        for number, _ in enumerate(dealer.of(1)):
            if number == 20:
                dealer.stop()
                raise ValueError("a wheel came off")

    with pytest.raises(ValueError, match="a wheel came off"):
        side_by_side([lambda: list(dealer.of(0)), fail])


def test_traffic_that_cannot_be_made_stops_all():
    def source():
        yield from chunks(3)
        raise OSError("the disk is gone")

    dealer = dealt(source())

    def take(plane):
        try:
            return list(dealer.of(plane))
        except BaseException:
            dealer.stop()
            raise

    with pytest.raises(OSError, match="the disk is gone"):
        side_by_side([lambda: take(0), lambda: take(1)])


def test_who_is_interrupted_waits_for_nobody():
    dealer = dealt(chunks(1_000_000))

    def interrupted():
        next(dealer.of(0))
        dealer.stop()
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        side_by_side([interrupted, lambda: list(dealer.of(1))])
    assert time.monotonic() - began < 10.0


def test_stopped_alone_is_told():
    dealer = dealt(chunks(3))
    dealer.stop()
    with pytest.raises(StoppedError):
        side_by_side([lambda: list(dealer.of(0))])
