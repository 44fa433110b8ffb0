"""What a request draws: variates of its conversation, and values of quantile tables."""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.compiled import jit
from sim.plane.tables import f8_at
from sim.plane.text import bits
from sim.plane.world import MAX_TOKENS, MAX_VISITS, TABLE_STEPS
from sim.traffic import draws
from sim.traffic.arrivals import whole_ns as whole_ns_of

uniform = jit(draws.uniform)
whole_ns = jit(whole_ns_of)


@jit
def draw(key, q, index):
    """The uniform variate of a request's conversation and an index."""
    return uniform(bits(key, np.uint64(q.user), np.uint64(q.conversation), np.uint64(index)))


@jit
def draw_visit(key, q, visit):
    """The uniform variate of a request's turn and one of its visits."""
    return draw(key, q, MAX_VISITS * q.turn + visit.ordinal)


@jit
def lookup(p, table, u):
    """Inverse CDF at u, linear between its 1,025 points."""
    x = u * TABLE_STEPS
    i = min(np.int64(x), TABLE_STEPS - 1)
    low = f8_at(p.curves, table + i).v
    return low + (x - i) * (f8_at(p.curves, table + i + 1).v - low)


@jit
def lookup_tokens(p, table, u, factor):
    """A whole number of tokens, at least one: so many times what the table says."""
    return min(max(1, np.int64(np.floor(factor * lookup(p, table, u) + 0.5))), MAX_TOKENS)
