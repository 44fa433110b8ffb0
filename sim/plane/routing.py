"""Which replica of a pool gets a visit.

round_robin, least_outstanding (the first of those with fewest requests), power_of_two (the less busy of two drawn by
the request's own hash), and two rules that send equal text to where it may be cached:

* session_affinity: the replica that had the conversation's last visit to this pool;
* prefix_affinity: the replica that the prompt's leading `prefix_token_count` tokens choose. Each replica has a weight,
  a hash of those tokens and its number, and the heaviest gets the visit (rendezvous hashing: Thaler and Ravishankar,
  IEEE/ACM Trans. Networking 6(1), 1998), so a replica that comes or goes moves its own share of the texts only.

Both give way to power_of_two where there is no such replica, or where it is overloaded: its outstanding requests
exceed those of the idlest by more than `balance_abs_threshold`, and are more than `balance_rel_threshold` times as
many. The rule and its defaults are the SGLang and vLLM routers', which apply it to the busiest replica. A conversation
that had to give way stays where it was sent.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.compiled import jit
from sim.plane.content import first_stretch, run_at
from sim.plane.tables import ACTIVE, i4_at, replica_at
from sim.plane.text import bits
from sim.plane.world import LEAST_OUTSTANDING, MAX_VISITS, POWER_OF_TWO, ROUND_ROBIN, SESSION_AFFINITY

LOW_WORD, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
NOBODY = np.uint64(0)


@jit
def route(p, pool, q, slot, visit):
    """The replica that gets a visit, -1 if none is active."""
    n = pool.num_active
    if n == 0:
        return -1
    if pool.router == ROUND_ROBIN:
        r = i4_at(p.active, pool.first_replica + pool.rotation % n).v
        pool.rotation += 1
        return r
    if pool.router == LEAST_OUTSTANDING:
        return idlest(p, pool)
    if pool.router == POWER_OF_TWO:
        return less_busy_of_two(p, pool, q, visit)
    if pool.router == SESSION_AFFINITY:
        home = i4_at(p.homes, slot * p.num_homes + visit.home)
        if home.v < 0 or replica_at(p.replicas, home.v).state != ACTIVE or is_overloaded(p, pool, home.v):
            home.v = less_busy_of_two(p, pool, q, visit)
        return home.v
    r = heaviest(p, pool, leading_text(p, pool, q))
    return less_busy_of_two(p, pool, q, visit) if is_overloaded(p, pool, r) else r


@jit
def idlest(p, pool):
    """The first of the active replicas with fewest outstanding requests."""
    best = i4_at(p.active, pool.first_replica).v
    for x in range(1, pool.num_active):
        r = i4_at(p.active, pool.first_replica + x).v
        if i4_at(p.outstanding, r).v < i4_at(p.outstanding, best).v:
            best = r
    return best


@jit
def less_busy_of_two(p, pool, q, visit):
    """The one with fewer outstanding requests of two active replicas, which are drawn by who asks."""
    n = np.uint64(pool.num_active)
    index = np.uint64(MAX_VISITS * q.turn + visit.ordinal) | (np.uint64(q.attempt) << HALF)
    word = bits(p.route_key, np.uint64(q.user), np.uint64(q.conversation), index)
    a = i4_at(p.active, pool.first_replica + np.int64(((word & LOW_WORD) * n) >> HALF)).v
    b = i4_at(p.active, pool.first_replica + np.int64(((word >> HALF) * n) >> HALF)).v
    return a if i4_at(p.outstanding, a).v <= i4_at(p.outstanding, b).v else b


@jit
def is_overloaded(p, pool, r):
    """Whether a replica has too much more to do than the idlest."""
    load = i4_at(p.outstanding, r).v
    if load <= pool.balance_abs:  # also spares the look at all of them
        return False
    least = i4_at(p.outstanding, idlest(p, pool)).v
    return load - least > pool.balance_abs and load > pool.balance_rel * least


@jit
def leading_text(p, pool, q):
    """A word for the leading tokens of a visit's prompt: equal where the stretches of text that they touch are."""
    key, start, end, following = first_stretch(p, q)
    return run_at(p, q, min(pool.prefix_token_count, q.prompt), 0, key, start, end, following)[0]


@jit
def heaviest(p, pool, word):
    """The active replica with the greatest weight for a word."""
    best, most = np.int64(-1), NOBODY
    for x in range(pool.num_active):
        r = i4_at(p.active, pool.first_replica + x).v
        weight = bits(p.affinity_key, word, np.uint64(r), NOBODY)
        if best < 0 or weight > most:
            best, most = np.int64(r), weight
    return best


@jit
def forget_homes(p, slot):
    """A conversation that begins has been nowhere."""
    for x in range(p.num_homes):
        i4_at(p.homes, slot * p.num_homes + x).v = -1
