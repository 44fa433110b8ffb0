"""A decode run: the steps between two changes of a batch, as one formula from one anchor.

While nothing joins or leaves, every sequence grows by one token a step, so the time of step j after the anchor is
affine in j and the end of the j-th is quadratic. Stepping and leaping evaluate the same expression on the same
operands, so they agree to the last bit. Everything a run owes (busy time, cost integrals, energy, KV gauge) is
settled once, when the run is closed.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.metrics.histogram import BIN_OFFSET, BIN_SHIFT, NUM_BINS
from sim.plane.companion_rows import reader_at
from sim.plane.compiled import jit
from sim.plane.health import slowness, times_of
from sim.plane.tables import DECODE, DECODING, f8_at, flight_at, i4_at, i8_at, request_at

SHIFT, OFFSET, BINS = np.int64(BIN_SHIFT), np.int64(BIN_OFFSET), np.int64(NUM_BINS)


@jit
def bin_of(x):
    """Histogram bin of a time: `sim.metrics.histogram.bin_of` for one value."""
    return min(max((np.float64(x).view(np.int64) >> SHIFT) - OFFSET, np.int64(0)), BINS - 1)


@jit
def time_at(s, step):
    """End of a decode step: THE expression, in both modes."""
    j = step - s.step0
    return s.t0_s + (j * s.d0_s + s.slope_s * (0.5 * (j * (j - 1))))


@jit
def steps_by(p, s, r, now):
    """Number of the last step of the run that has ended when the event at `now` is handled.

    A step that ends exactly now has ended only if its event would have come before: that is so if a step end of a
    higher replica (`cursor`) was handled in this instant.
    """
    ended, last = s.processed, s.target - s.depth
    if p.has_marks == 1:
        ended = max(ended, reader_at(p.readers, r).passed)
    if s.doing != DECODE or (last - ended <= 1 and time_at(s, last) > now):
        return ended
    d = now - s.t0_s
    b = s.d0_s - 0.5 * s.slope_s
    root = b + np.sqrt(b * b + 2.0 * s.slope_s * d)
    m = last
    if root > 0.0:
        m = s.step0 + np.int64(min(2.0 * d / root, 1e15))
    m = min(max(m, ended), last)
    inclusive = r < p.cursor
    while m < last and (time_at(s, m + 1) < now or (inclusive and time_at(s, m + 1) == now)):
        m += 1
    while m > ended and not (time_at(s, m) < now or (inclusive and time_at(s, m) == now)):
        m -= 1
    return m


@jit
def add_itl(p, counts, base, gap_bin, num_steps):
    """Count `num_steps` gaps of one bin for each of the sequences that `counts` has from `base` on, by group."""
    for g in range(p.num_itl):
        n = i4_at(counts, base + g).v
        if n > 0:
            i8_at(p.itl, g * BINS + gap_bin).v += n * num_steps


@jit
def add_gap(p, q, gap_s):
    """Count one gap of one request."""
    i8_at(p.itl, q.itl_group * BINS + bin_of(gap_s)).v += 1


@jit
def count_pauses(p, s):
    """Count the gaps of a run's first step where it comes after a pause: each sequence has its own."""
    end_s = time_at(s, s.step0 + 1)
    slot = s.run_head
    while slot >= 0:
        q = request_at(p.requests, slot)
        if q.state == DECODING:
            add_gap(p, q, end_s - max(q.last_token_s, s.last_decode_s))
        slot = q.next
    s.counted = s.step0 + 1
    s.resumed = 0


@jit
def count_run(p, s, upto):
    """Count the gaps of the run's steps not counted yet, up to step `upto`: halve until one bin holds the rest."""
    if s.resumed == 1 and upto > s.step0:
        count_pauses(p, s)
    j = s.counted - s.step0
    end = upto - s.step0
    while j < end:
        low = bin_of(s.d0_s + s.slope_s * j)
        k = end
        while k - j > 1 and bin_of(s.d0_s + s.slope_s * (k - 1)) != low:
            k = (j + k + 1) >> 1
        add_itl(p, p.counts, s.count_base, low, k - j)
        j = k
    s.counted = upto


@jit
def piece_of(p, times, context):
    """Which affine piece holds a total context."""
    k = 0
    while k < times.num_pieces - 1 and context >= f8_at(p.curves, times.knot_tokens + k).v:
        k += 1
    return k


@jit
def open_run(p, pool, s, now, begin_s):
    """Anchor a decode run, formed now, that begins at `begin_s`: with its first step, number `s.step`."""
    n = s.num_decoding
    times, slow = times_of(p, pool, s), slowness(p, s)
    s.piece = piece_of(p, times, s.context)
    at = n * times.num_pieces + s.piece
    s.context_s = f8_at(p.curves, times.decode_slope_s + at).v * slow
    fixed_s = f8_at(p.curves, times.decode_batch_s + n).v + f8_at(p.curves, times.sample_s + n).v
    fixed_s += f8_at(p.curves, times.decode_offset_s + at).v
    fixed_s *= slow
    s.d0_s = fixed_s + s.context_s * s.context
    s.slope_s = s.context_s * n
    s.share_s = fixed_s / n
    s.t0_s = begin_s
    s.step0 = s.step
    s.counted = s.step
    s.anchored = 1
    gauge_kv(pool, s, now)


@jit
def flight_of(p, pool, s, step):
    """The single step of that number, in flight."""
    return flight_at(p.flights, s.flight_base + (step & p.ring))


@jit
def flight_counts_base(p, s, step):
    """Where the copied counts of a step in flight begin."""
    return (s.flight_base + (step & p.ring)) * p.num_itl


@jit
def copy_counts(p, s, flight, step):
    """Keep the groups of a step's decoding sequences, which may change before it has ended."""
    flight.copied = 1
    base = flight_counts_base(p, s, step)
    for g in range(p.num_itl):
        i4_at(p.flight_counts, base + g).v = i4_at(p.counts, s.count_base + g).v


@jit
def spent_j(p, pool, s, num_tokens, num_steps, spent_s):
    """Energy of so many steps (a part of one counts as a part) that take `spent_s` together."""
    times = times_of(p, pool, s)
    excess_j = f8_at(p.curves, times.excess_j + num_tokens).v * slowness(p, s)
    return times.attention_w * spent_s + num_steps * excess_j


@jit
def num_steps_in(s, spent_s):
    """Number of steps of the run that begin within `spent_s` of its start, a part of one counted as a part."""
    b = s.d0_s - 0.5 * s.slope_s
    root = b + np.sqrt(b * b + 2.0 * s.slope_s * spent_s)
    return 2.0 * spent_s / root if root > 0.0 else 0.0


@jit
def book(p, pool, s, num_tokens, num_steps, spent_s, end_s):
    """Book busy time that ends at `end_s`, and the energy of its steps."""
    energy_j = spent_j(p, pool, s, num_tokens, num_steps, spent_s)
    s.busy_s += spent_s
    s.energy_j += energy_j
    s.booked_s = end_s
    s.booked_w = energy_j / spent_s if spent_s > 0.0 else 0.0


@jit
def close_run(p, pool, s):
    """Settle what the run owes up to the last step scheduled, and drop its anchor. The batch is still the run's.

    If that step is in flight (asynchronous scheduling) it goes on as a single step.
    """
    if s.anchored == 0:
        return
    s.anchored = 0
    k = s.step - s.step0
    if k == 0:
        return
    end_s = time_at(s, s.step)
    if s.step - s.processed == 1:
        flight = flight_of(p, pool, s, s.processed)
        flight.end_s = end_s
        flight.dt_s = s.d0_s + s.slope_s * (s.processed - s.step0)
        flight.num_decodes = s.num_decoding
        copy_counts(p, s, flight, s.processed)
    book(p, pool, s, s.num_decoding, float(k), end_s - s.t0_s, end_s)
    s.per_seq_s += s.share_s * k
    s.per_context_s += s.context_s * k
    s.per_context_step_s += s.context_s * (k * (s.step0 - s.origin) + 0.5 * (k * (k - 1)))
    gauge_kv(pool, s, min(end_s, p.now_s))


@jit
def used_blocks(pool, s):
    """Blocks held by running requests."""
    return pool.usable - s.free - s.evictable


@jit
def gauge_kv(pool, s, now):
    """Bring the KV gauge to `now`: between two marks of a run, use is taken as linear."""
    used = np.float64(used_blocks(pool, s))
    s.kv_s += 0.5 * (s.kv_blocks + used) * (now - s.kv_at_s)
    s.kv_blocks = used
    s.kv_at_s = now


@jit
def gauge(s, now):
    """Bring the queue gauges to `now`; called before a count changes."""
    gone_s = now - s.gauge_s
    s.running_s += s.num_running * gone_s
    s.waiting_s += s.num_waiting * gone_s
    s.gauge_s = now
