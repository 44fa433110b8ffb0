"""Routers, reserved replicas and regions in scenarios: what is allowed, what is refused and why."""

import pytest

from sim.errors import SpecError
from sim.spec import read_scenario

BASE = """\
name: routed
model: llama-3.1-8b
hardware: h100-sxm-80gb
traffic: {kind: open_loop, rate_per_s: 1, input_sequence_length: 100, output_sequence_length: 10, tier: free}
tiers: {free: {}, team: {}}
fleet:
  pools:
    main: {replicas: 4, reserved: {team: 1}}
  placement: partitioned
  router: prefix_affinity
  routing: {num_routers: 3, spread: conversation, prefix_index: routed}
  operations: [{at: 10 s, do: fail_router, router: 2, duration: 5 s}]
"""
REGIONS = """\
name: regional
model: llama-3.1-8b
hardware: h100-sxm-80gb
traffic: {kind: open_loop, rate_per_s: 1, input_sequence_length: 100, output_sequence_length: 10}
fleet:
  pools:
    main: {replicas: 4, regions: {us: 3, eu: 1}}
  regions:
    us: {users: {all: 20 ms}, regions: {eu: 40 ms}}
    eu: {users: {all: 50 ms}}
  spill_at: 282
"""


def messages(text):
    """What is wrong with a scenario."""
    with pytest.raises(SpecError) as raised:
        read_scenario(text)
    return [f"{problem.path}: {problem.message}" for problem in raised.value.problems]


def test_defaults_are_one_router_that_knows_what_it_sent():
    fleet = read_scenario(BASE.split("    main:", maxsplit=1)[0] + "    main: {}\n").fleet
    assert (fleet.router, fleet.placement, fleet.routing.num_routers) == ("least_outstanding", "shared", 1)
    assert (fleet.routing.state_interval_s, fleet.routing.prefix_index) == (0.05, "hash")
    assert (fleet.regions, fleet.spill_at, fleet.pools["main"].reserved) == ({}, None, {})


def test_what_is_said_is_read():
    fleet = read_scenario(BASE).fleet
    assert (fleet.routing.spread, fleet.routing.prefix_index_blocks) == ("conversation", 31_250)
    assert fleet.pools["main"].reserved == {"team": 1}
    assert fleet.operations[0].router == 2
    regional = read_scenario(REGIONS)
    assert regional.fleet.regions["us"].users == {"all": 0.02}
    assert read_scenario(regional.to_yaml()) == regional


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("router: 2", "router: 3", "fleet.operations.0.router: no such router: 3; the last is 2"),
        (", router: 2", "", "fleet.operations.0.router: missing; fail_router needs it"),
        ("placement: partitioned", "placement: shared", "fleet.pools.main.reserved: only read with placement"),
        (", reserved: {team: 1}", "", "fleet.placement: partitioned, and no pool has replicas `reserved`"),
        ("{team: 1}", "{team: 5}", "fleet.pools.main.reserved: 5 replicas are reserved, and the pool has 4"),
        ("{team: 1}", "{team: 4}", "fleet.pools.main.reserved: all 4 replicas are reserved for others, and tier free"),
        ("{team: 1}", "{tema: 1}", "fleet.pools.main.reserved: no tier of that name: tema"),
        ("router: prefix_affinity", "router: round_robin", "fleet.routing.prefix_index: only read with router: prefix"),
        ("num_routers: 3, ", "", "fleet.routing.spread: only read with several routers"),
        ("prefix_index: routed", "gauges: as_read", "fleet.routing.gauges: only read with router: least_kv"),
    ],
)
def test_what_nothing_reads_is_refused(old, new, message):
    assert old in BASE
    assert any(found.startswith(message) for found in messages(BASE.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{us: 3, eu: 1}", "{us: 3}", "fleet.pools.main.regions: must sum to the pool's replicas (4), got 3"),
        ("{us: 3, eu: 1}", "{us: 3, ue: 1}", "fleet.pools.main.regions: no region of that name in fleet.regions: ue"),
        (", regions: {us: 3, eu: 1}", "", "fleet.pools.main.regions: missing; say how many replicas"),
        (", regions: {eu: 40 ms}", "", "fleet.regions.eu.regions: missing: us; say how far that is"),
        ("{eu: 40 ms}", "{eu: 40 ms, eo: 1 s}", "fleet.regions.us.regions.eo: no other region of that name"),
        ("{all: 50 ms}", "{everywhere: 50 ms}", "fleet.regions.eu.users: missing: all"),
        ("{all: 50 ms}", "{all: 50 ms, mars: 200 s}", "fleet.regions.eu.users.mars: the traffic has no such region"),
        ("{all: 50 ms}}", "{all: 50 ms}, regions: {us: 41 ms}}", "fleet.regions.us.regions.eu: differs from what"),
    ],
)
def test_regions_must_be_whole(old, new, message):
    assert old in REGIONS
    assert any(found.startswith(message) for found in messages(REGIONS.replace(old, new)))


def test_a_pool_is_in_no_region_where_there_are_none():
    text = REGIONS.split("  regions:\n", maxsplit=1)[0]
    assert messages(text) == ["fleet.pools.main.regions: there are no fleet.regions; give them, or remove this"]
    assert any("spill_at: only read with several" in found for found in messages(text + "  spill_at: 3\n"))
