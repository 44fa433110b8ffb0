"""The log of steps: what every schedule did, row by row, for whoever wants to compare or to draw it.

Off by default. Rows are written in order; a decode run that is taken in one leap writes its first step whole and of
the others only what cannot be derived from it (INNER). Steps are numbered with those in which decodes pause. All times
are absolute [s].

==========  ======================================================================================
kind        t_s, a, b, c
==========  ======================================================================================
ADMIT       time of the schedule; serial, cached tokens, 1 if resumed. Before the STEP it belongs to
PREEMPT     time of the schedule; serial. Before the STEP it belongs to, or the next there is
STEP        time of the schedule; number of the step, num_running, num_waiting after it
STATE       start of the step; free blocks after the schedule, distinct hashes then
ENTRY       time of the schedule; serial, tokens computed, tokens computed before, in order of the schedule
END         end of the step; number of the step
INNER       end of a later step of a leap; number, free blocks after its schedule, distinct hashes then
FINISH      end of a step; serial of a request that it ended
DONE        end of a step; number of the step, free blocks after its output
==========  ======================================================================================
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.cache import num_free, num_indexed
from sim.plane.compiled import jit
from sim.plane.decoding import time_at
from sim.plane.sequence import scheduled
from sim.plane.tables import DECODING, log_at, request_at

ADMIT, PREEMPT, STEP, STATE, ENTRY, END, INNER, FINISH, DONE = range(9)
LOGGED_LEAP = 4096
"""Longest leap while the log is on [steps]."""


@jit
def write(p, s, kind, t_s, a, b, c):
    """Append a row."""
    row = log_at(p.log, p.num_log)
    p.num_log += 1
    row.kind, row.replica, row.t_s = kind, s.number, t_s
    row.a, row.b, row.c = a, b, c


@jit
def log_admission(p, s, q, cached, now):
    """A request was admitted."""
    if p.logging == 1:
        write(p, s, ADMIT, now, q.serial, cached, np.int64(q.num_preemptions > 0))


@jit
def log_preemption(p, s, q, now):
    """A request was preempted."""
    if p.logging == 1:
        write(p, s, PREEMPT, now, q.serial, 0, 0)


@jit
def log_step(p, pool, s, now, begin_s):
    """Step `s.step` was formed now and begins at `begin_s`."""
    if p.logging == 0:
        return
    write(p, s, STEP, now, s.step + s.num_pauses, s.num_running, s.num_waiting)
    write(p, s, STATE, begin_s, num_free(s), num_indexed(p, pool, s), 0)
    slot = s.run_head
    while slot >= 0:
        q = request_at(p.requests, slot)
        if q.state == DECODING and s.paused == 0:
            write(p, s, ENTRY, now, q.serial, 1, scheduled(s, q) - 1)
        elif q.chunk > 0:
            write(p, s, ENTRY, now, q.serial, q.chunk, q.computed - q.chunk)
        slot = q.next


@jit
def log_end(p, s, step, end_s):
    """A step's end is known."""
    if p.logging == 1:
        write(p, s, END, end_s, step + s.num_pauses, 0, 0)


@jit
def log_inner(p, pool, s):
    """Step `s.step` of a leap, not its first, has its blocks."""
    write(p, s, INNER, time_at(s, s.step + 1), s.step + s.num_pauses, num_free(s), num_indexed(p, pool, s))


@jit
def log_finish(p, s, q, now):
    """A request has finished."""
    if p.logging == 1:
        write(p, s, FINISH, now, q.serial, 0, 0)


@jit
def log_done(p, s, step, now):
    """A step's output was processed."""
    if p.logging == 1:
        write(p, s, DONE, now, step + s.num_pauses, num_free(s), 0)
