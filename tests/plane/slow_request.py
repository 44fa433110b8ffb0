"""Requests of the readable model, and what a play of it leaves behind."""

import math
from dataclasses import dataclass, field
from typing import Any

from slow_content import Content
from slow_handover import Hold
from slow_replica import Replica
from slow_sequence import Sequence
from slow_step import Step
from slow_transfers import Counts, Link

from sim.plane.world import Visit
from sim.traffic.arrivals import TrafficClass

COMPLETED, RATE_LIMITED, SHED, REFUSED, BLOCKED, TIMED_OUT, ABANDONED, FAILED, IN_FLIGHT = range(9)
GUARD, PAUSE, DRAFT, CANDIDATE, ANSWER = "guard", "pause", "draft", "candidate", "answer"
"""What the visits of a path are there for."""


def roles_of(path: "list[Visit]") -> list[str]:
    """What each visit of a path is there for: from its end, since what follows tells a candidate from a draft."""
    found: list[str] = []
    answers, decided = True, False
    for visit in reversed(path):
        decided |= visit.escalate_frac is not None
        if visit.kind in ("classify", "delay"):
            found.append(GUARD if visit.kind == "classify" else PAUSE)
            continue
        found.append(ANSWER if answers else CANDIDATE if decided else DRAFT)
        answers, decided = visit.kind == "decode", False
    return found[::-1]


@dataclass(eq=False)
class Request:
    """A turn that somebody sent."""

    record: dict[str, Any]
    row: Any
    kind: TrafficClass
    path: "list[Visit]"
    history_tokens: int
    """History that the next turn starts from."""
    content: Content
    """Text of prompt and answer."""
    homes: dict[int, Replica]
    """Where the conversation went last, by pool."""
    asked_s: float
    """When the turn was first asked."""
    visit: int = -1
    router: int = 0
    place: int = 0
    home: int = 0
    at: int | None = None
    heading: int | None = None
    settles: bool = False
    """Where its sender is, the nearest region to that, the region it is in, that to which it is under way, and whether
    it stays there."""
    seq: Sequence | None = None
    replica: Replica | None = None
    patience: bool = False
    """A patience timer runs."""
    hold: Hold | None = None
    """What the pool that computed the prompt keeps, where another answers."""
    prefilled_s: float = math.nan
    abort: tuple[int, float] | None = None
    """Ending and time of an abort that waits for the step's end."""
    last_token_s: float = math.nan
    path_name: str = ""
    """Of the path that it goes by."""
    paid: bool = False
    """Its limits let it in."""
    visit_content: Content | None = None
    """Text of the visit that is to begin."""
    is_busted: bool = False
    """Which is text that nobody else has."""
    gate: Any = None
    """The gateway where it waits, since when, its number there, and the timer that ends that."""
    gate_number: int = 0
    queued_s: float = math.nan
    limit: str = ""
    kept: tuple[int, float, int | None] | None = None
    """Tokens that it had when its replica failed, when it began, and what it found in the cache: it goes on there."""
    visit_lengths: tuple[int, int] = (0, 0)
    """Prompt and output of the present visit [tokens]."""
    prompt_tokens: int = 0
    """The turn's prompt, without what visits add."""
    told_turn: int = 0
    """The turn from which on all prompts and answers repeat what was before."""
    joined: list[tuple[int, bool]] = field(default_factory=list)
    """What visits added: tokens, and whether they stay."""
    num_anew: int = 0
    """Answers of this turn that were thrown away."""
    candidate: dict[str, Any] | None = None
    """What the record says if the candidate is the answer."""
    withheld_s: float = math.nan
    """When the candidate had its first token."""
    refusal_tokens: int = 0
    delay_s: float = 0.0
    """How long the delay takes in which it is."""
    is_delayed: bool = False
    read_tokens: int = 0
    """What the answer reads behind the prompt."""
    parts_at: int | None = None
    """Where the text of the next turn parts from this one's; None: it goes on."""
    num_drafts: int = 0
    """Those as long as the answer."""

    @property
    def role(self) -> str:
        return roles_of(self.path)[self.visit]

    @property
    def added_tokens(self) -> int:
        return sum(tokens for tokens, _ in self.joined)

    mate: Any = None
    """Its companion."""
    piece_start: int = 0
    """Of a companion: where in the answer the piece begins that it reads."""

    @property
    def answering(self) -> bool:
        return self.role in (CANDIDATE, ANSWER)

    @property
    def is_billed(self) -> bool:
        """Whether the visit's time is that of the answer."""
        return self.is_last or self.role == CANDIDATE

    @property
    def is_last(self) -> bool:
        return self.visit == len(self.path) - 1

    @property
    def streams(self) -> bool:
        """Whether the client gets the tokens of this visit."""
        at_prefill = self.path[self.visit].kind == "prefill"
        if self.role == CANDIDATE:
            return self.path[self.visit].escalate_frac == 0.0
        return self.role == ANSWER and (not at_prefill or self.path[-1].transfer.first_token_at_prefill)

    @property
    def num_before(self) -> int:
        """Tokens that the client has when a visit begins."""
        visit = self.path[self.visit]
        return int(visit.kind == "decode" and visit.transfer.first_token_at_prefill)

    def lengths(self, visit: Visit) -> tuple[int, int]:
        """Prompt and output of the present visit [tokens]."""
        assert visit is self.path[self.visit]
        return self.visit_lengths

    @property
    def ended(self) -> bool:
        return self.record["ending"] != IN_FLIGHT


@dataclass
class Result:
    """What a play left behind."""

    records: list[dict[str, Any]]
    """One per request, in order of serial; keys as in sim.metrics.records.DONE, IN_FLIGHT where nothing ended it."""
    gaps_s: list[list[float]]
    """Gaps between tokens, by row of the ITL histogram."""
    gaps_per_token_s: list[list[float]]
    """The same, a gap before several tokens spread evenly over them."""
    replicas: list[Replica]
    steps: list[Step]
    """Every step that began, in order of beginning."""
    events: list[tuple[float, int, int]]
    """(time, class, key) of every event played."""
    complete: bool
    """False: `max_steps` was reached."""
    links: list[Link]
    counts: list[Counts]
    """What became of tokens in the second tier, by pool."""
