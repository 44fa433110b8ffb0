"""KV blocks of a replica: counts, not lists.

Every decoding sequence grows by one token a step, so `(computed - step) mod block_size` never changes while it
decodes: one counter per residue gives the exact number of new blocks of any step and of any k steps. Blocks carry
no identity but for the shared prefixes (system prompts, classifier templates): a prefix is a chain of which the
index holds a run from its first block, and since whoever uses a block uses its predecessors, one number, the
deepest block in use, says which of them may be evicted.
"""

# ruff: noqa: ANN001, ANN201
from sim.plane.compiled import jit
from sim.plane.tables import group_at, i4_at

MANY_STEPS = 1 << 40


@jit
def blocks_for(tokens, block_size):
    """Blocks that hold so many tokens."""
    return (tokens + block_size - 1) // block_size


# ------------------------------------------------------------------ growth of the decoding sequences


@jit
def residue_of(pool, computed, step):
    """The class of a sequence with `computed` tokens at `step`."""
    return (computed - step) % pool.block_size


@jit
def blocks_at(p, pool, s, step):
    """New blocks of one decode step: those of the class whose tokens then fill whole blocks."""
    return i4_at(p.residues, s.residue_base + (-step) % pool.block_size).v


@jit
def blocks_in(p, pool, s, first_step, num_steps):
    """New blocks of `num_steps` decode steps, the first of which is `first_step`."""
    size = pool.block_size
    n = (num_steps // size) * s.num_decoding
    for step in range(first_step, first_step + num_steps % size):
        n += blocks_at(p, pool, s, step)
    return n


@jit
def steps_within(p, pool, s, first_step, free):
    """How many decode steps from `first_step` on fit in `free` blocks, at most."""
    size = pool.block_size
    rounds = free // s.num_decoding
    if rounds > MANY_STEPS // size:
        return MANY_STEPS
    left = free - rounds * s.num_decoding
    for k in range(size):
        left -= blocks_at(p, pool, s, first_step + k)
        if left < 0:
            return rounds * size + k
    return (rounds + 1) * size


# ------------------------------------------------------------------ the pool


@jit
def num_free(s):
    """Blocks that can be taken: free ones, and cached ones that nobody uses."""
    return s.free + s.evictable


@jit
def take(p, s, n):
    """Take n blocks that the caller knows to fit, evicting cached ones once the plain free ones are used up."""
    if n > s.free:
        evict(p, s, n - s.free)
    s.free -= n


@jit
def evict(p, s, n):
    """Evict n cached blocks that nobody uses: the prefix released longest ago first, its tail first."""
    while n > 0:
        oldest = -1
        for g in range(p.num_groups):
            group = group_at(p.groups, s.group_base + g)
            if group.cached > group.depth and (
                oldest < 0 or group.stamp < group_at(p.groups, s.group_base + oldest).stamp
            ):
                oldest = g
        group = group_at(p.groups, s.group_base + oldest)
        k = min(n, group.cached - group.depth)
        group.cached -= k
        s.evictable -= k
        s.free += k
        n -= k


# ------------------------------------------------------------------ shared prefixes


@jit
def hits_of(p, pool, s, q):
    """Leading blocks of a request's prefix found in the index; its last token is always computed."""
    if q.group < 0 or pool.caching == 0:
        return 0
    group = group_at(p.groups, s.group_base + q.group)
    return min(group.cached, min(q.prefix, q.prompt + q.emitted - 1) // pool.block_size)


@jit
def idle_hits(p, s, group_id, hits):
    """How many of those nobody uses: they leave the free blocks when touched."""
    if hits == 0:
        return 0
    return max(0, hits - group_at(p.groups, s.group_base + group_id).depth)


@jit
def share(p, s, group_id, old, new):
    """A request that used the first `old` blocks of the prefix now uses the first `new` (more or, at release, 0)."""
    if old == new:
        return
    group = group_at(p.groups, s.group_base + group_id)
    if old > 0:
        i4_at(p.depths, group.base + old).v -= 1
    if new > 0:
        i4_at(p.depths, group.base + new).v += 1
    if new > old:
        if new > group.depth:
            s.evictable -= min(new, group.cached) - min(group.depth, group.cached)
            group.depth = new
        return
    depth = group.depth
    while depth > 0 and i4_at(p.depths, group.base + depth).v == 0:
        depth -= 1
    if depth < group.depth:
        s.evictable += group.depth - depth
        group.depth = depth
        s.stamp += 1
        group.stamp = s.stamp


@jit
def publish(p, pool, s, q, computed):
    """Put the blocks of a request's prefix that are full once `computed` tokens are into the index."""
    if q.group < 0 or pool.caching == 0:
        return
    group = group_at(p.groups, s.group_base + q.group)
    full = min(q.prefix, computed) // pool.block_size
    if full > q.shared and q.shared == group.cached:
        share(p, s, q.group, q.shared, full)
        group.cached = full
        q.shared = full


@jit
def release(p, s, q, num_blocks):
    """Give back a request's blocks: its private ones are plain free, those of its prefix stay cached."""
    s.free += num_blocks - q.shared
    if q.group >= 0:
        share(p, s, q.group, q.shared, 0)
    q.shared = 0
