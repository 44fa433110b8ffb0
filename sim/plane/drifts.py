"""Drifts: from a moment on, requests are not what they were. Commands of control processes, and what they change.

Lengths: a class's new tokens and answers are so many times as long, from the turns issued after the command on. Prefix:
what a class's prompts begin with differs from request to request (a date, an id at the top), so that nothing of a
prompt is found in a cache again, from the visits begun after the command on. Verdicts: a classifier blocks another
share, from the verdicts given after the command on.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.compiled import jit
from sim.plane.events import move_to
from sim.plane.tables import class_at, plane_at, visit_at
from sim.plane.text import stream_key
from sim.plane.world import MAX_ATTEMPTS, MAX_TOKENS, MAX_VISITS

BUSTED = 1 << 48
"""Number of the first stream that only one request has; turns, visits and groups have lower ones."""


@jit
def scale_lengths(address, class_id, user_factor, output_factor, now):
    """From now on the turns of a class bring so many times as many tokens, and want so many times as many."""
    p = plane_at(address, 0)
    move_to(p, now)
    p.num_out = 0
    kind = class_at(p.classes, class_id)
    kind.scaled = 1
    kind.user_factor = user_factor
    kind.output_factor = output_factor
    return p.num_out


@jit
def bust_prefix(address, class_id, now):
    """From now on no two prompts of a class begin with the same text."""
    p = plane_at(address, 0)
    move_to(p, now)
    p.num_out = 0
    class_at(p.classes, class_id).busted = 1
    return p.num_out


@jit
def set_block_frac(address, visit, frac, now):
    """From now on a classifier blocks this share, whatever is true; `visit` counts the visits of all paths."""
    p = plane_at(address, 0)
    move_to(p, now)
    p.num_out = 0
    visit_at(p.visits, visit).block_frac = frac
    visit_at(p.visits, visit).true_positive = -1
    return p.num_out


@jit
def times(tokens, factor):
    """So many times as many tokens, at least one."""
    return min(max(1, np.int64(np.floor(factor * tokens + 0.5))), MAX_TOKENS)


@jit
def scale_turn(q, kind):
    """Lengths of a turn that is asked for the first time."""
    q.user_tokens = times(q.user_tokens, kind.user_factor)
    q.full_output = min(times(q.full_output, kind.output_factor), kind.max_output)


@jit
def open_busted_text(p, q, visit):
    """A text that nobody else has, and no other visit, from its first token on."""
    q.is_new = q.is_private = 0
    q.prefix = q.own_from = 0
    q.segments = -1
    q.stream = stream_key(p, q, BUSTED + MAX_VISITS * (MAX_ATTEMPTS * q.turn + q.attempt) + visit.ordinal)
