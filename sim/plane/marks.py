"""Where answers are read along: the steps that end their pieces, in a heap a replica like that of the ends.

A step that ends a piece of an answer changes nothing in its replica, so a leap goes on over it: what the replica emits
as its next event is the earlier of the leap's end and the first mark, and a mark's event looks at the marks only. Steps
are numbered, so marks stay where they are however the run is cut or anchored anew.

A request apart from the totals has no mark: its tokens are handed out one by one, and counted then.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.companion_rows import companion_at, reader_at
from sim.plane.compiled import jit
from sim.plane.decoding import time_at
from sim.plane.queues import SLOT_BITS, SLOT_MASK, sift_end_down, sift_end_up
from sim.plane.tables import i4_at, i8_at, request_at, visit_at

NEVER = 1 << 40


@jit
def first_mark(p, s):
    """The step that ends the next piece, at a replica where somebody reads along."""
    if reader_at(p.readers, s.number).num_marks == 0:
        return NEVER
    return i8_at(p.marks, s.base).v >> SLOT_BITS


@jit
def next_end_s(p, s):
    """When the replica's next event is, amid a decode run: the end of the leap, or of a piece before it."""
    step = s.target - s.depth
    if p.has_marks == 1:
        step = min(step, first_mark(p, s))
    return time_at(s, step)


@jit
def push_mark(p, s, slot, q):
    """A request begins to decode: note the step that ends its next piece, if that is not the answer's end."""
    c = companion_at(p.companions, slot)
    if c.other < 0 or c.boundary >= q.output or visit_at(p.visits, q.visit).streams == 0:
        return
    reader = reader_at(p.readers, s.number)
    i8_at(p.marks, s.base + reader.num_marks).v = ((q.end_step - (q.output - c.boundary)) << SLOT_BITS) | slot
    sift_end_up(p.marks, s.base, reader.num_marks)
    reader.num_marks += 1


@jit
def remove_mark(p, s, slot):
    """A request stops decoding before its end: a scan, for the few that are preempted or aborted."""
    reader = reader_at(p.readers, s.number)
    for i in range(reader.num_marks):
        if i8_at(p.marks, s.base + i).v & SLOT_MASK == slot:
            drop_mark(p, s, reader, i)
            return


@jit
def drop_mark(p, s, reader, i):
    """Take entry i out of the heap of marks."""
    reader.num_marks -= 1
    last = np.int64(reader.num_marks)
    if i != last:
        i8_at(p.marks, s.base + i).v = i8_at(p.marks, s.base + last).v
        sift_end_down(p.marks, s.base, i, last)
        sift_end_up(p.marks, s.base, i)


@jit
def reach_marks(p, s, step):
    """Put whoever has a piece that ends with that step among the `reached`, and note their next."""
    while first_mark(p, s) <= step:
        slot = i8_at(p.marks, s.base).v & SLOT_MASK
        c = companion_at(p.companions, slot)
        read_on(p, c, slot, c.boundary)
        if c.boundary < c.length:
            i8_at(p.marks, s.base).v += np.int64(c.chunk) << SLOT_BITS
            sift_end_down(p.marks, s.base, 0, np.int64(reader_at(p.readers, s.number).num_marks))
        else:
            drop_mark(p, s, reader_at(p.readers, s.number), 0)


@jit
def note_tokens(p, slot, q):
    """A request apart from the totals got tokens of an answer that goes on: it may have reached the end of a piece."""
    c = companion_at(p.companions, slot)
    if c.other >= 0 and visit_at(p.visits, q.visit).streams == 1 and c.boundary <= q.emitted < q.full_output:
        read_on(p, c, slot, q.emitted)


@jit
def read_on(p, c, slot, emitted):
    """So many tokens are out, with which a piece ends; it can be read when all outputs of the step are out."""
    c.boundary = emitted // c.chunk * c.chunk + c.chunk
    i4_at(p.reached, p.num_reached).v = slot
    p.num_reached += 1


@jit
def sort_reached(p):
    """Bring those who reached the end of a piece into the order of the step's schedule, which is that of admission."""
    for x in range(1, p.num_reached):
        slot = i4_at(p.reached, x).v
        admitted = request_at(p.requests, slot).admitted
        y = x
        while y > 0 and request_at(p.requests, i4_at(p.reached, y - 1).v).admitted > admitted:
            i4_at(p.reached, y).v = i4_at(p.reached, y - 1).v
            y -= 1
        i4_at(p.reached, y).v = slot
