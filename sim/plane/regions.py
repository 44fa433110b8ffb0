"""Regions: a request travels to a pool's replicas in its sender's region, or, where they are full, to the next.

A part of a pool's replicas is in each region. A request sets out from its sender's place to the region nearest to it.
For every visit it stays where it is, if the pool has active replicas there and is not full; else it goes to the nearest
region of which that holds, and stays there whatever it finds; if that holds of none, it stays, or goes to the nearest
with an active replica. What a client sees comes back through the region that it first came to.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.metrics.records import SPILLED
from sim.plane.compiled import jit
from sim.plane.deadlines import delay
from sim.plane.drawing import whole_ns
from sim.plane.routing_rows import part_at, place_at
from sim.plane.tables import extra_at, f8_at, i4_at, u8_at
from sim.plane.text import bits

NOBODY = np.uint64(0)


@jit
def set_out(p, q, slot):
    """A request begins at its sender's place."""
    place = place_at(p.places, slot)
    word = bits(p.region_key, np.uint64(q.user), NOBODY, NOBODY)
    where = np.int64(0)
    for x in range(p.num_places - 1):
        where += np.int64(word >= u8_at(p.place_edges, x).v)
    place.user = where
    place.home = i4_at(p.nearest, where).v
    place.at = place.heading = -1
    place.settles = 0


@jit
def part_in(p, pool_id, region):
    """The replicas of a pool in a region."""
    return part_at(p.parts, i4_at(p.region_parts, pool_id * p.num_regions + region).v)


@jit
def has_room(p, pool_id, region):
    """Whether a pool has active replicas in a region, and is not full there."""
    part = part_in(p, pool_id, region)
    return part.num_active > 0 and part.num_outstanding < p.spill_at * part.num_active


@jit
def choose(p, pool_id, at):
    """The region in which a request that is at one makes its next visit; `at` itself if no other is better."""
    if has_room(p, pool_id, at):
        return at
    some = at if part_in(p, pool_id, at).num_active > 0 else np.int64(-1)
    for x in range(p.num_regions):
        region = np.int64(i4_at(p.neighbours, at * p.num_regions + x).v)
        if has_room(p, pool_id, region):
            return region
        if some < 0 and part_in(p, pool_id, region).num_active > 0:
            some = region
    return at if some < 0 else some


@jit
def travels(p, q, slot, pool_id, now):
    """Whether a request is on its way to the region of its visit; if not, it is there."""
    place = place_at(p.places, slot)
    if place.heading >= 0:
        place.at = place.heading
        place.heading = -1
    elif place.at < 0:
        first_leg_s = f8_at(p.to_users_s, place.user * p.num_regions + place.home).v
        if go(p, slot, place, place.home, first_leg_s, now):
            return True
    at = np.int64(place.at)
    stays = place.settles == 1 and part_in(p, pool_id, at).num_active > 0
    place.settles = 0
    if stays:
        return False
    to = choose(p, pool_id, at)
    if to == at:
        return False
    if part_in(p, pool_id, at).end > part_in(p, pool_id, at).first:
        extra_at(p.extras, slot).flags |= SPILLED
    place.settles = 1
    if go(p, slot, place, to, f8_at(p.between_s, at * p.num_regions + to).v, now):
        return True
    place.settles = 0
    return False


@jit
def go(p, slot, place, to, takes_s, now):
    """A request goes to a region: whether it is under way, or there at once."""
    if takes_s <= 0.0:
        place.at = to
        return False
    place.heading = to
    due_s = max(now, whole_ns(now + takes_s))
    extra_at(p.extras, slot).network_s += due_s - now
    delay(p, slot, due_s)
    return True


@jit
def back_s(p, slot):
    """How long what a replica says takes to the client [s]."""
    place = place_at(p.places, slot)
    if place.at < 0:
        return 0.0
    to_home_s = f8_at(p.between_s, place.at * p.num_regions + place.home).v
    return to_home_s + f8_at(p.to_users_s, place.user * p.num_regions + place.home).v
