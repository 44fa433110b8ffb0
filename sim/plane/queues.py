"""Who waits at a replica and who runs: linked lists through the request rows, and a heap of ends.

`waiting` is one list a priority level (one level under FCFS). `running` is one list in order of admission; its
decoding members are also in a heap keyed by the step that ends them, so a step finds who ends without a scan.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.compiled import jit
from sim.plane.decoding import gauge
from sim.plane.tables import LOADING, WAITING, i4_at, i8_at, request_at, wait_at

SLOT_BITS = 26
"""An entry of the heap of ends is (end step, request row): 2**26 rows, 2**37 steps of a replica (43 years of 10 ms)."""
SLOT_MASK = (1 << SLOT_BITS) - 1


# ------------------------------------------------------------------ waiting


@jit
def comes_before(a, b):
    """Order of two waiting requests of one priority level: by arrival, then serial."""
    return a.arrived_s < b.arrived_s or (a.arrived_s == b.arrived_s and a.serial < b.serial)


@jit
def insert_after(p, queue, slot, before):
    """Put a request behind `before` in a waiting list (-1: at the front)."""
    q = request_at(p.requests, slot)
    q.prev = before
    if before >= 0:
        q.next = request_at(p.requests, before).next
        request_at(p.requests, before).next = slot
    else:
        q.next = queue.head
        queue.head = slot
    if q.next >= 0:
        request_at(p.requests, q.next).prev = slot
    else:
        queue.tail = slot


@jit
def join_waiting(p, pool, s, slot, at_front, now):
    """Queue a request at its replica: in order of joining (or in front), or by priority, arrival and serial.

    Returns whether it is now the first that can be admitted.
    """
    gauge(s, now)
    q = request_at(p.requests, slot)
    q.state = WAITING
    level = q.level if pool.by_priority == 1 else 0
    queue = wait_at(p.waits, s.wait_base + level)
    before = queue.tail
    if pool.by_priority == 1:
        while before >= 0 and comes_before(q, request_at(p.requests, before)):
            before = request_at(p.requests, before).prev
    elif at_front:
        before = -1
    insert_after(p, queue, slot, before)
    s.num_waiting += 1
    pool.num_waiting += 1
    if pool.num_waiting > pool.queue_alarm:
        p.wake = 1
    return first_ready(p, pool, s) == slot


@jit
def is_away(q):
    """Whether a request in line cannot be admitted yet."""
    return q.state == LOADING or q.in_flight > 0


@jit
def first_ready(p, pool, s):
    """First in line of those that can be admitted, or -1.

    Whoever loads is stepped over, and who was preempted until the last step that carried it has ended (in a pool that
    goes step by step).
    """
    for level in range(pool.num_levels):
        slot = wait_at(p.waits, s.wait_base + level).head
        while slot >= 0 and is_away(request_at(p.requests, slot)):
            slot = request_at(p.requests, slot).next
        if slot >= 0:
            return slot
    return -1


@jit
def next_holder(p, pool, s, slot):
    """Of those in line that hold blocks the one after `slot` (-1: the first), or -1."""
    if pool.loads == 0:
        return np.int64(-1)
    level, at = np.int64(0), np.int64(-1)
    if slot >= 0:
        q = request_at(p.requests, slot)
        level, at = np.int64(q.level if pool.by_priority == 1 else 0), np.int64(q.next)
    else:
        at = np.int64(wait_at(p.waits, s.wait_base).head)
    while True:
        while at >= 0 and request_at(p.requests, at).num_blocks == 0:
            at = np.int64(request_at(p.requests, at).next)
        level += 1
        if at >= 0 or level >= pool.num_levels:
            return at
        at = np.int64(wait_at(p.waits, s.wait_base + level).head)


@jit
def leave_waiting(p, pool, s, slot, now):
    """Take a request out of the queue."""
    gauge(s, now)
    q = request_at(p.requests, slot)
    queue = wait_at(p.waits, s.wait_base + (q.level if pool.by_priority == 1 else 0))
    if q.prev >= 0:
        request_at(p.requests, q.prev).next = q.next
    else:
        queue.head = q.next
    if q.next >= 0:
        request_at(p.requests, q.next).prev = q.prev
    else:
        queue.tail = q.prev
    s.num_waiting -= 1
    pool.num_waiting -= 1
    pool.min_waiting = min(pool.min_waiting, pool.num_waiting)


# ------------------------------------------------------------------ running


@jit
def join_running(p, s, slot, now):
    """Append a request to `running`."""
    gauge(s, now)
    q = request_at(p.requests, slot)
    q.prev = s.run_tail
    q.next = -1
    if s.run_tail >= 0:
        request_at(p.requests, s.run_tail).next = slot
    else:
        s.run_head = slot
    s.run_tail = slot
    s.num_running += 1
    q.admitted = s.admissions
    s.admissions += 1


@jit
def leave_running(p, s, slot, now):
    """Take a request out of `running`."""
    gauge(s, now)
    q = request_at(p.requests, slot)
    if q.prev >= 0:
        request_at(p.requests, q.prev).next = q.next
    else:
        s.run_head = q.next
    if q.next >= 0:
        request_at(p.requests, q.next).prev = q.prev
    else:
        s.run_tail = q.prev
    s.num_running -= 1


# ------------------------------------------------------------------ the heap of ends


@jit
def sift_end_up(heap, base, i):
    """Move entry i of the heap at `base` up to its place."""
    key = i8_at(heap, base + i).v
    while i > 0:
        parent = (i - 1) >> 1
        if i8_at(heap, base + parent).v <= key:
            break
        i8_at(heap, base + i).v = i8_at(heap, base + parent).v
        i = parent
    i8_at(heap, base + i).v = key


@jit
def sift_end_down(heap, base, i, n):
    """Move entry i of the heap of n at `base` down to its place."""
    key = i8_at(heap, base + i).v
    while True:
        c = 2 * i + 1
        if c >= n:
            break
        if c + 1 < n and i8_at(heap, base + c + 1).v < i8_at(heap, base + c).v:
            c += 1
        if i8_at(heap, base + c).v >= key:
            break
        i8_at(heap, base + i).v = i8_at(heap, base + c).v
        i = c
    i8_at(heap, base + i).v = key


@jit
def push_end(p, s, slot, end_step):
    """Note the step that ends a decoding sequence; `num_decoding` does not count it yet."""
    i8_at(p.ends, s.base + s.num_decoding).v = (end_step << SLOT_BITS) | slot
    sift_end_up(p.ends, s.base, s.num_decoding)


@jit
def first_end(p, s):
    """Step at which the next decoding sequence ends."""
    return i8_at(p.ends, s.base).v >> SLOT_BITS


@jit
def remove_end(p, s, i):
    """Take entry i out of the heap; `num_decoding` still counts it."""
    last = s.num_decoding - 1
    if i != last:
        i8_at(p.ends, s.base + i).v = i8_at(p.ends, s.base + last).v
        sift_end_down(p.ends, s.base, i, last)
        sift_end_up(p.ends, s.base, i)


@jit
def find_end(p, s, slot):
    """Where a decoding sequence is in the heap: a scan, for the few that are preempted or aborted."""
    for i in range(s.num_decoding):
        if i8_at(p.ends, s.base + i).v & SLOT_MASK == slot:
            return i
    return -1


@jit
def pop_ended(p, s):
    """Take all sequences that end by the present step off the heap, into `ended` in order of admission.

    Returns how many; each is already gone from `num_decoding`, the caller takes it out of all else.
    """
    n = 0
    while s.num_decoding > 0 and first_end(p, s) <= s.step:
        slot = i8_at(p.ends, s.base).v & SLOT_MASK
        remove_end(p, s, 0)
        s.num_decoding -= 1
        admitted = request_at(p.requests, slot).admitted
        i = n
        while i > 0 and request_at(p.requests, i4_at(p.ended, i - 1).v).admitted > admitted:
            i4_at(p.ended, i).v = i4_at(p.ended, i - 1).v
            i -= 1
        i4_at(p.ended, i).v = slot
        n += 1
    return n
