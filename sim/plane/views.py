"""What a router knows of the replicas, where there are several routers, or rules that look at the engines' gauges.

Each of `Routing.num_routers` instances knows exactly what it sent and what came back, and nothing of what the others
sent. A request comes by the one that its hash chooses, or by the next that is up. KV use is read off the engines'
gauges: whoever gets a request while its reading is `state_interval_s` old or older reads those of all replicas first,
and goes by them until then. docs/routing.md has the rules.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.compiled import jit
from sim.plane.gauges import blocks_used
from sim.plane.routing_rows import gauge_at, part_at
from sim.plane.tables import OFF, f8_at, i4_at, pool_at, replica_at
from sim.plane.text import bits

LOW_WORD, HALF, NOBODY = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(0)


@jit
def come_by_router(p, q, slot, now):
    """The router that a request comes by is noted, and has gauges no older than it should."""
    k = np.int64(0)
    if p.num_routers > 1:
        index = NOBODY if p.routes_talks == 1 else np.uint64(q.turn) | (np.uint64(q.attempt) << HALF)
        word = bits(p.router_key, np.uint64(q.user), np.uint64(q.conversation), index)
        k = np.int64(((word & LOW_WORD) * np.uint64(p.num_routers)) >> HALF)
        while i4_at(p.routers, k).v == 0:  # one is up, or the door is shut
            k = (k + 1) % p.num_routers
        i4_at(p.via, slot).v = k
    if p.looks == 1 and now - f8_at(p.looked, k).v >= p.state_interval_s:
        read_gauges(p, k, now)


@jit
def router_of(p, slot):
    """The router that a request came by."""
    return np.int64(i4_at(p.via, slot).v) if p.num_routers > 1 else np.int64(0)


@jit
def view_of(p, slot, first, n):
    """What a request's router chooses from: n active replicas from place `first` of `active` on.

    With it, where its counts of outstanding requests are: the table, and the row of replica 0.
    """
    if p.num_routers > 1:
        return np.int64(first), np.int64(n), np.int64(p.sent), router_of(p, slot) * p.num_replicas
    return np.int64(first), np.int64(n), np.int64(p.outstanding), np.int64(0)


@jit
def nth(p, view, x):
    """The replica at place x of those to choose from."""
    return i4_at(p.active, view[0] + x).v


@jit
def load(view, r):
    """Outstanding requests of a replica, as far as the router knows."""
    return i4_at(view[2], view[3] + r).v


@jit
def count_sent(p, slot, r, change):
    """A request is sent to a replica (1), or comes back from there (-1)."""
    i4_at(p.outstanding, r).v += change
    if p.num_regions > 0:
        part_at(p.parts, i4_at(p.part_of, r).v).num_outstanding += change
    if p.num_routers > 1:
        i4_at(p.sent, router_of(p, slot) * p.num_replicas + r).v += change


@jit
def read_gauges(p, k, now):
    """Router k reads the KV use of all replicas."""
    f8_at(p.looked, k).v = now
    for r in range(p.num_replicas):
        gauge = gauge_at(p.gauges, k * p.num_replicas + r)
        gauge.used = gauge.own = 0
        s = replica_at(p.replicas, r)
        if s.state == OFF:
            continue
        gauge.used = blocks_used(p, pool_at(p.pools, s.pool), s, r, now)


@jit
def least_used(p, slot, view, num_blocks):
    """The first of the replicas whose KV cache is used least, to which a prompt of so many blocks is then sent."""
    row = router_of(p, slot) * p.num_replicas
    best, least = np.int64(-1), np.int64(0)
    for x in range(view[1]):
        r = nth(p, view, x)
        gauge = gauge_at(p.gauges, row + r)
        used = np.int64(gauge.used) + gauge.own
        if best < 0 or used < least:
            best, least = np.int64(r), used
    if p.counts_own == 1:
        gauge_at(p.gauges, row + best).own += num_blocks
    return best
