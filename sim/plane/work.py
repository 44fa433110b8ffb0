"""Paths that are more than guards and an answer: delays, drafts, candidates, verdicts with a truth, refusals.

A turn's text is its prompt, and behind it what the visits of its path add: what a delay brings (passages, a tool's
result), a draft with its instructions. Every later generate visit reads all of it, so what one visit reads and writes
is a prefix of what the next one reads. A candidate's output does not join: it is the answer, or it is thrown away. What
the visits added is no part of later turns, unless a visit keeps it; then text that follows stands at another place, and
begins a stream of its own (`text.py`).

All draws are of a turn and a visit, so attempts at a turn have the same path. docs/paths.md has the rules.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.metrics.records import BLOCKED, CAUGHT, COMPLETED, ESCALATED, REVISED, UNSAFE
from sim.plane.compiled import jit
from sim.plane.drawing import draw, draw_visit, lookup, lookup_tokens
from sim.plane.health_rows import move_at
from sim.plane.tables import (
    ANSWER,
    CANDIDATE,
    DRAFT,
    GUARD,
    PAUSE,
    PREFILL_SIDE,
    extra_at,
    f8_at,
    visit_at,
    work_at,
)
from sim.plane.text import begin_stream

GOES_ON = -1
"""What comes after a visit, where it is not an ending."""


# ------------------------------------------------------------------ lengths


@jit
def makes(p, q, visit):
    """Whether a request makes a visit, as far as its draw tells."""
    return visit.frac >= 1.0 or draw_visit(p.made_key, q, visit) < visit.frac


@jit
def emits(p, q, visit):
    """Tokens that a visit emits."""
    if visit.output_tokens >= 0:
        return lookup_tokens(p, visit.output_tokens, draw_visit(p.visit_output_key, q, visit), 1.0)
    return np.int64(1 if visit.role == GUARD or visit.side == PREFILL_SIDE else q.full_output)


@jit
def visit_lengths(p, q, visit, added, answered):
    """Prompt and output of a visit [tokens], behind so many that were added, and a candidate of so many."""
    prompt = np.int64(visit.template_tokens)
    if visit.role != GUARD:
        prompt = np.int64(q.full_prompt) + added + visit.extra_tokens
    elif visit.reads_exchange == 1:
        prompt += q.user_tokens + added + answered
    else:
        prompt += q.full_prompt if visit.reads_full == 1 else q.user_tokens
    return prompt, emits(p, q, visit)


@jit
def delay_tokens(p, q, visit):
    """Tokens that a delay adds."""
    if visit.adds_tokens < 0:
        return np.int64(0)
    return lookup_tokens(p, visit.adds_tokens, draw_visit(p.delay_tokens_key, q, visit), 1.0)


@jit
def refusal_tokens(p, q, visit):
    """Tokens in which a request that a visit blocks is told so."""
    if visit.refusal_tokens < 0:
        return np.int64(0)
    return lookup_tokens(p, visit.refusal_tokens, draw_visit(p.refusal_key, q, visit), 1.0)


@jit
def after_visit(p, q, visit, added, answered):
    """What was added, and the candidate there is, once a visit is over and the request goes on [tokens]."""
    if visit.role == PAUSE:
        added += delay_tokens(p, q, visit)
    elif visit.role == DRAFT:
        added += visit.extra_tokens + emits(p, q, visit)
    elif visit.role == CANDIDATE:
        answered = np.int64(q.full_output)
    return added, (np.int64(0) if visit.decides == 1 else answered)


@jit
def is_made(p, q, visit, answered):
    """Whether a request makes a visit: there must be something to decide where it decides only."""
    return makes(p, q, visit) and (visit.role != GUARD or visit.decides == 0 or answered > 0)


@jit
def most_added(p, q):
    """By how much the longest visit of a path exceeds prompt and answer [tokens]."""
    added = answered = most = np.int64(0)
    for v in range(q.visit, visit_at(p.visits, q.visit).path_end + 1):
        visit = visit_at(p.visits, v)
        if not is_made(p, q, visit, answered):
            continue
        if visit.role not in (GUARD, PAUSE):
            most = max(most, added + visit.extra_tokens + emits(p, q, visit) - q.full_output)
        added, answered = after_visit(p, q, visit, added, answered)
    return most


# ------------------------------------------------------------------ an attempt


@jit
def begin_work(p, q, slot, kind):
    """An attempt begins: nothing is added. Returns how much room the path takes beyond prompt and answer [tokens]."""
    w = work_at(p.works, slot)
    w.added = w.kept = w.same = w.answered = w.read = w.refusal = w.drafts = 0
    w.answer_s = w.wait_s = 0.0
    if q.attempt == 0:
        w.anew = 0
        if q.turn == 0:
            w.cut_at = -1
            w.told_turn = 0
    if kind.unsafe_frac > 0.0 and draw(p.unsafe_key, q, q.turn) < kind.unsafe_frac:
        extra_at(p.extras, slot).flags |= UNSAFE
    return most_added(p, q)


@jit
def join(w, tokens, keeps):
    """Tokens join a turn's text; later turns have them, or not."""
    if keeps == 1:
        w.kept += tokens
        if w.same == w.added:
            w.same += tokens
    w.added += tokens


@jit
def next_stop(p, q, slot):
    """Move a request to the pool that it visits next. Returns the delays on the way there [s]."""
    w = work_at(p.works, slot)
    wait_s = 0.0
    while True:
        q.visit += 1
        visit = visit_at(p.visits, q.visit)
        if not is_made(p, q, visit, w.answered):
            continue
        if visit.role != PAUSE:
            return wait_s
        wait_s += lookup(p, visit.delay_s, draw_visit(p.delay_key, q, visit))
        join(w, delay_tokens(p, q, visit), visit.keeps)


@jit
def open_work(p, q, slot, kind, visit):
    """A request turns to a visit: whose gaps between tokens those of its output are. Returns its lengths [tokens]."""
    w = work_at(p.works, slot)
    q.itl_group = kind.itl_group if visit.streams == 1 else p.num_itl - 1
    prompt, output = visit_lengths(p, q, visit, np.int64(w.added), np.int64(w.answered))
    if visit.role in (CANDIDATE, ANSWER):
        w.read = prompt - q.full_prompt
        w.first_s = np.nan
    if w.refusal > 0:
        output = np.int64(w.refusal)
    return prompt, output


@jit
def note_candidate(p, slot, now):
    """A candidate has a token: if it is the first, it is withheld from now on."""
    w = work_at(p.works, slot)
    if np.isnan(w.first_s):
        w.first_s = now


@jit
def end_wait(p, slot):
    """A delay is over."""
    w = work_at(p.works, slot)
    extra_at(p.extras, slot).delay_s += w.wait_s
    w.wait_s = 0.0


# ------------------------------------------------------------------ what comes after a visit


@jit
def block_chance(p, q, slot, visit):
    """Chance that a classifier blocks a request."""
    if visit.true_positive < 0:
        return visit.block_frac
    is_unsafe = extra_at(p.extras, slot).flags & UNSAFE != 0
    rates = visit.true_positive if is_unsafe else visit.false_positive
    return f8_at(p.curves, rates + q.language).v


@jit
def is_flagged(p, q, slot, visit):
    """Whether a classifier blocks a request."""
    chance = block_chance(p, q, slot, visit)
    return chance > 0.0 and draw_visit(p.block_key, q, visit) < chance


@jit
def conclude(p, q, slot, visit, now):
    """What comes after a visit whose last token is out: an ending, or GOES_ON."""
    w = work_at(p.works, slot)
    is_final = visit.decides == 1 and draw_visit(p.escalate_key, q, visit) >= visit.escalate_frac
    if visit.last == 1 or (visit.streams == 1 and (q.full_output == 1 or visit.role == CANDIDATE)):
        return finish_answer(p, q, slot, w)
    if visit.role == CANDIDATE:
        set_aside(p, q, slot, w)
        if is_final:
            return take_up(p, q, slot, w, now)
    if q.aborted >= 0:
        q.emitted *= visit.streams  # what no client gets
        return np.int64(q.aborted)
    if is_flagged(p, q, slot, visit):
        extra_at(p.extras, slot).flags |= CAUGHT
        w.refusal = refusal_tokens(p, q, visit)
        return np.int64(BLOCKED if w.refusal == 0 else GOES_ON)
    if is_final:
        return take_up(p, q, slot, w, now)
    if visit.role == DRAFT:
        join(w, visit.extra_tokens + q.emitted, visit.keeps)
        w.drafts += np.int64(visit.output_tokens < 0)
    elif visit.role == CANDIDATE:
        w.answered = q.full_output
    if visit.decides == 1:
        throw_away(p, q, slot, w)
    return np.int64(GOES_ON)


@jit
def finish_answer(p, q, slot, w):
    """The path's last visit is over, or one after which nobody goes on."""
    if w.refusal > 0:
        return np.int64(BLOCKED)
    if w.drafts > 0:
        extra_at(p.extras, slot).flags |= REVISED
    visit = visit_at(p.visits, q.visit)
    join(w, visit.extra_tokens, visit.keeps)
    return np.int64(COMPLETED)


@jit
def set_aside(p, q, slot, w):
    """A candidate is complete: its record is kept until it is known to be the answer."""
    w.visit, w.replica, w.cached, w.answer_s = q.visit, q.replica, q.cached, q.cost_s
    if p.has_faults == 1:  # what it cost at replicas that failed is a part of it
        move = move_at(p.moves, slot)
        w.answer_s += move.lost_s
        move.lost_s = 0.0
    w.classified_s, w.scheduled_s = q.classified_s, q.scheduled_s
    q.classified_s = q.scheduled_s = np.nan
    q.cost_s = 0.0
    q.cached = 0


@jit
def take_up(p, q, slot, w, now):
    """The candidate is the answer, and the client gets all of it."""
    if w.drafts > 0:
        extra_at(p.extras, slot).flags |= REVISED
    q.visit, q.replica, q.cached, q.cost_s = w.visit, w.replica, w.cached, w.answer_s
    q.classified_s, q.scheduled_s = w.classified_s, w.scheduled_s
    w.answer_s = 0.0
    q.emitted = q.full_output
    q.first_token_s = now
    extra_at(p.extras, slot).verdict_s += now - w.first_s
    visit = visit_at(p.visits, q.visit)
    join(w, visit.extra_tokens, visit.keeps)
    return np.int64(COMPLETED)


@jit
def throw_away(p, q, slot, w):
    """The candidate is not the answer; another follows, at its place in the text."""
    extra_at(p.extras, slot).flags |= ESCALATED
    q.guard_s += w.answer_s
    w.answer_s = 0.0
    w.answered = 0
    w.anew += 1
    begin_stream(p, q, q.full_prompt + w.added, q.turn + (w.anew << TURN_BITS))


TURN_BITS = 22
"""Streams that begin amid a turn are numbered by it and their number in it; turns beyond 2**22 would share some."""


# ------------------------------------------------------------------ the end


@jit
def write_work(p, done, q, slot, ending):
    """Put into a record what the answer read, and what a candidate cost that came to nothing."""
    w = work_at(p.works, slot)
    done.guard_s += w.answer_s
    if np.isnan(q.classified_s):
        return
    done.prompt_tokens += w.read
    visit = visit_at(p.visits, q.visit)
    if visit.role == CANDIDATE and visit.streams == 0 and ending != COMPLETED:
        done.output_tokens = 0


@jit
def is_told(p, slot):
    """Whether a blocked request was told so."""
    return work_at(p.works, slot).refusal > 0


@jit
def leave_text(p, q, slot):
    """A turn is answered: where the text of the next one parts from it. Returns what was added and stays [tokens]."""
    w = work_at(p.works, slot)
    w.cut_at = -1 if w.same == w.added else q.full_prompt + w.same
    return w.kept
