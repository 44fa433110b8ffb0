"""What routers know: cases worked by hand, on the plane and on the readable model."""

import math
from collections import Counter

import numpy as np
import pytest
import slow_draws
from compare import compare
from drive import run_plane
from scipy.special import bdtr
from slow_model import play
from small import constant, kind, pool, rows, world
from worlds import Scene

from sim.fleet.clocks import CLOCKS
from sim.metrics.records import COMPLETED, FAILED
from sim.plane.owner import Plane
from sim.plane.world import Visit
from sim.plane.world_routing import Routing
from sim.traffic import draws
from sim.traffic.arrivals import SEGMENT, Chunk, Reaction


def played(world_, arrivals, commands=(), segments=()):
    """The model's records in order of serial; the plane agrees."""
    scene = Scene(world_, arrivals, np.array(list(segments), dtype=SEGMENT), tuple(commands))
    slow = play(world_, arrivals, scene.commands, segments=scene.segments)
    assert compare(run_plane(scene), slow) == []
    assert compare(run_plane(scene, clock="simpy", leap=False), slow) == []
    return slow.records


def replicas(*given, **more):
    return [record["replica"] for record in played(*given, **more)]


def counts(found, num_replicas):
    return sorted(np.bincount(found, minlength=num_replicas).tolist())


# ------------------------------------------------------------------ several routers


def test_routers_share_the_requests_evenly():
    # Each request by itself; a fair die of four, thrown 4,000 times: every count inside its 99.99 % binomial bounds.
    users = np.arange(4_000, dtype=np.uint64)
    words = draws.bits(draws.key(1, draws.ROUTER), users, np.uint64(0), np.uint64(0))
    found = Counter(((words & np.uint64(0xFFFFFFFF)) * np.uint64(4) >> np.uint64(32)).tolist())
    for k in range(4):
        assert 5e-5 < bdtr(found[k], 4_000, 0.25) < 1 - 5e-5


def test_each_router_counts_only_what_it_sent():
    # 60 requests at once, all outstanding: one router spreads them as evenly as can be; three do so with their own.
    arrivals, four = rows(*[(0.0, 4, 9)] * 60), pool(num_replicas=4, max_num_seqs=32)
    alone = replicas(world(four, router="least_outstanding"), arrivals)
    assert counts(alone, 4) == [15] * 4
    many = world(four, router="least_outstanding", routing=Routing(num_routers=3))
    found = replicas(many, arrivals)
    users = np.arange(60, dtype=np.uint64)
    words = draws.bits(draws.key(1, draws.ROUTER), users, np.uint64(0), np.uint64(0))
    by = ((words & np.uint64(0xFFFFFFFF)) * np.uint64(3) >> np.uint64(32)).tolist()
    for k in range(3):
        mine = [found[n] for n in range(60) if by[n] == k]
        assert mine == [n % 4 for n in range(len(mine))]
    assert counts(found, 4) != [15] * 4


@pytest.mark.parametrize("by_conversation", [False, True])
def test_a_conversation_keeps_its_router_where_it_is_to(by_conversation):
    talk = kind(gap_s=constant(8.0), keep_history=True)
    routing = Routing(num_routers=4, by_conversation=by_conversation, index_blocks=1_000, min_match_frac=0.0)
    settings = {"router": "prefix_affinity", "routing": routing, "balance_abs_threshold": 100}
    arrivals = rows(*[(0.125 * n, 9, 2, 0, 5) for n in range(12)])
    where: dict[int, set[int]] = {}
    for record in played(world(pool(num_replicas=8), [talk], **settings), arrivals):
        where.setdefault(record["user"], set()).add(record["replica"])
    stays = sum(len(found) == 1 for found in where.values())
    assert stays == 12 if by_conversation else stays < 6


# ------------------------------------------------------------------ gauges


def test_all_go_one_way_until_the_gauges_are_read_again():
    # Requests of 3 blocks, one every 0.5 s; each takes 20 steps of 1 s, so none ends. Read as they are, all that come
    # within an interval of 2 s go to the same replica: 4 of them, then to the one that was empty then.
    arrivals = rows(*[(0.5 * n, 9, 20) for n in range(12)])
    three = pool(num_replicas=3, max_num_seqs=16)
    settings = {"router": "least_kv", "routing": Routing(state_interval_s=2.0, counts_own=False)}
    assert replicas(world(three, **settings), arrivals) == [0] * 4 + [1] * 4 + [2] * 4
    settings["routing"] = Routing(state_interval_s=100.0)
    assert replicas(world(three, **settings), arrivals) == [0, 1, 2] * 4


def test_gauges_tell_of_requests_that_others_sent():
    # A long prompt fills replica 0. With gauges that are always fresh, every router leaves it alone.
    arrivals = rows((0.0, 60, 30), *[(5.0 + n, 4, 2) for n in range(10)])
    routing = Routing(num_routers=3, state_interval_s=0.0)
    found = replicas(world(pool(num_replicas=2), router="least_kv", routing=routing), arrivals)
    assert found == [0] + [1] * 10
    blind = replicas(world(pool(num_replicas=2), router="least_outstanding", routing=routing), arrivals)
    assert blind[0] == 0
    assert 0 in blind[1:]


# ------------------------------------------------------------------ the index of what was sent


def test_a_text_goes_where_it_went_before():
    texts = [(100 + n % 6, 16, 0) for n in range(24)]
    arrivals = rows(*[(30.0 * n, 16, 2) for n in range(24)])
    arrivals["num_segments"] = 1
    four = pool(num_replicas=4, enable_prefix_caching=True)

    def where(**settings):
        world_ = world(four, router="prefix_affinity", routing=Routing(**settings))
        return np.reshape(replicas(world_, arrivals, segments=texts), (4, 6))

    found = where(index_blocks=1_000)
    assert (found == found[0]).all()
    assert len(set(found[0])) > 1
    moves = where(index_blocks=1)  # 16 tokens of each replica: the text sent there last
    assert not (moves == moves[0]).all()


def test_what_was_used_longest_ago_is_forgotten_first():
    # One replica in view at a time is enough: texts A and B of 16 tokens each fill an index of two blocks; C takes
    # the place of A, unless A was used after B.
    a, b, c = (1, 16, 0), (2, 16, 0), (3, 16, 0)
    for order, kept in (([a, b, c], b), ([a, b, a, c], a)):
        arrivals = rows(*[(10.0 * n, 16, 2) for n in range(len(order))])
        arrivals["num_segments"] = 1
        world_ = world(pool(num_replicas=1), router="prefix_affinity", routing=Routing(index_blocks=2))
        scene = Scene(world_, arrivals, np.array(order, dtype=SEGMENT))
        held = holders(scene)
        assert len(held) == 2
        assert {16} == set(held.values())
        assert len(held.keys() & words_of([kept, c])) == 2


def holders(scene):
    """Word and tokens of every entry of the indices after a play."""
    plane = Plane(scene.world, num_requests=64)
    CLOCKS["compiled"](plane, iter([Chunk(scene.rows, scene.segments)]), lambda _: None).run(math.inf)
    found, shelf = {}, plane["shelves"][0]
    x = int(shelf["oldest"])
    while x >= 0:
        found[int(plane["holders"][x]["word"])] = int(plane["holders"][x]["tokens"])
        x = int(plane["holders"][x]["newer"])
    return found


def words_of(texts):
    """Words of texts that begin a prompt of router 0's for pool 0."""
    return {slow_draws.mix(slow_draws.mix(1 + key)) for key, _, _ in texts}


def test_a_shared_beginning_alone_is_not_enough():
    # Prompts of 12 shared tokens and 4 of their own. Where three quarters in common are enough, all follow the first;
    # where more is asked for, they are drawn as power_of_two draws them.
    shared = kind(prefix_tokens=12, prefix_group="all")
    arrivals = rows(*[(10.0 * n, 4, 2) for n in range(20)])
    many = pool(num_replicas=5)

    def where(frac):
        routing = Routing(index_blocks=1_000, min_match_frac=frac)
        return replicas(world(many, [shared], router="prefix_affinity", routing=routing), arrivals)

    assert len(set(where(0.75))) == 1
    assert where(0.76) == replicas(world(many, [shared], router="power_of_two"), arrivals)


def test_a_replica_that_was_off_is_remembered_by_nobody():
    # Texts of 16 tokens; the replica that had them is drained and comes back: nothing is there, and nobody says so.
    texts = [(n % 8, 16, 0) for n in range(24)]
    arrivals = rows(*[(10.0 * n, 16, 2) for n in range(24)])
    arrivals["num_segments"] = 1
    two = pool(num_replicas=2, max_replicas=2, enable_prefix_caching=True)
    world_ = world(two, router="prefix_affinity", routing=Routing(index_blocks=1_000, num_routers=1))
    orders = [(75.0, "drain", 0, 1), (155.0, "add", 0, 1)]
    found = np.reshape(replicas(world_, arrivals, orders, texts), (3, 8))
    assert 1 in found[0]
    assert (found[1] == 0).all()
    assert (found[2] == 0).all()  # all were sent to replica 0 meanwhile


# ------------------------------------------------------------------ replicas of their own


def test_a_tier_has_its_replicas_to_itself():
    classes = [kind(name=name, tier=name) for name in ("red", "blue", "green")]
    five = pool(num_replicas=5, max_replicas=7, reserved={"red": 1, "blue": 2}, max_num_seqs=64)
    arrivals = rows(*[(0.125 * (n // 9), 4, 9, n % 3) for n in range(90)])
    for router in (
        "round_robin",
        "least_outstanding",
        "power_of_two",
        "prefix_affinity",
        "session_affinity",
        "least_kv",
    ):
        found = replicas(world(five, classes, router=router), arrivals, [(1.5, "add", 0, 2)])
        assert set(found[0::3]) == {0}
        assert set(found[1::3]) <= {1, 2}
        assert set(found[2::3]) <= {3, 4, 5, 6}
        if router != "prefix_affinity":  # texts choose for themselves
            assert set(found[1::3]) == {1, 2}
            assert set(found[2::3]) >= {3, 4}


def test_drained_replicas_are_of_the_rest_first_and_none_left_is_shed():
    classes = [kind(name=name, tier=name) for name in ("red", "green")]
    three = pool(num_replicas=3, max_replicas=3, reserved={"red": 1})
    arrivals = rows(*[(10.0 * n, 4, 2, n % 2) for n in range(12)])
    found = played(world(three, classes, router="round_robin"), arrivals, [(35.0, "drain", 0, 2), (75.0, "add", 0, 1)])
    assert [record["replica"] for record in found[0::2]] == [0] * 6
    assert [record["replica"] for record in found[1::2]] == [1, 2, -1, -1, 1, 1]


# ------------------------------------------------------------------ routers that fail


def test_a_router_takes_its_requests_with_it_and_those_who_ask_again_come_by_another():
    again = Reaction((FAILED,), 1.0, 3, constant(2.0), 1.0, math.inf, 0.0, math.inf, 0.0)
    arrivals = rows(*[(0.0, 4, 30)] * 40)
    world_ = world(pool(num_replicas=4, max_num_seqs=16), [kind(reaction=again)], routing=Routing(num_routers=3))
    found = played(world_, arrivals, [(5.5, "fail_router", 1)])
    failed = [record for record in found if record["ending"] == FAILED]
    assert 5 < len(failed) < 25
    assert {record["end_s"] for record in failed} == {5.5}
    assert len(found) == 40 + len(failed)
    assert Counter(record["user"] for record in found if record["ending"] == COMPLETED) == Counter(range(40))


def test_the_door_is_shut_while_no_router_is_up():
    arrivals = rows(*[(2.0 * n, 4, 3) for n in range(10)])
    for routing in (Routing(), Routing(num_routers=2)):
        orders = [(5.5, "fail_router", k) for k in range(routing.num_routers)]
        found = played(world(pool(), routing=routing), arrivals, [*orders, (9.0, "restore_router", 0)])
        assert [record["ending"] for record in found] == [COMPLETED] * 2 + [FAILED] * 3 + [COMPLETED] * 5


def test_a_router_that_comes_back_knows_nothing():
    texts = [(n % 5, 16, 0) for n in range(20)]
    arrivals = rows(*[(10.0 * n, 16, 2) for n in range(20)])
    arrivals["num_segments"] = 1
    world_ = world(pool(num_replicas=6), router="prefix_affinity", routing=Routing(index_blocks=1_000))
    stays = np.reshape(replicas(world_, arrivals, segments=texts), (4, 5))
    assert (stays == stays[0]).all()
    orders = [(95.0, "fail_router", 0), (96.0, "restore_router", 0)]
    moves = np.reshape(replicas(world_, arrivals, orders, texts), (4, 5))
    assert (moves[:2] == stays[:2]).all()
    assert (moves[2] != moves[1]).any()
    assert (moves[3] == moves[2]).all()


def test_two_visits_of_a_path_are_counted_by_the_same_router():
    path = (Visit(0, "classify", "user"), Visit(1))
    pools = (pool(num_replicas=2, name="guard"), pool(num_replicas=3, max_num_seqs=16))
    world_ = world(pools, paths={"main": path}, router="least_outstanding", routing=Routing(num_routers=2))
    scene = Scene(world_, rows(*[(0.25 * n, 4, 5) for n in range(30)]))
    result = run_plane(scene)
    assert (result.records["ending"] == COMPLETED).all()
    assert compare(result, play(world_, scene.rows)) == []
