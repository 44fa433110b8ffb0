"""A request's companion: a second row of it, which makes the visits of classifiers beside the answer.

A *gate* reads the prompt while the visits after it go on; a *check* reads the answer, whole or piece by piece while it
is written. Both are one companion's, so one visit comes after the other. Until the verdicts that it needs are in, the
client gets nothing: a request whose answer is complete by then is WITHHELD, at no replica. What the companion costs is
the request's, so a request ends after its companion's visit: `end_request` asks `settle`. docs/companions.md has the
rules; who makes visits, and what comes of verdicts, is in `verdicts.py`.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.metrics.records import IN_FLIGHT
from sim.plane.companion_rows import companion_at
from sim.plane.compiled import jit
from sim.plane.deadlines import end_patience
from sim.plane.drawing import draw_visit
from sim.plane.leaving import is_nowhere, leave_pool, withdraw
from sim.plane.tables import FREE, WITHHELD, deadline_at, extra_at, i4_at, request_at, visit_at, work_at
from sim.plane.work import block_chance


@jit
def has_companion(p, slot):
    """Whether a row is of a request with a companion, or the companion's."""
    return p.has_companions == 1 and companion_at(p.companions, slot).other >= 0


@jit
def is_companion(p, slot):
    """Whether a row is a companion's."""
    return p.has_companions == 1 and companion_at(p.companions, slot).is_companion == 1


@jit
def first_to_time_out(p, slot, now):
    """Whose timer it is that goes off: a companion's limit of its time in a queue is before its request's timer."""
    c = companion_at(p.companions, slot)
    if c.other < 0 or c.is_companion == 1 or p.has_deadlines == 0:
        return slot
    return np.int64(c.other) if deadline_at(p.deadlines, c.other).limit_s <= now else slot


@jit
def told_by(p, slot):
    """The row whose record tells what befalls a request or its companion."""
    return np.int64(companion_at(p.companions, slot).other) if is_companion(p, slot) else slot


@jit
def forget_first(p, slot):
    """The first token, which may be withheld, is void."""
    if has_companion(p, slot):
        companion_at(p.companions, slot).first_s = np.nan


@jit
def engage(p, slot, q):
    """A request that was let in gets a companion, if its path has use for one."""
    first = visit_at(p.visits, q.visit)
    if first.gate < 0 and first.check < 0:
        return
    mate = p.free_slot
    w = request_at(p.requests, mate)
    p.free_slot = w.next
    p.num_free -= 1
    w.user, w.conversation, w.turn, w.num_turns = q.user, q.conversation, q.turn, q.num_turns
    w.class_id, w.language, w.serial, w.attempt = q.class_id, q.language, q.serial, q.attempt
    w.arrived_s, w.level, w.itl_group = q.arrived_s, q.level, q.itl_group
    w.began_turn, w.user_tokens, w.full_prompt = q.began_turn, q.user_tokens, q.full_prompt
    w.older = w.aborted = w.replica = -1
    w.cost_usd = w.guard_s = w.cost_s = 0.0
    w.num_preemptions = w.chunk = 0
    w.visit = first.gate
    if p.has_work == 1:
        work_at(p.works, mate).told_turn = work_at(p.works, slot).told_turn
    if p.num_routers > 1:
        i4_at(p.via, mate).v = i4_at(p.via, slot).v
    c = companion_at(p.companions, slot)
    d = companion_at(p.companions, mate)
    c.other, d.other = mate, slot
    c.is_companion, d.is_companion = 0, 1
    c.busy = c.answered = c.quits = d.quits = c.ready = c.checked = c.flagged_at = c.holds_back = c.awaited = 0
    c.length = q.full_output
    c.gated = np.int64(first.gate >= 0)
    c.check = first.check
    c.chunk = c.boundary = np.int64(1 << 30)
    c.first_s = np.nan
    if first.check >= 0:
        visit = visit_at(p.visits, first.check)
        c.holds_back = visit.holds_back
        c.chunk = c.boundary = visit.chunk_tokens
        u, chance = draw_visit(p.block_key, q, visit), block_chance(p, q, slot, visit)
        if u < chance:  # at any of its tokens, with equal chance
            c.flagged_at = min(1 + np.int64(u / chance * q.full_output), np.int64(q.full_output))


@jit
def dismiss(p, slot):
    """A request needs its companion no more."""
    c = companion_at(p.companions, slot)
    mate = np.int64(c.other)
    d = companion_at(p.companions, mate)
    c.other = d.other = -1
    d.is_companion = 0
    w = request_at(p.requests, mate)
    w.state = FREE
    w.next = p.free_slot
    p.free_slot = mate
    p.num_free += 1


@jit
def take_over(p, slot):
    """What a companion cost is the request's."""
    c = companion_at(p.companions, slot)
    q, w = request_at(p.requests, slot), request_at(p.requests, c.other)
    q.cost_usd += w.cost_usd
    q.guard_s += w.guard_s
    q.num_preemptions += w.num_preemptions
    w.cost_usd = w.guard_s = 0.0
    w.num_preemptions = 0


@jit
def settle(p, slot, ending, at_s):
    """A request or a companion ends: whose record that makes (-1: none yet), how it ends and when.

    A request whose companion cannot leave at once waits for it; a companion that ends by itself takes it along.
    """
    c = companion_at(p.companions, slot)
    other = np.int64(c.other)
    if other < 0:
        return slot, ending, at_s
    if c.is_companion == 1:
        companion_at(p.companions, other).busy = 0
        take_over(p, other)
        q = request_at(p.requests, other)
        if q.state == WITHHELD and q.aborted >= 0:
            ending, at_s = np.int64(q.aborted), q.abort_s
        elif not withdraw(p, other, ending, p.now_s):
            return np.int64(-1), ending, at_s
        dismiss(p, other)
        return other, ending, at_s
    if c.busy == 1:
        w = request_at(p.requests, other)
        if ending == IN_FLIGHT:
            if not is_nowhere(w):
                leave_pool(p, w, other)
        elif not withdraw(p, other, ending, p.now_s):
            q = request_at(p.requests, slot)
            q.state = WITHHELD
            q.aborted = ending
            q.abort_s = at_s
            c.quits = 1
            return np.int64(-1), ending, at_s
    take_over(p, slot)
    dismiss(p, slot)
    return slot, ending, at_s


@jit
def withhold(p, slot, now):
    """A request has its first token: whether it must wait for a verdict."""
    if not has_companion(p, slot):
        return False
    c = companion_at(p.companions, slot)
    if c.gated == 0 and c.holds_back == 0:
        return False
    if np.isnan(c.first_s):
        c.first_s = now
    return True


@jit
def show(p, slot, c, now):
    """The client gets what there is: if that is the first token, patience is not tried any more."""
    q = request_at(p.requests, slot)
    if np.isnan(q.first_token_s) and not np.isnan(c.first_s):
        q.first_token_s = now
        extra_at(p.extras, slot).verdict_s = now - c.first_s
        end_patience(p, slot)
