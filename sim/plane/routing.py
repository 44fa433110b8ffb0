"""Which replica of a pool gets a visit.

round_robin, least_outstanding (the first of those with fewest requests), least_kv (the first of those that use least of
their KV cache, by their gauges: `views.py`), power_of_two (the less busy of two drawn by the request's own hash), and
rules that send equal text to where it may be cached:

* session_affinity: the replica that had the conversation's last visit to this pool;
* prefix_affinity by hash: the replica that the prompt's leading `prefix_token_count` tokens choose. Each replica has a
  weight, a hash of those tokens and its number, and the heaviest gets the visit (rendezvous hashing: Thaler and
  Ravishankar, IEEE/ACM Trans. Networking 6(1), 1998), so a replica that comes or goes moves its own share of the texts
  only;
* prefix_affinity by index: the replica that was sent most of the prompt's beginning (`prefix_index.py`), if that is at
  least `min_match_frac` of it.

They give way to power_of_two where there is no such replica, or where it is overloaded: its outstanding requests
exceed those of the idlest by more than `balance_abs_threshold`, and are more than `balance_rel_threshold` times as
many. The rule and its defaults are the SGLang and vLLM routers', which apply it to the busiest replica. A conversation
that had to give way stays where it was sent.

Requests outstanding are those that the request's own router knows of. Where tiers have replicas to themselves, a visit
has those of its tier to choose from.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.companion_rows import companion_at
from sim.plane.compiled import jit
from sim.plane.content import GOLDEN, first_stretch, run_at
from sim.plane.prefix_index import longest_match, remember
from sim.plane.routing_rows import favourite_at, part_at, place_at
from sim.plane.sequence import blocks_for
from sim.plane.tables import ACTIVE, i4_at, i8_at, replica_at
from sim.plane.text import bits
from sim.plane.views import HALF, LOW_WORD, NOBODY, least_used, load, nth, router_of, view_of
from sim.plane.world import (
    LEAST_KV,
    LEAST_OUTSTANDING,
    MAX_VISITS,
    POWER_OF_TWO,
    PREFIX_AFFINITY,
    ROUND_ROBIN,
    SESSION_AFFINITY,
)


@jit
def route(p, pool, q, slot, visit):
    """The replica that gets a visit, -1 if none is active."""
    first, n, lane, begin, end = (
        pool.first_replica, pool.num_active, visit.pool,
        pool.first_replica, pool.first_replica + pool.max_replicas,
    )  # fmt: skip
    if p.has_parts == 1:
        number = i4_at(p.class_parts, q.class_id * p.num_pools + visit.pool).v
        if p.num_regions > 0:
            number = i4_at(p.region_parts, visit.pool * p.num_regions + place_at(p.places, slot).at).v
        part = part_at(p.parts, number)
        first, n, lane, begin, end = part.first_active, part.num_active, number, part.first, part.end
    if n == 0:
        return -1
    view = view_of(p, slot, first, n)
    if pool.router == ROUND_ROBIN:
        turn = i8_at(p.rotations, router_of(p, slot) * p.num_lanes + lane)
        turn.v += 1
        return nth(p, view, (turn.v - 1) % n)
    if pool.router == LEAST_OUTSTANDING:
        return idlest(p, view)
    if pool.router == POWER_OF_TWO:
        return less_busy_of_two(p, view, q, visit)
    if pool.router == LEAST_KV:
        return least_used(p, slot, view, blocks_for(q.prompt, pool.block_size))
    if pool.router == SESSION_AFFINITY:
        home = home_of(p, slot, visit)
        is_near = begin <= home.v < end and replica_at(p.replicas, home.v).state == ACTIVE
        if not is_near or is_overloaded(p, pool, view, home.v):
            home.v = less_busy_of_two(p, view, q, visit)
        return home.v
    if p.index_blocks > 0:
        r, matched = longest_match(p, q, slot, visit.pool, view, begin, end)
        if r < 0 or matched < p.min_match_frac * q.prompt or is_overloaded(p, pool, view, r):
            r = np.int64(less_busy_of_two(p, view, q, visit))
        remember(p, q, slot, visit.pool, r)
        return r
    r = favourite(p, view, lane, leading_text(p, pool, q))
    return less_busy_of_two(p, view, q, visit) if is_overloaded(p, pool, view, r) else r


@jit
def home_of(p, slot, visit):
    """Where the conversation's last visit to a pool was; a companion's conversation is its request's."""
    if p.has_companions == 1 and companion_at(p.companions, slot).is_companion == 1:
        slot = np.int64(companion_at(p.companions, slot).other)
    return i4_at(p.homes, slot * p.num_homes + visit.home)


@jit
def idlest_of(p, pool):
    """The first of a pool's active replicas with fewest outstanding requests, whichever router sent them."""
    return idlest(p, (np.int64(pool.first_replica), np.int64(pool.num_active), np.int64(p.outstanding), np.int64(0)))


@jit
def be_sent(p, pool, q, slot, visit, r):
    """A request is sent to a replica that its router did not choose: that is where its texts are from now on."""
    if pool.router == SESSION_AFFINITY:
        home_of(p, slot, visit).v = r
    elif pool.router == PREFIX_AFFINITY and p.index_blocks > 0:
        remember(p, q, slot, visit.pool, r)


@jit
def idlest(p, view):
    """The first of the replicas with fewest outstanding requests."""
    best = nth(p, view, 0)
    for x in range(1, view[1]):
        r = nth(p, view, x)
        if load(view, r) < load(view, best):
            best = r
    return best


@jit
def less_busy_of_two(p, view, q, visit):
    """The one with fewer outstanding requests of two replicas, which are drawn by who asks."""
    n = np.uint64(view[1])
    index = np.uint64(MAX_VISITS * q.turn + visit.ordinal) | (np.uint64(q.attempt) << HALF)
    word = bits(p.route_key, np.uint64(q.user), np.uint64(q.conversation), index)
    a = nth(p, view, np.int64(((word & LOW_WORD) * n) >> HALF))
    b = nth(p, view, np.int64(((word >> HALF) * n) >> HALF))
    return a if load(view, a) <= load(view, b) else b


@jit
def is_overloaded(p, pool, view, r):
    """Whether a replica has too much more to do than the idlest."""
    busy = load(view, r)
    if busy <= pool.balance_abs:  # also spares the look at all of them
        return False
    least = load(view, idlest(p, view))
    return busy - least > pool.balance_abs and busy > pool.balance_rel * least


@jit
def leading_text(p, pool, q):
    """A word for the leading tokens of a visit's prompt: equal where the stretches of text that they touch are."""
    key, start, end, following = first_stretch(p, q)
    return run_at(p, q, min(pool.prefix_token_count, q.prompt), 0, key, start, end, following)[0]


@jit
def favourite(p, view, lane, word):
    """The replica with the greatest weight for a word, from memory if that is fresh."""
    here = np.add(word, np.multiply(np.uint64(lane), GOLDEN))
    known = favourite_at(p.favourites, np.int64(here & np.uint64(p.favourite_mask)))
    if known.word != here or known.listing != p.num_listings:
        known.word = here
        known.listing = p.num_listings
        known.replica = heaviest(p, view, word)
    return np.int64(known.replica)


@jit
def heaviest(p, view, word):
    """The replica with the greatest weight for a word."""
    best, most = np.int64(-1), NOBODY
    for x in range(view[1]):
        r = nth(p, view, x)
        weight = bits(p.affinity_key, word, np.uint64(r), NOBODY)
        if best < 0 or weight > most:
            best, most = np.int64(r), weight
    return best


@jit
def forget_homes(p, slot):
    """A conversation that begins has been nowhere."""
    for x in range(p.num_homes):
        i4_at(p.homes, slot * p.num_homes + x).v = -1
