"""The visits of companions: a gate beside the answer, checks of what was written, and what comes of their verdicts."""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.metrics.records import BLOCKED, CAUGHT, COMPLETED
from sim.plane.companion_rows import companion_at, reader_at
from sim.plane.companions import show
from sim.plane.compiled import jit, prefetch
from sim.plane.endings import end_request
from sim.plane.events import emit
from sim.plane.leaving import depart, withdraw
from sim.plane.marks import first_mark, next_end_s, reach_marks, sort_reached
from sim.plane.queues import SLOT_MASK
from sim.plane.tables import (
    DECODE,
    IDLE,
    STEP,
    WITHHELD,
    extra_at,
    i4_at,
    i8_at,
    pool_at,
    request_at,
    visit_at,
)
from sim.plane.text import EXCHANGE
from sim.plane.visits import begin_visit, complete_visit
from sim.plane.visits import go_on as on_its_way
from sim.plane.work import conclude, is_flagged


@jit
def complete_beside(p, slot, now):
    """The visit of a companion is over, or of a request that has one."""
    q = request_at(p.requests, slot)
    c = companion_at(p.companions, slot)
    visit = visit_at(p.visits, q.visit)
    if c.is_companion == 1:
        depart(p, q, slot, now)
        companion_at(p.companions, c.other).busy = 0
        give_verdict(p, c.other, visit, now)
    elif visit.special == 1:
        depart(p, q, slot, now)
        ending = conclude(p, q, slot, visit, now)
        if ending == COMPLETED:
            complete_answer(p, slot, now)
        else:
            on_its_way(p, slot, ending, now)
    elif visit.last == 1 or (visit.streams == 1 and q.full_output == 1):
        depart(p, q, slot, now)
        complete_answer(p, slot, now)
    else:
        complete_visit(p, slot, now)


@jit
def complete_answer(p, slot, now):
    """The last token of a request with a companion is out."""
    q = request_at(p.requests, slot)
    if q.aborted >= 0:
        end_request(p, slot, q.aborted, q.abort_s)
        return
    c = companion_at(p.companions, slot)
    q.state = WITHHELD
    c.answered = 1
    c.ready = q.full_output
    c.last_s = now
    go_on(p, slot, c, now)


@jit
def give_verdict(p, slot, visit, now):
    """A companion's classifier has spoken."""
    q = request_at(p.requests, slot)
    c = companion_at(p.companions, slot)
    if c.quits == 1:
        if q.state == WITHHELD:  # the request waited for its companion to leave
            end_request(p, slot, q.aborted, q.abort_s)
        return
    if visit.gates == 1:
        caught = is_flagged(p, q, slot, visit)
        c.gated = 0
    else:
        caught = 0 < c.flagged_at <= c.checked
    if caught:
        extra_at(p.extras, slot).flags |= CAUGHT
        if withdraw(p, slot, BLOCKED, now):
            end_request(p, slot, BLOCKED, now)
        return
    if c.holds_back == 0 or c.checked > 0:
        show(p, slot, c, now)
    if visit.gates == 1 or c.holds_back == 1:
        c.last_s = now
    go_on(p, slot, c, now)


@jit
def go_on(p, slot, c, now):
    """An idle companion reads the next piece of the answer, if it is there; after the last the request completes."""
    if c.busy == 1:
        return
    if c.check >= 0 and c.checked < c.ready:
        begin_check(p, slot, c, now)
    elif c.answered == 1:
        end_request(p, slot, COMPLETED, c.last_s)


@jit
def begin_check(p, slot, c, now):
    """A companion reads the next piece of the answer, with some tokens before it, or with all that was said."""
    q, w = request_at(p.requests, slot), request_at(p.requests, c.other)
    visit = visit_at(p.visits, c.check)
    upto = min(np.int64(c.checked) + c.chunk, np.int64(c.ready))
    w.visit = c.check
    w.history = c.checked
    if visit.reads == EXCHANGE:
        w.user_tokens = q.user_tokens + upto
    else:
        w.user_tokens = upto - max(np.int64(0), np.int64(c.checked) - visit.carry_tokens)
    c.checked = upto
    c.busy = 1
    begin_visit(p, c.other, now)


@jit
def read_along(p, now):
    """Pieces of answers have ended with a step: idle companions read them."""
    if p.num_reached > 1:
        sort_reached(p)
    for x in range(p.num_reached):
        slot = np.int64(i4_at(p.reached, x).v)
        c = companion_at(p.companions, slot)
        if c.other >= 0 and c.quits == 0 and c.is_companion == 0:  # else it ended with that very step
            c.ready = max(c.ready, c.boundary - c.chunk)
            go_on(p, slot, c, now)
    p.num_reached = 0


@jit
def read_amid_leap(p, s, r, now):
    """A piece has ended amid a leap, which goes on. False where the leap ends here, or has to.

    It has to where somebody came to this very replica, or leaves it: as if the steps had been played singly.
    """
    if s.doing != DECODE:
        return False
    step = first_mark(p, s)
    if step >= s.target - s.depth:
        return False
    prefetch(request_at(p.requests, companion_at(p.companions, i8_at(p.marks, s.base).v & SLOT_MASK).other))
    reader_at(p.readers, r).passed = step
    reach_marks(p, s, step)
    pool = pool_at(p.pools, s.pool)
    waiting, left = s.num_waiting, pool.num_left
    s.doing = IDLE
    read_along(p, now)
    s.doing = DECODE
    if s.num_aborts > 0 or s.num_waiting != waiting or pool.num_left != left:
        s.target = step + s.depth
        return False
    emit(p, next_end_s(p, s), STEP, r, r)
    return True
