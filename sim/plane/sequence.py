"""Running sequences in numbers: tokens delivered and scheduled, blocks held and published, at this instant.

While a sequence decodes, all of them follow from the step that ends it; nothing is written per step. Its step numbers
count steps as scheduled: `s.step` have been, of which `s.processed` have had their output processed.

Blocks of the decoding sequences are counted by residue: each grows by one token a step, so `(computed - step) mod
block_size` never changes while it decodes, and one counter per residue gives the exact number of new blocks of any step
and of any k steps.
"""

# ruff: noqa: ANN001, ANN201
from sim.plane.compiled import jit
from sim.plane.tables import DECODING, i4_at

MANY_STEPS = 1 << 40


@jit
def blocks_for(tokens, block_size):
    """Blocks that hold so many tokens."""
    return (tokens + block_size - 1) // block_size


@jit
def delivered(s, q):
    """Prompt and delivered output of a request [tokens]."""
    if q.state == DECODING:
        return q.prompt + q.output - (q.end_step - s.processed)
    return q.prompt + q.emitted


@jit
def scheduled(s, q):
    """The same of a decoding request with the tokens under way: it has computed one fewer [tokens]."""
    return q.prompt + q.output - (q.end_step - s.step)


@jit
def is_granted(s, q):
    """Whether pass 1 has served a decoding request in the step that is being formed: 0 or 1."""
    return max(s.granted, q.chunk)


@jit
def held_blocks(p, pool, s, q):
    """Blocks that a decoding request holds."""
    return blocks_for(scheduled(s, q) - 1 + is_granted(s, q), pool.block_size)


@jit
def live_blocks(p, pool, s, q):
    """Blocks of a decoding request that are published.

    Of the delivered tokens all but the last, which the next step computes; once that step is formed, all.
    """
    return max(q.published, (delivered(s, q) - 1 + is_granted(s, q)) // pool.block_size)


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
