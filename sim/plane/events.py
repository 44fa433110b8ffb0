"""The plane's own event queues: the outbox, one slot per link and replica (a winner tree), and the timers.

`handle` only writes the outbox. The compiled clock moves its entries into the tree and the timers below; the
SimPy clock turns them into SimPy events instead. Both play the same total order (time, kind, key).
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.compiled import jit
from sim.plane.tables import FAR, STEP, TIMER, TRANSFER, due_at, i4_at, node_at, out_at, request_at

WHEEL_SIZE = 4096
WHEEL_WIDTH_S = 1.0
"""Timers up to 4096 s ahead wait unsorted in one-second buckets; later ones wait in the furthest bucket."""

IN_HEAP, NOT_QUEUED = -1, -2
"""`wheel` of a request whose timer is among the due ones, or that has none queued."""


@jit
def move_to(p, now):
    """Set the plane's time. `cursor` is the highest replica whose event of this very instant was handled."""
    if now != p.now_s:
        p.now_s = now
        p.cursor = -1


@jit
def emit(p, t_s, kind, index, key):
    """Put an event that follows into the outbox."""
    entry = out_at(p.out, p.num_out)
    p.num_out += 1
    entry.t_s = t_s
    entry.kind = kind
    entry.id = index
    entry.key = key


# ------------------------------------------------------------------ links, then replicas: a winner tree, one slot each


@jit
def set_slot(p, slot, t_s):
    """The event of a slot is at `t_s`: replay its path to the root. Ties go to the lower slot."""
    n = p.tree_size + slot
    node_at(p.nodes, n).t_s = t_s
    while n > 1:
        n >>= 1
        left = node_at(p.nodes, 2 * n)
        right = node_at(p.nodes, 2 * n + 1)
        node = node_at(p.nodes, n)
        if right.t_s < left.t_s:
            node.t_s = right.t_s
            node.id = right.id
        else:
            node.t_s = left.t_s
            node.id = left.id


# ------------------------------------------------------------------ timers: buckets far ahead, a heap for the near


@jit
def sooner(a, b):
    """Whether due entry a comes before b: by time, then by the request's serial."""
    return a.t_s < b.t_s or (a.t_s == b.t_s and a.key < b.key)


@jit
def copy_due(to, source):
    """Copy one due entry."""
    to.t_s = source.t_s
    to.key = source.key
    to.slot = source.slot


@jit
def sift_up(p, i):
    """Restore the heap after row i became sooner. Row 0 is scratch; the heap is rows 1 to num_due."""
    held = due_at(p.due, 0)
    copy_due(held, due_at(p.due, i))
    while i > 1 and sooner(held, due_at(p.due, i >> 1)):
        copy_due(due_at(p.due, i), due_at(p.due, i >> 1))
        i >>= 1
    copy_due(due_at(p.due, i), held)


@jit
def sift_down(p, i):
    """Restore the heap after row i became later."""
    held = due_at(p.due, 0)
    copy_due(held, due_at(p.due, i))
    while 2 * i <= p.num_due:
        c = 2 * i
        if c < p.num_due and sooner(due_at(p.due, c + 1), due_at(p.due, c)):
            c += 1
        if not sooner(due_at(p.due, c), held):
            break
        copy_due(due_at(p.due, i), due_at(p.due, c))
        i = c
    copy_due(due_at(p.due, i), held)


@jit
def is_live(p, entry):
    """Whether the request still waits for this timer (it may have been cancelled, or its row used again)."""
    q = request_at(p.requests, entry.slot)
    return q.wheel == IN_HEAP and q.serial == entry.key and q.timer_s == entry.t_s


@jit
def drop_dead(p):
    """Throw cancelled timers out of the heap: at most one entry a request stays."""
    kept = 0
    for i in range(1, p.num_due + 1):
        entry = due_at(p.due, i)
        if is_live(p, entry):
            kept += 1
            copy_due(due_at(p.due, kept), entry)
    p.num_due = kept
    for i in range(kept >> 1, 0, -1):
        sift_down(p, i)


@jit
def push_due(p, slot):
    """Put a request's timer among the due ones."""
    if p.num_due + 1 >= p.due_size:
        drop_dead(p)
    q = request_at(p.requests, slot)
    q.wheel = IN_HEAP
    p.num_due += 1
    entry = due_at(p.due, p.num_due)
    entry.t_s = q.timer_s
    entry.key = q.serial
    entry.slot = slot
    sift_up(p, p.num_due)


@jit
def queue_timer(p, slot):
    """Queue a request's timer: in its second's bucket, or among the due if that second has begun."""
    q = request_at(p.requests, slot)
    second = np.int64(np.floor(q.timer_s / WHEEL_WIDTH_S))
    if second <= p.wheel_at:
        push_due(p, slot)
        return
    second = min(second, p.wheel_at + WHEEL_SIZE - 1)
    head = i4_at(p.wheel, second % WHEEL_SIZE)
    q.wheel = second % WHEEL_SIZE
    q.bucket_prev = -1
    q.bucket_next = head.v
    if head.v >= 0:
        request_at(p.requests, head.v).bucket_prev = slot
    head.v = slot
    p.num_wheel += 1


@jit
def cancel_timer(p, slot):
    """Forget a request's timer. Out of a bucket it goes at once; in the heap it is dropped when it comes up."""
    q = request_at(p.requests, slot)
    if q.wheel >= 0:
        if q.bucket_prev >= 0:
            request_at(p.requests, q.bucket_prev).bucket_next = q.bucket_next
        else:
            i4_at(p.wheel, q.wheel).v = q.bucket_next
        if q.bucket_next >= 0:
            request_at(p.requests, q.bucket_next).bucket_prev = q.bucket_prev
        p.num_wheel -= 1
    q.wheel = NOT_QUEUED
    q.timer_s = FAR


@jit
def next_timer(p, bound_s):
    """Time of the next timer, which is then row 1 of the heap; FAR if there is none up to `bound_s`."""
    while True:
        while p.num_due > 0:
            if is_live(p, due_at(p.due, 1)):
                return due_at(p.due, 1).t_s
            pop_due(p)
        if p.num_wheel == 0 or (p.wheel_at + 1) * WHEEL_WIDTH_S > bound_s:
            return FAR
        p.wheel_at += 1
        head = i4_at(p.wheel, p.wheel_at % WHEEL_SIZE)
        slot = head.v
        head.v = -1
        while slot >= 0:
            after = request_at(p.requests, slot).bucket_next
            p.num_wheel -= 1
            queue_timer(p, slot)
            slot = after


@jit
def pop_due(p):
    """Take the first entry off the heap."""
    copy_due(due_at(p.due, 1), due_at(p.due, p.num_due))
    p.num_due -= 1
    if p.num_due > 1:
        sift_down(p, 1)


@jit
def file_outbox(p):
    """The compiled clock's half of `handle`: move the outbox into the tree and the timers."""
    for x in range(p.num_out):
        entry = out_at(p.out, x)
        if entry.kind == STEP:
            set_slot(p, p.num_links + entry.id, entry.t_s)
        elif entry.kind == TIMER:
            q = request_at(p.requests, entry.id)
            if q.serial == entry.key and q.timer_s == entry.t_s and q.wheel == NOT_QUEUED:
                queue_timer(p, entry.id)
        elif entry.kind == TRANSFER:
            set_slot(p, entry.id, entry.t_s)
    p.num_out = 0
