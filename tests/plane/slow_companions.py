"""The readable model's classifiers beside the answer: gates, checks of whole answers and of pieces."""

import math
from dataclasses import dataclass
from typing import Any

import slow_draws as draws
from slow_request import BLOCKED, COMPLETED, GUARD, Request

from sim.plane.world import Visit, World

CAUGHT = 32
"""The bit of a record's flags."""


@dataclass(eq=False)
class Companion(Request):
    """What makes a request's visits beside the answer, one at a time. Its record is the request's."""

    owner: Any = None
    check: Visit | None = None
    gated: bool = False
    ready: int = 0
    """Tokens of the answer that can be read, in whole pieces."""
    out: int = 0
    """Those that are out; they can be read when all outputs of the step are."""
    checked: int = 0
    """Those that were read, or are being read."""
    answered: bool = False
    first_s: float = math.nan
    """The first token, as the engine gave it."""
    last_s: float = math.nan
    """The last, as the client gets it."""
    flagged_at: int = 0
    """The token of the answer that the check finds, 0: none."""

    awaited: bool = False
    """Its gate begins where the request is going."""

    is_last = False
    """Its visits never are; the annotation is left out, for this is no field."""

    @property
    def role(self) -> str:
        return GUARD

    @property
    def is_billed(self) -> bool:
        return False

    @property
    def busy(self) -> bool:
        """Whether it makes a visit: at a replica, or in line for one."""
        return self.replica is not None or self.gate is not None

    @property
    def holds_back(self) -> bool:
        """Whether tokens reach the client after their verdict."""
        return self.check is not None and (self.check.holds_back or self.check.mode == "serial")

    def lengths(self, visit: Visit) -> tuple[int, int]:
        if visit is not self.check:
            read = self.owner.prompt_tokens if visit.prompt == "full" else self.record["user_tokens"]
            return visit.template_tokens + read, 1
        if visit.prompt == "exchange":
            return visit.template_tokens + self.record["user_tokens"] + self.checked, 1
        carried = min(self.piece_start, visit.carry_over_tokens)
        return visit.template_tokens + carried + self.checked - self.piece_start, 1


class Companions:
    """The part of the model that knows them."""

    world: World
    draw: Any
    enter_pool: Any
    block_chance: Any
    is_flagged: Any
    withdraw: Any
    end: Any
    back: Any

    def check_of(self, request: Request) -> list[Visit]:
        """The check of a request's path."""
        check = self.world.checks.get(request.path_name)
        return [] if check is None else [check]

    def most_read(self, request: Request, check: Visit) -> int:
        """A check's instructions, and the most that it reads of an answer at once [tokens]."""
        piece = check.chunk_tokens + check.carry_over_tokens if check.mode == "stream" else math.inf
        whole = request.record["requested_tokens"]
        return int(check.template_tokens + (whole if check.prompt == "exchange" else min(whole, piece)))

    def engage(self, request: Request) -> None:
        """A request that has a gate or a check gets its companion."""
        checks, record = self.check_of(request), request.record
        if not checks and all(visit.mode != "gate" for visit in request.path):
            return
        mate = Companion(
            record, request.row, request.kind, request.path + checks, 0, request.content, request.homes, 0.0
        )
        mate.router, mate.path_name, mate.told_turn = request.router, request.path_name, request.told_turn
        mate.owner, mate.check = request, checks[0] if checks else None
        mate.gated = any(visit.mode == "gate" for visit in request.path)
        if mate.check is not None:
            u = self.draw(draws.BLOCK, record, 8 * record["turn"] + len(request.path))
            if u < (chance := self.block_chance(record, mate.check)):
                output = record["requested_tokens"]
                mate.flagged_at = min(1 + int(u / chance * output), output)
        request.mate = mate

    def open_gate(self, request: Request, now: float) -> bool:
        """The gate's visit begins, and the request goes to the visit after it; false if there is no such pool.

        In a fleet of regions it begins when the request has come to that of the visit after it.
        """
        request.mate.visit = request.visit
        request.mate.awaited = self.world.regions is not None
        if not request.mate.awaited:
            self.enter_pool(request.mate, now)
        return not request.ended

    def settle(self, request: Request, ending: int, t_s: float, now: float) -> bool:
        """Whether a request can end now: its companion must have left, and takes it along where it ends itself."""
        if isinstance(request, Companion):
            owner = request.owner
            if owner.abort is not None and owner.replica is None:
                self.end(owner, *owner.abort, now)
            elif self.withdraw(owner, ending, now):
                self.end(owner, ending, now, now)
            return False
        mate = request.mate
        if mate is not None and mate.busy and not self.withdraw(mate, ending, now):
            request.abort = (ending, t_s)
            return False
        request.mate = None
        return True

    def withhold(self, request: Request, now: float) -> bool:
        """Whether a first token must wait for a verdict."""
        mate = request.mate
        if mate is None or not (mate.gated or mate.holds_back):
            return False
        mate.first_s = now
        return True

    def note_pieces(self, request: Request, num_emitted: int) -> None:
        """Tokens are out: perhaps a piece has ended, and the answer has not."""
        mate = request.mate
        if mate is None or mate.check is None or mate.check.mode != "stream":
            return
        ready = num_emitted - num_emitted % mate.check.chunk_tokens
        if ready > mate.out and num_emitted < request.record["requested_tokens"]:
            mate.out = ready
            self.reached.append(request)

    reached: list[Request]

    def read_along(self, now: float) -> None:
        """A step has ended: idle companions read the pieces that ended with it."""
        reached, self.reached = self.reached, []
        for request in reached:
            if request.mate is not None and request.abort is None:
                request.mate.ready = max(request.mate.ready, request.mate.out)
                self.read_on(request, now)

    def complete_answer(self, request: Request, now: float) -> None:
        """The last token is out."""
        if request.abort is not None:
            self.end(request, *request.abort, now)
            return
        mate = request.mate
        mate.answered, mate.ready, mate.last_s = True, request.record["requested_tokens"], now
        self.read_on(request, now)

    def give_verdict(self, request: Request, now: float) -> None:
        """A companion's visit is over."""
        mate, record = request.mate, request.record
        if request.abort is not None:
            if request.replica is None:
                self.end(request, *request.abort, now)
            return
        visit = mate.path[mate.visit]
        if visit is mate.check:
            caught = 0 < mate.flagged_at <= mate.checked
        else:
            mate.gated = False
            caught = self.is_flagged(mate, visit)
        if caught:
            record["flags"] |= CAUGHT
            told_s = now + self.back(request, ends=True)
            if self.withdraw(request, BLOCKED, now):
                self.end(request, BLOCKED, told_s, now)
            else:
                request.abort = BLOCKED, told_s
            return
        if not mate.holds_back or mate.checked > 0:
            self.show(request, now)
        if mate.holds_back or visit is not mate.check:
            mate.last_s = now
        self.read_on(request, now)

    def show(self, request: Request, now: float) -> None:
        """The client gets what there is."""
        record, mate = request.record, request.mate
        if math.isnan(record["first_token_s"]) and not math.isnan(mate.first_s):
            frontend_s = self.world.pools[request.path[-1].pool].frontend_s
            record["first_token_s"] = now + frontend_s + self.back(request)
            record["verdict_s"] = now - mate.first_s
            request.patience = False

    def read_on(self, request: Request, now: float) -> None:
        """The next piece, if the companion is idle and the piece is there; after the last the request completes."""
        mate = request.mate
        if mate.busy:
            return
        if mate.check is not None and mate.checked < mate.ready:
            whole = mate.check.mode == "serial"
            mate.piece_start, mate.visit = mate.checked, len(request.path)
            mate.checked = mate.ready if whole else min(mate.checked + mate.check.chunk_tokens, mate.ready)
            self.enter_pool(mate, now)
        elif mate.answered:
            frontend_s = self.world.pools[request.path[-1].pool].frontend_s
            self.end(request, COMPLETED, mate.last_s + frontend_s + self.back(request, ends=True), now)
