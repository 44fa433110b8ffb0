"""Who is in a replica's batch: the totals of its decoding sequences, and the few that run apart from them.

A decoding sequence gets a token in every step up to the one that ends it, so all of them together are a few totals:
their number, context, residues of blocks, counts by group. What a step owes to one request beyond that (the first token
of a completed prompt, a last token, the token of one preempted meanwhile) is an output of that step.
"""

# ruff: noqa: ANN001, ANN201
from sim.plane.cache import close_stream, num_free, open_stream, release
from sim.plane.compiled import jit
from sim.plane.decoding import close_run, flight_counts_base, flight_of
from sim.plane.host_tier import write
from sim.plane.marks import push_mark, remove_mark
from sim.plane.queues import find_end, first_end, leave_running, pop_ended, push_end, remove_end
from sim.plane.sequence import blocks_for, delivered, held_blocks, live_blocks, residue_of, scheduled
from sim.plane.tables import APPEND, DECODING, LEAVING, OWN_GAP, PREFILLING, i4_at, loader_at, request_at

INTEGRAL_STEPS = 1 << 16


# ------------------------------------------------------------------ outputs of steps in flight


@jit
def outputs_base(p, pool, s, step):
    """Where the outputs of a step in flight begin."""
    return (p.ring + 1) * s.base + (step & p.ring) * (pool.max_seqs + 1)


@jit
def owe_output(p, pool, s, step, slot, marks):
    """Note an output that a step owes to a request."""
    flight = flight_of(p, pool, s, step)
    i4_at(p.outputs, outputs_base(p, pool, s, step) + flight.num_outputs).v = (slot << 2) | marks
    flight.num_outputs += 1


@jit
def forget_outputs(p, pool, s, slot):
    """A request is gone: steps in flight owe it nothing, and give it no token."""
    for step in range(s.processed, s.step):
        flight = flight_of(p, pool, s, step)
        base = outputs_base(p, pool, s, step)
        n = 0
        for x in range(flight.num_outputs):
            item = i4_at(p.outputs, base + x).v
            if item >> 2 != slot:
                i4_at(p.outputs, base + n).v = item
                n += 1
            elif item & OWN_GAP == 0:
                flight.num_decodes -= 1
                counts = flight_counts_base(p, s, step)
                i4_at(p.flight_counts, counts + request_at(p.requests, slot).itl_group).v -= 1
        flight.num_outputs = n


# ------------------------------------------------------------------ what a sequence owes for its decode steps


@jit
def decode_share(s, q):
    """What a decoding sequence owes since its marks were set [s]."""
    return (
        (s.per_seq_s - q.seq_mark_s)
        + q.join_offset * (s.per_context_s - q.context_mark_s)
        + (s.per_context_step_s - q.context_step_mark_s)
    )


@jit
def begin_integrals_anew(p, s):
    """Every 2^16 steps, charge all decoding sequences and start the integrals at zero.

    A share is a difference of sums that grow with the step number: begun anew, they keep their digits however long the
    run. Called where no run is open.
    """
    if s.step - s.origin < INTEGRAL_STEPS:
        return
    slot = s.run_head
    while slot >= 0:
        q = request_at(p.requests, slot)
        if q.state == DECODING:
            q.cost_s += decode_share(s, q)
            q.join_offset = scheduled(s, q)
            q.seq_mark_s = q.context_mark_s = q.context_step_mark_s = 0.0
        slot = q.next
    s.per_seq_s = s.per_context_s = s.per_context_step_s = 0.0
    s.origin = s.step


# ------------------------------------------------------------------ into the totals and out of them


@jit
def run_apart(s, slot):
    """A running request is apart from the totals from now on."""
    s.num_loose += 1
    s.loose = slot


@jit
def run_along(p, s, slot):
    """A running request is apart no longer; note who is, if that is one."""
    s.num_loose -= 1
    if s.num_loose == 0 or s.loose != slot:
        return
    other = s.run_tail
    while other == slot or request_at(p.requests, other).state != PREFILLING:
        other = request_at(p.requests, other).prev
    s.loose = other


@jit
def start_decoding(p, pool, s, slot):
    """A request whose prompt is complete joins the totals; its first token is out, or under way."""
    close_run(p, pool, s)
    q = request_at(p.requests, slot)
    q.end_step = s.step + (q.output - q.emitted - q.pending)
    run_along(p, s, slot)
    q.state = DECODING
    push_end(p, s, slot, q.end_step)
    if pool.streams == 1:
        push_mark(p, s, slot, q)
    s.num_decoding += 1
    tokens = scheduled(s, q)
    s.context += tokens
    i4_at(p.residues, s.residue_base + residue_of(pool, tokens - 1, s.step)).v += 1
    i4_at(p.counts, s.count_base + q.itl_group).v += 1
    q.join_offset = tokens - (s.step - s.origin)
    q.seq_mark_s = s.per_seq_s
    q.context_mark_s = s.per_context_s
    q.context_step_mark_s = s.per_context_step_s
    open_stream(p, pool, s, slot)


@jit
def leave_totals(p, pool, s, slot):
    """Take a decoding sequence, already off the heap, out of the totals, and charge it for its part of them."""
    q = request_at(p.requests, slot)
    close_stream(p, pool, s, slot, held_blocks(p, pool, s, q), live_blocks(p, pool, s, q))
    tokens = scheduled(s, q)
    done = delivered(s, q)
    s.context -= tokens
    i4_at(p.residues, s.residue_base + residue_of(pool, tokens - 1, s.step)).v -= 1
    i4_at(p.counts, s.count_base + q.itl_group).v -= 1
    q.cost_s += decode_share(s, q)
    q.emitted = done - q.prompt
    q.pending = tokens - done
    q.computed = tokens - 1
    q.state = LEAVING


@jit
def stop_decoding(p, pool, s, slot, now):
    """Take a decoding sequence out of the totals before its end; a token under way is owed to it."""
    close_run(p, pool, s)
    remove_end(p, s, find_end(p, s, slot))
    if pool.streams == 1:
        remove_mark(p, s, slot)
    s.num_decoding -= 1
    q = request_at(p.requests, slot)
    is_owed = q.pending == 1  # it has just joined: the step in flight owes it the token that completes its prompt
    leave_totals(p, pool, s, slot)
    if is_owed:
        return
    if q.pending > 0:
        owe_output(p, pool, s, s.processed, slot, APPEND)
    elif pool.prefill_first == 1:
        q.last_token_s = max(q.last_token_s, s.last_decode_s)
    else:
        q.last_token_s = now


@jit
def stall(p, pool, s, slot, now):
    """No budget is left for a decoding sequence: it waits in its place, apart from the totals."""
    stop_decoding(p, pool, s, slot, now)
    request_at(p.requests, slot).state = PREFILLING
    run_apart(s, slot)


@jit
def take_ended(p, pool, s, marks):
    """Take out of the totals whoever is not in step `s.step` any more: the one before owes them an output."""
    if s.num_decoding == 0 or first_end(p, s) > s.step:
        return
    close_run(p, pool, s)
    for x in range(pop_ended(p, s)):
        slot = i4_at(p.ended, x).v
        leave_totals(p, pool, s, slot)
        owe_output(p, pool, s, s.step - 1, slot, marks)


@jit
def join_underway(p, pool, s):
    """Asynchronous scheduling: whoever's prompt is complete with the step in flight decodes in the one to be formed."""
    flight = flight_of(p, pool, s, s.processed)
    base = outputs_base(p, pool, s, s.processed)
    for x in range(flight.num_outputs):
        item = i4_at(p.outputs, base + x).v
        slot = item >> 2
        q = request_at(p.requests, slot)
        if item & OWN_GAP and q.state == PREFILLING and q.pending == 1:
            if q.emitted + q.pending < q.output:
                start_decoding(p, pool, s, slot)
            else:
                run_along(p, s, slot)
                q.state = LEAVING


@jit
def drop(p, pool, s, slot, now):
    """Take a running request out of batch and `running`, wherever it is in them, and free its blocks."""
    q = request_at(p.requests, slot)
    if q.state == DECODING:
        stop_decoding(p, pool, s, slot, now)
    elif q.state == PREFILLING:
        run_along(p, s, slot)
    if pool.loads == 1 and loader_at(p.loaders, s.number).store >= 0:
        write(p, pool, s, slot, now)
    if pool.reserves == 1:  # what it would have come to need, and what it gives back now
        s.unpromised += blocks_for(q.prompt + q.output - 1, pool.block_size) - q.num_blocks - num_free(s)
        release(p, pool, s, slot)
        s.unpromised += num_free(s)
    else:
        release(p, pool, s, slot)
    leave_running(p, s, slot, now)
