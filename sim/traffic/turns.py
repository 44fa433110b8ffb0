"""How a conversation goes on: the turn after each of some turns, given how long an answer takes.

The rules are those by which the plane plans and issues the turns of a conversation (`sim.plane.journey`), with the same
draws and the same rounding, on columns in place of one request at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.spec.distribution import MAX_TOKENS
from sim.traffic import draws
from sim.traffic.arrivals import Reaction, TrafficClass, whole_ns
from sim.traffic.lengths import CELLS

# One row per request.
REQUEST = np.dtype(
    [
        ("t_s", "f8"),
        ("user", "i8"),
        ("gap_s", "f8"),  # since the turn before came; NaN of a first turn
        ("conversation", "i4"),
        ("turn", "i4"),
        ("num_turns", "i4"),  # of the whole conversation
        ("class_id", "i4"),  # index into Source.classes
        ("language", "i4"),  # index into Source.languages
        ("prompt_tokens", "i4"),  # shared prefix, history and new tokens
        ("user_tokens", "i4"),  # the new ones
        ("output_tokens", "i4"),
        ("began_turn", "i4"),  # turn in which the text behind the shared prefix began: later turns go on with it
        ("num_segments", "i4"),  # rows of SEGMENT that describe the text behind the shared prefix; 0: its own
        ("is_refused", "i4"),  # longer than its class allows: not answered
    ]
)


class Service(NamedTuple):
    """How long an answer takes: its first token `ttft_s` after the request, every further one `tpot_s` later."""

    ttft_s: float = 0.0
    tpot_s: float = 0.0


AT_ONCE = Service()


_STREAMS = (draws.GAP, draws.USER_TOKENS, draws.OUTPUT_TOKENS, draws.LEAVE)


def _leave_frac(reaction: Reaction | None, service: Service) -> tuple[float, float]:
    """Share of conversations that end at an answer, and at a refusal."""
    if reaction is None:
        return 0.0, 0.0
    return (reaction.slow_leave_frac if service.ttft_s > reaction.slow_s else 0.0), reaction.leave_frac


@dataclass(frozen=True, eq=False)
class Turns:
    """The rules of all classes of a source, one row of each table a class."""

    service: Service
    horizon_s: float
    keys: NDArray[np.uint64]  # of gaps, user tokens, output tokens, leaving
    tables: NDArray[np.float64]  # [gap, user, output][class][1025]
    factor: NDArray[np.float64] | None  # [class][language]
    prefix_tokens: NDArray[np.int64]
    max_context_tokens: NDArray[np.int64]
    max_output_tokens: NDArray[np.int64]
    min_think_s: NDArray[np.float64]
    keep_history: NDArray[np.bool_]
    truncates: NDArray[np.bool_]
    leave_frac: NDArray[np.float64]  # [class][refused or not] of conversations that end at an answer, or a refusal

    @classmethod
    def of(
        cls,
        classes: Sequence[TrafficClass],
        languages: Sequence[str],
        seed: int,
        service: Service = AT_ONCE,
        horizon_s: float = np.inf,
    ) -> "Turns":
        """The rules of some classes."""
        factor = None
        if any(each.length_factor is not None for each in classes):
            ones = np.ones(len(languages))
            factor = np.array([ones if each.length_factor is None else each.length_factor for each in classes])
        return cls(
            service=service,
            horizon_s=horizon_s,
            keys=np.array([draws.key(seed, stream) for stream in _STREAMS]),
            tables=np.array(
                [[getattr(c, name) for c in classes] for name in ("gap_s", "user_tokens", "output_tokens")]
            ),
            factor=factor,
            prefix_tokens=np.array([each.prefix_tokens for each in classes], dtype=np.int64),
            max_context_tokens=np.array([each.max_context_tokens for each in classes], dtype=np.int64),
            max_output_tokens=np.array([each.max_output_tokens for each in classes], dtype=np.int64),
            min_think_s=np.array([each.min_think_s for each in classes]),
            keep_history=np.array([each.keep_history for each in classes], dtype=np.bool_),
            truncates=np.array([each.truncates for each in classes], dtype=np.bool_),
            leave_frac=np.array([_leave_frac(each.reaction, service) for each in classes]),
        )

    def first(self, arrivals: NDArray[np.void]) -> NDArray[np.void]:
        """The first requests of arrivals (dtype ARRIVAL)."""
        rows = np.zeros(len(arrivals), dtype=REQUEST)
        for name in (
            "t_s", "user", "conversation", "num_turns", "class_id", "language", "user_tokens", "output_tokens",
            "num_segments",
        ):  # fmt: skip
            rows[name] = arrivals[name]
        rows["gap_s"] = np.nan
        self._write_prompts(rows, 0, False)
        return rows

    def after(self, rows: NDArray[np.void]) -> NDArray[np.void]:
        """The next turn of each of some requests; none of those that were the last, or after the horizon."""
        rows = self._staying(rows[rows["turn"] + 1 < rows["num_turns"]])
        kind, answered = rows["class_id"], rows["is_refused"] == 0
        user, conversation = rows["user"].view(np.uint64), rows["conversation"].astype(np.uint64)
        turn = (rows["turn"] + 1).astype(np.uint64)
        gap_s = self._lookup(0, kind, draws.uniform(draws.bits(self.keys[0], user, conversation, turn)))
        end_s = rows["t_s"] + np.where(
            answered, self.service.ttft_s + self.service.tpot_s * (rows["output_tokens"] - 1), 0.0
        )
        due_s = whole_ns(np.maximum(rows["t_s"] + gap_s, end_s + self.min_think_s[kind]))
        later = due_s < self.horizon_s
        if not later.all():
            rows, kind, answered, due_s = rows[later], kind[later], answered[later], due_s[later]
            user, conversation, turn = user[later], conversation[later], turn[later]
        found = rows.copy()
        found["t_s"], found["gap_s"], found["turn"] = due_s, due_s - rows["t_s"], turn
        for at, name in ((1, "user_tokens"), (2, "output_tokens")):
            u = draws.uniform(draws.bits(self.keys[at], user, conversation, turn))
            found[name] = self._tokens(at, kind, rows["language"], u)
        found["output_tokens"] = np.minimum(found["output_tokens"], self.max_output_tokens[kind])
        # Only an answer enters the history; what was refused leaves the history as it was.
        history = rows["prompt_tokens"] - self.prefix_tokens[kind]
        history += np.where(answered, rows["output_tokens"], -rows["user_tokens"])
        self._write_prompts(found, np.where(self.keep_history[kind], history, 0), ~self.keep_history[kind])
        return found

    def _staying(self, rows: NDArray[np.void]) -> NDArray[np.void]:
        """The requests after which the conversation goes on."""
        if not self.leave_frac.any():
            return rows
        user, conversation = rows["user"].view(np.uint64), rows["conversation"].astype(np.uint64)
        u = draws.uniform(draws.bits(self.keys[3], user, conversation, rows["turn"].astype(np.uint64)))
        stays: NDArray[np.bool_] = u >= self.leave_frac[rows["class_id"], rows["is_refused"]]
        return np.asarray(rows[stays])

    def _write_prompts(
        self, rows: NDArray[np.void], history: NDArray[np.int64] | int, is_new: NDArray[np.bool_] | bool
    ) -> None:
        """Prompts of requests: history is dropped where they are too long, or they are refused."""
        kind = rows["class_id"]
        prefix, limit = self.prefix_tokens[kind], self.max_context_tokens[kind]
        prompt = prefix + history + rows["user_tokens"]
        too_long = prompt + rows["output_tokens"] > limit
        was_cut = np.zeros(len(rows), dtype=np.bool_)
        if too_long.any():
            truncates = self.truncates[kind]
            fitting = np.maximum(prefix + rows["user_tokens"], limit - rows["output_tokens"])
            fitting = np.where(too_long & truncates, fitting, prompt)
            was_cut = fitting < prompt
            rows["is_refused"] = too_long & ~truncates
            prompt = fitting
        else:
            rows["is_refused"] = 0
        rows["prompt_tokens"] = prompt
        begins = was_cut | is_new
        rows["began_turn"] = np.where(begins, rows["turn"], rows["began_turn"])

    def _lookup(self, which: int, kind: NDArray[np.int32], u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of the classes' tables at u in (0, 1), as `sim.traffic.lengths.lookup`."""
        table = self.tables[which].reshape(-1)
        x = u * CELLS
        i = x.astype(np.int64)
        part = x - i
        if len(self.tables[which]) > 1:
            i += kind * np.int64(CELLS + 1)
        low = table.take(i)
        return np.asarray(low + part * (table.take(i + 1) - low))

    def _tokens(
        self, which: int, kind: NDArray[np.int32], language: NDArray[np.int32], u: NDArray[np.float64]
    ) -> NDArray[np.int32]:
        values = self._lookup(which, kind, u)
        if self.factor is not None:
            values = values * self.factor[kind, language]
        return np.clip(values + 0.5, 1.0, MAX_TOKENS).astype(np.int32)
