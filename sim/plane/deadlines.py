"""A request has one timer, and may wait for several things at once: the earliest of them sets it.

* Its sender's patience, up to the first token: it ends as abandoned.
* A limit of its time in a queue: it ends as timed_out.
* The end of a delay, while it is at no replica (state DELAYED): it goes on.

Where a World has neither limits nor delays there are no rows of this, and patience is the timer itself. What is due at
the same instant happens in the reverse of that order: who is served just in time is served.
"""

# ruff: noqa: ANN001, ANN201
from sim.plane.compiled import jit
from sim.plane.events import cancel_timer
from sim.plane.reactions import set_timer
from sim.plane.tables import DELAYED, FAR, deadline_at, request_at

GO_ON, TIME_OUT, GIVE_UP = range(3)
"""What a timer that went off was for."""


@jit
def arm(p, slot):
    """Set a request's timer to the first of what it waits for."""
    d = deadline_at(p.deadlines, slot)
    due_s = min(d.due_s, d.limit_s, d.patience_s)
    q = request_at(p.requests, slot)
    if due_s == q.timer_s:
        return
    if q.timer_s != FAR:
        cancel_timer(p, slot)
    if due_s != FAR:
        set_timer(p, slot, due_s)


@jit
def be_patient(p, slot, due_s):
    """The sender waits for the first token until `due_s`."""
    if p.has_deadlines == 0:
        set_timer(p, slot, due_s)
        return
    deadline_at(p.deadlines, slot).patience_s = due_s
    arm(p, slot)


@jit
def end_patience(p, slot):
    """The sender has the first token: patience is not tried any more."""
    if p.has_deadlines == 1:
        deadline_at(p.deadlines, slot).patience_s = FAR
        arm(p, slot)
    elif request_at(p.requests, slot).timer_s != FAR:
        cancel_timer(p, slot)


@jit
def limit_queue(p, slot, due_s):
    """Who is still in a queue at `due_s` ends."""
    deadline_at(p.deadlines, slot).limit_s = due_s
    arm(p, slot)


@jit
def lift_queue_limit(p, slot):
    """It is out of the queue."""
    deadline_at(p.deadlines, slot).limit_s = FAR
    arm(p, slot)


@jit
def delay(p, slot, due_s):
    """A request is at no replica until `due_s`; then it goes on."""
    request_at(p.requests, slot).state = DELAYED
    deadline_at(p.deadlines, slot).due_s = due_s
    arm(p, slot)


@jit
def forget_deadlines(p, slot):
    """A request has ended: it waits for nothing."""
    if p.has_deadlines == 1:
        d = deadline_at(p.deadlines, slot)
        d.due_s = d.limit_s = d.patience_s = FAR
    if request_at(p.requests, slot).timer_s != FAR:
        cancel_timer(p, slot)


@jit
def what_is_due(p, slot, now):
    """What a timer that went off was for, which is thereby over; the timer is set to what comes next."""
    if p.has_deadlines == 0:
        return GIVE_UP
    d = deadline_at(p.deadlines, slot)
    due = GIVE_UP
    if d.due_s <= now:
        d.due_s = FAR
        due = GO_ON
    elif d.limit_s <= now:
        d.limit_s = FAR
        due = TIME_OUT
    else:
        d.patience_s = FAR
    arm(p, slot)
    return due
