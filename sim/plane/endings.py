"""How a request ends: its record is written, and what its sender does next is planned."""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.metrics.records import BLOCKED, CAUGHT, COMPLETED, IN_FLIGHT
from sim.plane.companions import settle
from sim.plane.compiled import jit
from sim.plane.deadlines import forget_deadlines
from sim.plane.drawing import draw, lookup, whole_ns
from sim.plane.extras import write_extras
from sim.plane.handover import release_hold, write_handover
from sim.plane.health_rows import move_at
from sim.plane.limits import settle_limits
from sim.plane.reactions import GOES_ON, LEAVES, TRIES_AGAIN, asked_s, react, set_timer
from sim.plane.regions import back_s
from sim.plane.tables import (
    DECODE_SIDE,
    FREE,
    THINKING,
    class_at,
    done_at,
    pool_at,
    request_at,
    retry_at,
    visit_at,
)
from sim.plane.text import forget_stretches
from sim.plane.work import is_told, leave_text, write_work


@jit
def end_request(p, slot, ending, now):
    """Write the record of a request that ends, and plan what its sender does next: `reactions.py` says, if anything.

    Else people and programs go on whatever became of a turn; only an answer enters the conversation's history.
    """
    if p.has_companions == 1:
        slot, ending, now = settle(p, slot, ending, now)
        if slot < 0:
            return
    q = request_at(p.requests, slot)
    kind = class_at(p.classes, q.class_id)
    visit = visit_at(p.visits, q.visit)
    if visit.side == DECODE_SIDE and ending != IN_FLIGHT:
        release_hold(p, slot, now)
    answering = visit_at(p.visits, visit.path_end).pool
    frontend_s = pool_at(p.pools, answering).frontend_s
    reached = not np.isnan(q.classified_s)
    is_served = ending == COMPLETED or (kind.special == 1 and ending == BLOCKED and is_told(p, slot))
    end_s = now + frontend_s if is_served else now
    network_s = 0.0  # back to the client
    if p.num_regions > 0:
        network_s = back_s(p, slot)
        if ending in (COMPLETED, BLOCKED):
            end_s += network_s
    done = done_at(p.done, p.num_done)
    p.num_done += 1
    done.user = q.user
    done.arrived_s = q.arrived_s
    done.classified_s = q.classified_s
    done.scheduled_s = q.scheduled_s
    done.first_token_s = q.first_token_s + frontend_s + network_s
    done.end_s = end_s
    done.cost_usd = q.cost_usd
    done.busy_s = q.cost_s if reached else 0.0
    if p.has_faults == 1:
        move = move_at(p.moves, slot)
        done.busy_s += move.lost_s
        move.lost_s = 0.0
    done.conversation = q.conversation
    done.turn = q.turn
    done.prompt_tokens = q.full_prompt
    done.cached_tokens = q.cached
    done.output_tokens = q.emitted if reached else 0
    done.requested_tokens = q.full_output
    done.class_id = q.class_id
    done.language = q.language
    done.ending = ending
    done.pool = visit.pool if reached and q.replica >= 0 else -1
    done.replica = q.replica if reached else -1
    done.num_preemptions = q.num_preemptions
    done.serial = q.serial
    done.guard_s = q.guard_s
    done.transfer_s = 0.0
    done.attempt = q.attempt
    done.retry_of = -1 if q.attempt == 0 else retry_at(p.retries, slot).retry_of
    done.left = 0
    if visit.side == DECODE_SIDE:
        write_handover(p, done, q, slot)
    if p.has_charges == 1 and ending != IN_FLIGHT:
        settle_limits(p, q, slot, kind, done.output_tokens)
    if kind.special == 1:
        write_work(p, done, q, slot, ending)
    write_extras(p, done, slot)
    if ending in (COMPLETED, BLOCKED):
        done.network_s += network_s
    if ending == BLOCKED:
        done.flags |= CAUGHT
    forget_deadlines(p, slot)
    if ending != IN_FLIGHT:
        does = GOES_ON
        if kind.reacts == 1:
            does = react(p, q, slot, kind, ending, done.first_token_s, end_s)
        has_more = q.turn + 1 < q.num_turns
        if does == TRIES_AGAIN or (does == GOES_ON and has_more and plan_turn(p, q, slot, kind, ending, end_s)):
            return
        done.left = np.int64(does == LEAVES and has_more)
    forget_stretches(p, q)
    q.state = FREE
    q.next = p.free_slot
    p.free_slot = slot
    p.num_free += 1


@jit
def plan_turn(p, q, slot, kind, ending, end_s):
    """Set the timer of a conversation's next turn; false if the horizon comes first."""
    due_s = asked_s(p, q, slot) + lookup(p, kind.gap_s, draw(p.gap_key, q, q.turn + 1))
    due_s = max(due_s, end_s + kind.min_think_s)
    if kind.spaced == 1:
        due_s = kind.sent_s = whole_ns(max(due_s, kind.sent_s) + kind.interval_s)
    due_s = whole_ns(due_s)
    if due_s >= p.horizon_s:
        return False
    q.state = THINKING
    q.attempt = 0
    if ending == COMPLETED and kind.keep_history == 1:
        q.history = q.full_prompt - kind.prefix_tokens + q.full_output
        q.goes_on = 1
        if kind.special == 1:
            q.history += leave_text(p, q, slot)
    set_timer(p, slot, max(due_s, p.now_s))
    return True
