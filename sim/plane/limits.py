"""Limits of use: token buckets of requests, input and output tokens, and messages in a window.

1. A request may have two meters: that of its tier or API client (its `bucket`), and its user's own. It is let in if
   both have what it takes, and only then is anything taken.
2. A bucket that holds `level` at one time holds min(capacity, level + rate x time) later, so what it lets in during
   any time T costs at most capacity + rate x T (a token bucket; Turner, IEEE Comm. Magazine 24(10), 1986).
3. A request takes one from the bucket of requests, its prompt from that of input tokens, and from that of output
   tokens what it is expected to be answered, or the longest answer that it may have. How long the answer will be
   nobody knows. When it has ended, the difference to the tokens that were emitted is given back or taken (the bucket
   may owe some then); where cached input does not count, so are the tokens that were read from the cache.
4. A window of messages begins with the first that is let in, and counts those let in. Who has spent it goes by the
   path to fall back on (a smaller model's), uncounted, or is limited.
5. A user's meter that is full, and whose window is over, is as good as none: its row may be taken away at any time
   without a trace in the results. So there are rows for those who asked lately, however many users there are.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.metrics.records import FELL_BACK
from sim.plane.compiled import jit
from sim.plane.promise_rows import limit_at, meter_at
from sim.plane.promises import CHARGE_MOST
from sim.plane.tables import extra_at, f8_at, i4_at, plane_at
from sim.plane.text import mix

GONE = np.int64(0)
"""The mark of a row that is nobody's."""


# ------------------------------------------------------------------ one meter


@jit
def refill(limit, meter, now):
    """Bring the levels of a meter's buckets to `now`."""
    dt_s = now - meter.at_s
    meter.level = min(limit.capacity, meter.level + dt_s * limit.rate_per_s)
    meter.input_level = min(limit.input_capacity, meter.input_level + dt_s * limit.input_per_s)
    meter.output_level = min(limit.output_capacity, meter.output_level + dt_s * limit.output_per_s)
    meter.at_s = now


@jit
def fill_up(limit, meter, now):
    """A meter that nobody has used."""
    meter.at_s = now
    meter.level = limit.capacity
    meter.input_level = limit.input_capacity
    meter.output_level = limit.output_capacity
    meter.messages = 0
    meter.began_s = now


@jit
def expected_tokens(p, q, kind):
    """Output tokens that a request of its class and language is expected to have."""
    return np.int64(f8_at(p.curves, kind.expected + min(q.language, kind.last_expected)).v)


@jit
def charge_of(p, limit, q, kind):
    """Output tokens that a request is charged when it is let in."""
    return kind.max_output if limit.charges == CHARGE_MOST else expected_tokens(p, q, kind)


@jit
def has(p, limit, meter, q, kind, now):
    """Whether a meter has what a request takes."""
    refill(limit, meter, now)
    if meter.level < 1.0:
        return False
    if p.has_charges == 0:
        return True
    return meter.input_level >= q.full_prompt and meter.output_level >= charge_of(p, limit, q, kind)


@jit
def take(p, limit, meter, q, kind):
    """A request that is let in pays."""
    meter.level -= 1.0
    if p.has_charges == 1:
        meter.input_level -= q.full_prompt
        meter.output_level -= charge_of(p, limit, q, kind)


@jit
def correct(p, limit, meter, q, kind, emitted, now):
    """A request that had paid has ended: settle what it was charged with what it used."""
    refill(limit, meter, now)
    meter.output_level = min(limit.output_capacity, meter.output_level + (charge_of(p, limit, q, kind) - emitted))
    if limit.counts_cached == 0:
        meter.input_level = min(limit.input_capacity, meter.input_level + q.cached)


@jit
def has_messages(limit, meter, now):
    """Whether a user has messages left in the window."""
    if now >= meter.began_s + limit.window_s:
        meter.messages = 0
    return limit.messages == 0 or meter.messages < limit.messages


# ------------------------------------------------------------------ a request


@jit
def is_let_in(p, q, slot, kind, now):
    """Whether a request keeps all limits; it pays, and may be sent by another path."""
    counted, own = False, np.int64(-1)
    if kind.user_limit >= 0:
        limit = limit_at(p.limits, kind.user_limit)
        own = meter_of(p, q.user, kind.user_limit, now)
        meter = meter_at(p.meters, own)
        counted = has_messages(limit, meter, now)
        if (not counted and limit.fall_back < 0) or not has(p, limit, meter, q, kind, now):
            return False
    if q.bucket >= 0:
        shared = meter_at(p.buckets, q.bucket)
        shared_limit = limit_at(p.limits, shared.limit)
        if not has(p, shared_limit, shared, q, kind, now):
            return False
        take(p, shared_limit, shared, q, kind)
    if own >= 0:
        limit = limit_at(p.limits, kind.user_limit)
        meter = meter_at(p.meters, own)
        take(p, limit, meter, q, kind)
        if not counted:
            q.visit = limit.fall_back
            extra_at(p.extras, slot).flags |= FELL_BACK
        elif limit.messages > 0:
            if meter.messages == 0:
                meter.began_s = now
            meter.messages += 1
    if p.has_charges == 1:
        i4_at(p.charges, slot).v = 1
    return True


@jit
def settle_limits(p, q, slot, kind, emitted):
    """A request has ended with so many tokens: correct what it paid, if it did."""
    charged = i4_at(p.charges, slot)
    if charged.v == 0:
        return
    charged.v = 0
    if q.bucket >= 0:
        meter = meter_at(p.buckets, q.bucket)
        correct(p, limit_at(p.limits, meter.limit), meter, q, kind, emitted, p.now_s)
    if kind.user_limit >= 0:
        meter = meter_at(p.meters, meter_of(p, q.user, kind.user_limit, p.now_s))
        correct(p, limit_at(p.limits, kind.user_limit), meter, q, kind, emitted, p.now_s)


# ------------------------------------------------------------------ users' meters: open addressing


@jit
def place_of(meters, size, owner):
    """Row of an owner's meter, or the free row where it would be."""
    i = np.int64(mix(np.uint64(owner)) & np.uint64(size - 1))
    while meter_at(meters, i).owner not in (GONE, owner):
        i = (i + 1) & (size - 1)
    return i


@jit
def meter_of(p, user, number, now):
    """Row of a user's own meter; made, and full, where there is none."""
    owner = user * p.num_user_limits + number + 1
    i = place_of(p.meters, p.meter_size, owner)
    meter = meter_at(p.meters, i)
    if meter.owner == GONE:
        meter.owner = owner
        meter.limit = number
        fill_up(limit_at(p.limits, number), meter, now)
        p.num_meters += 1
    return i


@jit
def is_at_rest(p, meter, now):
    """Whether a meter is full, and its window over."""
    limit = limit_at(p.limits, meter.limit)
    dt_s = now - meter.at_s
    return (
        meter.level + dt_s * limit.rate_per_s >= limit.capacity
        and meter.input_level + dt_s * limit.input_per_s >= limit.input_capacity
        and meter.output_level + dt_s * limit.output_per_s >= limit.output_capacity
        and (meter.messages == 0 or now >= meter.began_s + limit.window_s)
    )


@jit
def count_meters(address):
    """How many users' meters are not at rest."""
    p = plane_at(address, 0)
    n = 0
    for i in range(p.meter_size):
        meter = meter_at(p.meters, i)
        if meter.owner != GONE and not is_at_rest(p, meter, p.now_s):
            n += 1
    return n


@jit
def move_meters(address, old, old_size):
    """Copy the meters of an old table that are not at rest into the present one, which is empty."""
    p = plane_at(address, 0)
    p.num_meters = 0
    for i in range(old_size):
        source = meter_at(old, i)
        if source.owner == GONE or is_at_rest(p, source, p.now_s):
            continue
        meter = meter_at(p.meters, place_of(p.meters, p.meter_size, source.owner))
        meter.owner = source.owner
        meter.at_s = source.at_s
        meter.level = source.level
        meter.input_level = source.input_level
        meter.output_level = source.output_level
        meter.began_s = source.began_s
        meter.limit = source.limit
        meter.messages = source.messages
        p.num_meters += 1
