"""What a sender does when an attempt has ended: asks again after a while, goes on, or leaves.

An attempt that failed may be made again, as a request of its own with the same question; only the last attempt of a
turn decides whether the conversation goes on. `sim.traffic.arrivals.Reaction` has the rules, docs/reactions.md tells
them. Senders of a class without a reaction go on whatever became of a turn.
"""

# ruff: noqa: ANN001, ANN201
from sim.metrics.records import COMPLETED
from sim.plane.compiled import jit
from sim.plane.drawing import draw, lookup, whole_ns
from sim.plane.events import emit
from sim.plane.tables import THINKING, TIMER, request_at, retry_at
from sim.plane.world import MAX_ATTEMPTS

GOES_ON, TRIES_AGAIN, LEAVES, ENDS = range(4)
"""What a sender does next; ENDS: it would try again, but after the horizon."""


@jit
def set_timer(p, slot, due_s):
    """A request waits for a time: its one timer."""
    q = request_at(p.requests, slot)
    q.timer_s = due_s
    emit(p, due_s, TIMER, slot, q.serial)


@jit
def asked_s(p, q, slot):
    """When the present turn was first asked: its first attempt's arrival."""
    return q.arrived_s if q.attempt == 0 else retry_at(p.retries, slot).asked_s


@jit
def react(p, q, slot, kind, ending, first_token_s, end_s):
    """What a sender with a reaction does about an attempt that has ended; a retry's timer is set."""
    if (kind.retried >> ending) & 1 == 1 and q.attempt < kind.max_retries:
        index = MAX_ATTEMPTS * q.turn + q.attempt
        if draw(p.retry_key, q, index) < kind.retry_frac:
            return back_off(p, q, slot, kind, index, end_s)
    leave_frac = kind.leave_frac
    if ending == COMPLETED:
        leave_frac = kind.slow_leave_frac if first_token_s - asked_s(p, q, slot) > kind.slow_s else 0.0
    return LEAVES if leave_frac > 0.0 and draw(p.leave_key, q, q.turn) < leave_frac else GOES_ON


@jit
def back_off(p, q, slot, kind, index, end_s):
    """A sender will ask again: when, and which attempt that is."""
    delay_s = lookup(p, kind.backoff_s, draw(p.backoff_key, q, index))
    for _ in range(q.attempt):
        delay_s *= kind.backoff_factor
    due_s = whole_ns(end_s + min(delay_s, kind.max_backoff_s))
    if due_s >= p.horizon_s:
        return ENDS
    retry = retry_at(p.retries, slot)
    retry.asked_s = asked_s(p, q, slot)
    retry.retry_of = q.serial
    q.attempt += 1
    q.state = THINKING
    set_timer(p, slot, max(due_s, p.now_s))
    return TRIES_AGAIN
