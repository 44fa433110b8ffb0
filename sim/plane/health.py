"""How well a replica does: which step times it has, and how many times as long its steps take.

A replica may be slow (its GPU is hot, a neighbour is noisy) or run another version of what is deployed. Steps that are
formed after the change have the new times; the one or two in flight keep theirs. Its power while it works stays as it
was (assumed). Where nothing ever goes wrong (`World.has_faults`) there are no rows of this.
"""

# ruff: noqa: ANN001, ANN201
from sim.plane.compiled import jit
from sim.plane.health_rows import health_at
from sim.plane.tables import block_at, pool_at


@jit
def times_of(p, pool, s):
    """The row of `pools` that has the step times of a replica."""
    if p.has_faults == 0:
        return pool
    return pool_at(p.pools, health_at(p.health, s.number).times)


@jit
def slowness(p, s):
    """How many times as long as its tables say the steps of a replica take."""
    if p.has_faults == 0:
        return 1.0
    return health_at(p.health, s.number).slowness


@jit
def is_repaced(p, s):
    """Whether the next step of a replica has other times than those before."""
    x = health_at(p.health, s.number)
    return x.slowness != x.next_slowness or x.times != x.next_times


@jit
def take_pace(p, s):
    """A replica has its new times from the step on that is about to be formed. No run is open."""
    x = health_at(p.health, s.number)
    x.slowness = x.next_slowness
    x.times = x.next_times


@jit
def keep_seized(p, s, b):
    """A replica falls back to blocks: those from row `b` on are the ones that somebody else holds."""
    x = health_at(p.health, s.number)
    for row in range(b, b + x.num_seized):
        block_at(p.blocks, row).num_users = 1
        block_at(p.blocks, row).newer = x.seized - 1
        x.seized = row + 1
