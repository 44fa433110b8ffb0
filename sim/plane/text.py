"""Which text a request carries: the stretches of a conversation from turn to turn, and those of its visits.

A conversation is one stream of text as long as each turn completes: its next prompt repeats it and goes on. A turn that
fails leaves nothing behind, so the next begins a stream of its own behind the history there is; a prompt that was cut,
or a class that keeps no history, begins anew behind the shared prefix. `content.py` reads what is written here.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.compiled import jit, jit_with
from sim.plane.tables import DRAFT, segment_at, stretch_at, work_at
from sim.traffic import draws

mix = jit(draws.mix)
bits = jit_with(draws.bits, mix=mix)
VISIT_BITS = 32
"""The streams of a request's visits are numbered apart: (ordinal + 1) << VISIT_BITS."""


@jit
def stream_key(p, q, index):
    """Key of a stream of a request's conversation."""
    return bits(p.content_key, np.uint64(q.user), np.uint64(q.conversation), np.uint64(index))


@jit
def add_stretch(p, q, key, end):
    """Add a stretch behind the older ones of a conversation."""
    new = p.free_stretch
    x = stretch_at(p.stretches, new)
    p.free_stretch = x.next
    p.num_free_stretches -= 1
    x.key = key
    x.end = end
    x.next = -1
    if q.older < 0:
        q.older = new
        return
    last = np.int64(q.older)
    while stretch_at(p.stretches, last).next >= 0:
        last = np.int64(stretch_at(p.stretches, last).next)
    stretch_at(p.stretches, last).next = new


@jit
def begin_stream(p, q, end, number):
    """The conversation's own text goes on from `end` in another stream: what stood behind is not there any more."""
    if end > q.began_at:
        add_stretch(p, q, stream_key(p, q, q.began_turn), end)
    elif end < q.began_at:
        cut_stretches(p, q, end)
    q.began_at = end
    q.began_turn = number


@jit
def cut_stretches(p, q, end):
    """Older stretches end at `end`, which is within or behind them."""
    x = stretch_at(p.stretches, q.older)
    while x.end < end and x.next >= 0:
        x = stretch_at(p.stretches, x.next)
    x.end = end
    kept, q.older = q.older, x.next
    x.next = -1
    forget_stretches(p, q)
    q.older = kept


@jit
def forget_stretches(p, q):
    """A conversation has no older stretches any more."""
    while q.older >= 0:
        x = stretch_at(p.stretches, q.older)
        after = x.next
        x.next = p.free_stretch
        p.free_stretch = q.older
        p.num_free_stretches += 1
        q.older = after


@jit
def begin_text(p, q, kind, num_segments):
    """The text of a new arrival: behind the shared prefix, its segments if it has any, then its own."""
    q.older = -1
    q.goes_on = 0
    q.began_turn = 0
    q.began_at = kind.prefix_tokens
    for _ in range(num_segments):
        segment = segment_at(p.segments, p.next_segment)
        p.next_segment += 1
        q.began_at += segment.tokens
        add_stretch(p, q, segment.key, q.began_at)


@jit
def go_on_with_text(p, q, slot, kind, was_cut):
    """The text of a conversation's next turn."""
    if kind.special == 1 and q.turn > 0:
        part_from_work(p, q, work_at(p.works, slot), kind, was_cut)
    if q.turn > 0 and (q.goes_on == 0 or was_cut):
        end = kind.prefix_tokens + q.history
        if was_cut or kind.keep_history == 0:
            forget_stretches(p, q)
            q.began_at = kind.prefix_tokens
        elif end > q.began_at:
            add_stretch(p, q, stream_key(p, q, q.began_turn), end)
            q.began_at = end
        q.began_turn = q.turn
    q.goes_on = 0


@jit
def part_from_work(p, q, w, kind, was_cut):
    """Nothing is left of what the visits of the last turn added, but what was kept."""
    if q.goes_on == 0 or was_cut:
        w.told_turn = q.turn
        if kind.keep_history == 1 and kind.prefix_tokens + q.history < q.began_at:
            begin_stream(p, q, kind.prefix_tokens + q.history, q.turn)
    elif w.cut_at >= 0:
        begin_stream(p, q, w.cut_at, q.turn)
    w.cut_at = -1


@jit
def open_text(p, q, slot, kind, visit):
    """The text that a visit reads.

    Of a stream that begins here nothing can be cached, and what nobody goes on with need not be found: unless arrivals
    repeat the text of others (`World.has_segments`), or a sender asks again.
    """
    follows = visit.generate == 1 or visit.reads_full == 1
    q.is_new = np.int64(not follows or q.began_turn == q.turn)
    is_last = not follows or kind.keep_history == 0 or q.turn + 1 == q.num_turns
    q.is_private = np.int64(q.is_new == 1 and is_last)
    if kind.reacts == 1:  # what is asked again is found
        q.is_new = np.int64(q.is_new == 1 and q.attempt == 0)
        q.is_private = 0
    if p.has_segments == 1 or visit.joins == 1:
        q.is_new = q.is_private = 0
    if visit.generate == 1 or visit.role == DRAFT:
        q.group = kind.group
        q.prefix = kind.prefix_tokens
        q.segments = q.older
        q.own_from = q.began_at
        q.stream = stream_key(p, q, q.began_turn)
        return
    q.group = visit.group
    q.prefix = visit.template_tokens
    q.segments = -1
    q.own_from = visit.template_tokens
    index = q.turn
    if visit.reads_full == 1:
        index = q.began_turn if visit.joins == 0 else work_at(p.works, slot).told_turn
    q.stream = stream_key(p, q, ((visit.ordinal + 1) << VISIT_BITS) | index)
