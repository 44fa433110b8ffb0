"""Pools that go step by step: a pipeline of stages, or speculation.

Such a pool has no totals: every running request stays apart, each step lists its entries, and each entry gets its
tokens when the step ends. A pipeline has up to as many steps in flight as stages; a step follows the one before it when
the first stage is free, and steps end in their order. Speculation verifies drafted tokens behind a request's last one;
those that are rejected are computed again.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.metrics.histogram import NUM_BINS
from sim.plane.compiled import jit
from sim.plane.decoding import bin_of, piece_of, spent_j
from sim.plane.health import slowness, times_of
from sim.plane.tables import f8_at, i8_at
from sim.plane.text import bits
from sim.traffic import draws

BINS = np.int64(NUM_BINS)
TURN_BITS = 32
"""Draws of acceptance are numbered by (turn << TURN_BITS) | output tokens so far."""
uniform = jit(draws.uniform)


# ------------------------------------------------------------------ speculation


@jit
def drafts_for(pool, q):
    """Tokens drafted for a running request: after each step that gave it a token."""
    return pool.drafts * (1 - q.mid)


@jit
def drafts_in(pool, q):
    """Drafted tokens among those that a request has just been given to compute."""
    if pool.drafts == 0:
        return np.int64(0)
    return np.int64(max(0, q.computed - q.prompt - q.emitted))


@jit
def reach(pool, tokens):
    """Tokens that a request needs blocks for: with room for the drafter's own, up to the model's limit."""
    return min(tokens + pool.lookahead, pool.max_model_len)


@jit
def new_tokens(p, pool, q):
    """Output tokens that a step gives to a request: one, and the drafts accepted as far as the answer goes.

    One variate u a step: j drafts or more are accepted where u < a_1 ... a_j. It hangs on the request alone, not on
    the batch. Counters are of drafts as the drafter sees them, the end of the answer left out of account.
    """
    n = drafts_in(pool, q)
    if n == 0:
        return 1
    index = (np.uint64(q.turn) << np.uint64(TURN_BITS)) | np.uint64(q.emitted)
    u = uniform(bits(p.accept_key, np.uint64(q.user), np.uint64(q.conversation), index))
    accepted = 0
    while accepted < n and u < f8_at(p.curves, pool.accept + accepted).v:
        accepted += 1
    pool.num_drafts += 1
    pool.draft_tokens += n
    pool.accepted_tokens += accepted
    return min(1 + accepted, q.output - q.emitted)


@jit
def spread_gap(p, q, gap_s, tokens):
    """Note a gap before several tokens as so many equal ones: in `spread`, which is added to the histogram of gaps."""
    row = q.itl_group * BINS
    i8_at(p.spread, row + bin_of(gap_s)).v -= 1
    i8_at(p.spread, row + bin_of(gap_s / tokens)).v += tokens


# ------------------------------------------------------------------ a pipeline of stages


@jit
def stage_is_free(p, s):
    """When the first stage of a pipeline is free for the next step [s]."""
    return f8_at(p.stage_free, s.number).v


@jit
def stage_s(p, pool, s, tokens, decodes, context, emitting, pairs, prefills):
    """How long a step occupies the slowest stage [s]: no longer than the step takes."""
    times = times_of(p, pool, s)
    time_s = f8_at(p.curves, times.stage_sample_s + emitting).v
    if prefills > 0:
        time_s += f8_at(p.curves, times.stage_batch_s + tokens).v
        time_s += times.stage_prefill_step_s + times.stage_pair_s * pairs
    else:
        time_s += f8_at(p.curves, times.stage_decode_batch_s + decodes).v
    if decodes > 0:
        at = decodes * times.num_pieces + piece_of(p, times, context)
        slope_s = f8_at(p.curves, times.stage_slope_s + at).v
        time_s += f8_at(p.curves, times.stage_offset_s + at).v + slope_s * context
    return time_s * slowness(p, s)


@jit
def join_pipeline(p, pool, s, begin_s, occupied_s, now):
    """Let the step just formed follow those in flight, and book what it adds to them. Returns its end [s], and a part.

    Stages are first in, first out. Busy is any time with a step in flight, so a step adds what is left of it behind the
    end of the one before; its split is scaled to that part. It keeps one stage busy for its whole time, the others
    idle.
    """
    end_s = max(begin_s + s.dt_s, s.booked_s)
    f8_at(p.stage_free, s.number).v = begin_s + min(occupied_s, s.dt_s)
    spent_s = end_s - max(begin_s, s.booked_s)
    part = spent_s / s.dt_s if s.dt_s > 0.0 else 0.0
    s.entry_s *= part
    s.token_s *= part
    s.emit_s *= part
    s.decode_s *= part
    s.context_s *= part
    energy_j = spent_s * pool.idle_w + spent_j(p, pool, s, s.num_tokens, 1.0, s.dt_s) - s.dt_s * pool.idle_w
    due_j = energy_j + max(0.0, s.booked_s - now) * s.booked_w
    s.busy_s += spent_s
    s.energy_j += energy_j
    s.booked_s = end_s
    s.booked_w = due_j / (end_s - now) if end_s > now else 0.0  # on average from now on
    return end_s, part
