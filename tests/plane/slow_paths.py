"""The readable model's paths: which visits a request makes, what they read, and what comes after each."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import slow_draws as draws
from slow_content import Content
from slow_policies import most_at_once
from slow_request import ANSWER, BLOCKED, CANDIDATE, COMPLETED, DRAFT, GUARD, PAUSE, Request, roles_of
from slow_singly import most_tokens

from sim.plane.world import Visit, World
from sim.traffic.arrivals import TrafficClass

UNSAFE, ESCALATED, CAUGHT, REVISED = 1, 4, 32, 64
TIMER = 2
NOT_ANSWERED = {"classified_s": math.nan, "scheduled_s": math.nan, "pool": -1, "replica": -1, "cached_tokens": 0}
"""What a record says as long as nothing answers."""
TURN_BITS = 22


@dataclass(frozen=True)
class Stop:
    """A visit that a request makes, if nothing ends it before."""

    visit: Visit
    role: str
    beyond: int
    """What it reads beyond the turn's prompt, or a guard beyond the message or prompt that it reads [tokens]."""
    output: int
    is_refusal: bool = False


class Paths:
    """The part of the model that knows it."""

    world: World
    draw: Any
    texts: Any
    push: Any
    end: Any
    leave: Any
    drop: Any
    back: Any
    enter_pool: Any
    hand_over: Any
    check_of: Any
    most_read: Any
    open_gate: Any
    complete_answer: Any
    busted: Any
    block_frac: Any

    # Draws

    def chance(self, stream: int, record: dict[str, Any], number: int) -> float:
        return float(self.draw(stream, record, 8 * record["turn"] + number))

    def drawn(self, stream: int, table: Any, record: dict[str, Any], number: int) -> int:
        """A number of tokens; none where there is no table."""
        return 0 if table is None else draws.tokens(table, self.chance(stream, record, number))

    def output_of(self, record: dict[str, Any], visit: Visit, role: str, number: int) -> int:
        if visit.output_tokens is not None:
            return self.drawn(draws.VISIT_OUTPUT, visit.output_tokens, record, number)
        return 1 if role == GUARD or visit.kind == "prefill" else int(record["requested_tokens"])

    def is_made(self, record: dict[str, Any], visit: Visit, role: str, number: int, candidate: Any) -> bool:
        if role == GUARD and visit.escalate_frac is not None and not candidate:
            return False  # there is nothing to decide
        return self.chance(draws.MADE, record, number) < visit.frac

    # Beforehand

    def text_of(
        self, record: dict[str, Any], kind: TrafficClass, segments: Any, before: Request | None, whole: int, prompt: int
    ) -> tuple[Content, int]:
        """What a turn's prompt says, and from which turn on all prompts and answers repeat what was before.

        `before`: the turn before, or the attempt before; `whole`, `prompt`: tokens before and after a cut.
        """
        turn = record["turn"]
        if before is None:
            return self.texts.first(record, kind, segments), turn
        if record["attempt"] > 0:
            return before.content, before.told_turn
        if prompt < whole or not kind.keep_history:
            return self.texts.anew(record, before.content), turn
        if before.record["ending"] != COMPLETED:
            history = kind.prefix_tokens + before.history_tokens
            return self.texts.after(record, before.content, history), turn
        if before.parts_at is None:
            return before.content, before.told_turn
        return before.content.parted(before.parts_at, self.texts.stream(record, turn), turn), before.told_turn

    def course(self, record: dict[str, Any], path: list[Visit]) -> Iterator[Stop]:
        """The visits that a request makes if nothing ends it, and the refusals if something does."""
        added = candidate = 0
        for number, (visit, role) in enumerate(zip(path, roles_of(path), strict=True)):
            if not self.is_made(record, visit, role, number, candidate):
                continue
            if role == PAUSE:
                added += self.drawn(draws.DELAY_TOKENS, visit.adds_tokens, record, number)
                continue
            output = self.output_of(record, visit, role, number)
            exchange = (added + candidate) * (visit.prompt == "exchange")
            beyond = visit.template_tokens + exchange if role == GUARD else added + visit.prompt_extra_tokens
            yield Stop(visit, role, beyond, output)
            if role == DRAFT:
                added = beyond + output
            if role == CANDIDATE:
                candidate = output
            if visit.escalate_frac is not None:
                candidate = 0
            if refusal := self.drawn(draws.REFUSAL, visit.refusal_tokens, record, number):
                yield Stop(path[-1], ANSWER, added + path[-1].prompt_extra_tokens, refusal, is_refusal=True)

    def room(self, record: dict[str, Any], path: list[Visit]) -> int:
        """By how much a visit exceeds prompt and answer, at most [tokens]."""
        stops = [stop for stop in self.course(record, path) if stop.role != GUARD and not stop.is_refusal]
        return max(0, *(stop.beyond + stop.output - record["requested_tokens"] for stop in stops))

    def fits_all(self, request: Request) -> bool:
        """Whether all pools could ever serve the visits of a request, and of its companion."""
        checks = [Stop(visit, GUARD, self.most_read(request, visit), 1) for visit in self.check_of(request)]
        return all(self.fits_in(request, stop) for stop in [*self.course(request.record, request.path), *checks])

    def fits_in(self, request: Request, stop: Stop) -> bool:
        pool = self.world.pools[stop.visit.pool]
        prompt_tokens = self.least_read(request, stop.visit) + stop.beyond
        most = prompt_tokens + stop.output - 1  # tokens in the cache at the end: also the longest recompute
        most_blocks = -(-most_tokens(pool, most) // pool.block_size)
        if prompt_tokens + stop.output > pool.max_model_len or most_blocks > pool.num_gpu_blocks - 1:
            return False
        return bool(most_at_once(pool, prompt_tokens, most) <= pool.max_num_batched_tokens)

    def least_read(self, request: Request, visit: Visit) -> int:
        """What a visit reads of a turn's prompt [tokens]."""
        if visit.prompt == "answer":
            return 0
        is_short = visit.kind == "classify" and visit.prompt != "full"
        return int(request.record["user_tokens"]) if is_short else request.prompt_tokens

    # On the way

    def next_visit(self, request: Request, now: float) -> None:
        """To the next pool, after the delays on the way."""
        record, wait_s = request.record, 0.0
        while True:
            request.visit += 1
            visit, number = request.path[request.visit], request.visit
            if not self.is_made(record, visit, request.role, number, request.candidate):
                continue
            if visit.mode == "gate":
                if not self.open_gate(request, now):
                    return
                continue
            if request.role != PAUSE:
                break
            wait_s += draws.lookup(visit.delay_s, self.chance(draws.DELAY, record, number))
            tokens = self.drawn(draws.DELAY_TOKENS, visit.adds_tokens, record, number)
            request.joined.append((tokens, visit.keep_in_history))
        request.is_busted = record["class_id"] in self.busted
        prompt_tokens = self.least_read(request, visit)
        if request.role != GUARD:
            prompt_tokens += request.added_tokens + visit.prompt_extra_tokens
        else:
            candidate = record["requested_tokens"] if request.candidate else 0
            exchange = (request.added_tokens + candidate) * (visit.prompt == "exchange")
            prompt_tokens += visit.template_tokens + exchange
        if request.answering:
            request.read_tokens = prompt_tokens - request.prompt_tokens
        output_tokens = request.refusal_tokens or self.output_of(record, visit, request.role, number)
        request.visit_lengths = prompt_tokens, output_tokens
        if visit.kind == "decode":
            record["pool"] = record["replica"] = -1
            record["transfer_s"] = 0.0 if visit.transfer.first_token_at_prefill else math.nan
        due_s = max(now, draws.whole_ns(now + wait_s)) if wait_s > 0.0 else now
        if due_s > now:
            request.is_delayed, request.delay_s = True, due_s - now
            self.push(due_s, TIMER, record["serial"], "delay")
        else:
            self.enter_pool(request, now)

    def delay_ends(self, request: Request, now: float) -> None:
        request.is_delayed = False
        request.record["delay_s"] += request.delay_s
        self.enter_pool(request, now)

    # After a visit

    def visit_over(self, request: Request, now: float) -> None:
        """Its last token is out."""
        record, visit, role = request.record, request.path[request.visit], request.role
        served_s = now + self.world.pools[request.path[-1].pool].frontend_s + self.back(request)
        is_whole = request.streams and (role == CANDIDATE or record["requested_tokens"] == 1)
        if request.is_last or is_whole:
            self.add(request, visit)
            if request.mate is not None:
                self.leave(request, now)
                self.complete_answer(request, now)
                return
            self.back(request, ends=True)
            self.drop(request, BLOCKED if request.refusal_tokens else COMPLETED, served_s, now)
            return
        escalates = visit.escalate_frac is not None
        if escalates:
            escalates = self.chance(draws.ESCALATE, record, request.visit) < visit.escalate_frac
        is_final = visit.escalate_frac is not None and not escalates
        if request.abort is not None and not (is_final and role == CANDIDATE):
            if role == CANDIDATE:
                self.set_aside(request, now)
                self.end(request, *request.abort, now)
            else:
                self.drop(request, *request.abort, now)
            return
        if role == ANSWER:
            self.hand_over(request, now)
            return
        if role == CANDIDATE:
            self.set_aside(request, now)
        else:
            self.leave(request, now)
        if role == GUARD and self.is_flagged(request, visit):
            record["flags"] |= CAUGHT
            request.refusal_tokens = self.drawn(draws.REFUSAL, visit.refusal_tokens, record, request.visit)
            if not request.refusal_tokens:
                self.end(request, BLOCKED, now + self.back(request, ends=True), now)
                return
            request.visit = len(request.path) - 2
        elif is_final:
            self.take_up(request, served_s, now)
            return
        elif escalates:
            self.throw_away(request)
        elif role == DRAFT:
            self.add(request, visit, self.output_of(record, visit, role, request.visit))
            request.num_drafts += visit.output_tokens is None
        self.next_visit(request, now)

    def block_chance(self, record: dict[str, Any], visit: Visit) -> float:
        """Chance that a classifier blocks a request."""
        if visit.true_positive_rate is None:
            return visit.block_frac
        rates = visit.true_positive_rate if record["flags"] & UNSAFE else visit.false_positive_rate
        return float(rates[record["language"]])

    def is_flagged(self, request: Request, visit: Visit) -> bool:
        drifted = self.block_frac(request)
        chance = self.block_chance(request.record, visit) if drifted is None else drifted
        return self.chance(draws.BLOCK, request.record, request.visit) < chance

    def add(self, request: Request, visit: Visit, output_tokens: int = 0) -> None:
        """A visit's instructions and output are part of the text."""
        request.joined.append((visit.prompt_extra_tokens + output_tokens, visit.keep_in_history))

    def set_aside(self, request: Request, now: float) -> None:
        """A candidate is complete, and leaves its pool; nothing answers until it is taken up."""
        record = request.record
        self.leave(request, now)
        request.candidate = {name: record[name] for name in NOT_ANSWERED} | {"busy_s": record["busy_s"]}
        request.candidate |= {"output_tokens": record["requested_tokens"], "guard_s": -record["busy_s"]}
        request.candidate |= {"visit": request.visit, "read": request.read_tokens}
        record |= NOT_ANSWERED
        record["guard_s"] += record["busy_s"]
        record["busy_s"] = 0.0

    def take_up(self, request: Request, served_s: float, now: float) -> None:
        """The candidate is the answer."""
        record, candidate = request.record, request.candidate
        self.add(request, request.path[candidate.pop("visit")])
        request.read_tokens = candidate.pop("read")
        record["guard_s"] += candidate.pop("guard_s")
        record |= candidate | {"first_token_s": served_s}
        record["verdict_s"] += now - request.withheld_s
        self.back(request, ends=True)
        self.end(request, COMPLETED, served_s, now)

    def throw_away(self, request: Request) -> None:
        """The candidate is no answer; what follows stands where it stood."""
        request.record["flags"] |= ESCALATED
        request.candidate = None
        request.num_anew += 1
        number = request.record["turn"] + (request.num_anew << TURN_BITS)
        stream = self.texts.stream(request.record, number)
        request.content = request.content.parted(request.prompt_tokens + request.added_tokens, stream, number)

    # The end

    def sum_up(self, request: Request, ending: int) -> None:
        """What the record and the next turn have of all this."""
        record, request.is_delayed = request.record, False
        if not math.isnan(record["classified_s"]):
            record["prompt_tokens"] += request.read_tokens
        if ending == BLOCKED:
            record["flags"] |= CAUGHT
        if ending != COMPLETED:
            return
        record["flags"] |= REVISED * (request.num_drafts > 0)
        begins, history = request.prompt_tokens, request.kind.prefix_tokens
        request.history_tokens = begins - history + record["requested_tokens"]
        request.history_tokens += sum(tokens for tokens, stays in request.joined if stays)
        for tokens, stays in request.joined:
            if not stays and tokens:
                break
            begins += tokens
        if begins < request.prompt_tokens + request.added_tokens:
            request.parts_at = begins
