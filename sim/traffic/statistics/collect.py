"""All statistics of a stream of requests, in one pass."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.traffic.statistics.pairs import Pairs
from sim.traffic.statistics.prefixes import Prefixes
from sim.traffic.statistics.rates import WINDOWS_S, Counts, Series, Spacing
from sim.traffic.statistics.seen import Labels, Seen
from sim.traffic.statistics.sessions import MAX_USES, infer
from sim.traffic.statistics.shares import Shares, Users
from sim.traffic.statistics.values import Values

MAX_BLOCKS = 2_000_000
"""Blocks of prompts of which reuse is told; the prompts after them are left out of it."""
MOST_TURNS = 20
CURVE = tuple(np.linspace(0.0, 1.0, 201).tolist())
QUANTITIES = ("prompt_tokens", "output_tokens", "new_tokens", "first_prompt_tokens", "later_prompt_tokens", "gap")
_SERIES = ("tier", "use case")  # the first of these that there is gets a rate over time


class Statistics:
    """Requests come in; `result` says what they were like.

    Parameters
    ----------
    block_tokens
        Tokens of a block of text.
    sample_frac
        Share of the requests whose text is told.
    max_blocks
        Blocks of prompts kept, for reuse and for sessions that the traffic does not name.
    """

    def __init__(self, block_tokens: int, sample_frac: float = 1.0, max_blocks: int = MAX_BLOCKS) -> None:
        self.num = 0
        self._last_s = 0.0
        self._first_s: float | None = None
        self._counts = [Counts(window_s) for window_s in WINDOWS_S]
        self._spacing, self._series = Spacing(), Series()
        self._series_names: Sequence[str] = ("all",)
        self._tokens = {"prompt_tokens": 0, "output_tokens": 0}
        self._values = {name: Values(whole=name != "gap") for name in QUANTITIES}
        self._pairs = Pairs()
        self._turns = np.zeros(0, dtype=np.int64)
        self._shares: dict[str, Shares] = {}
        self._users: dict[str, Users] = {}
        self._prefixes, self._sample_frac = Prefixes(block_tokens), sample_frac
        self._room = max_blocks
        self._told: list[tuple[float, int, int, Sequence[int]]] = []  # prompts whose sessions are to be inferred

    def add(self, seen: Seen) -> None:
        """Take some more requests, in order of time."""
        if seen.ended_turns is not None and len(seen.ended_turns):
            more = np.bincount(seen.ended_turns, minlength=len(self._turns))
            more[: len(self._turns)] += self._turns
            self._turns = more
        if not len(seen.t_s):
            return
        self.num += len(seen.t_s)
        self._first_s = float(seen.t_s[0]) if self._first_s is None else self._first_s
        self._last_s = float(seen.t_s[-1])
        for counts in self._counts:
            counts.add(seen.t_s)
        self._spacing.add(seen.t_s)
        grouped = next((seen.labels[name] for name in _SERIES if name in seen.labels), None)
        grouped = grouped or Labels(np.zeros(len(seen.t_s), dtype=np.int64), ("all",))
        self._series.add(seen.t_s, grouped.code, len(grouped.names))
        self._series_names = grouped.names
        self._add_lengths(seen)
        for name, labels in seen.labels.items():
            self._shares.setdefault(name, Shares()).add(labels, seen.prompt_tokens, seen.output_tokens)
        if seen.user is not None:
            self._add_users(seen, seen.user)
        if seen.sampled is not None:
            self._add_text(seen, seen.sampled)

    def _add_lengths(self, seen: Seen) -> None:
        for name in self._tokens:
            self._tokens[name] += int(getattr(seen, name).sum())
            self._values[name].add(getattr(seen, name))
        self._pairs.add(seen.prompt_tokens, seen.output_tokens)
        if seen.new_tokens is not None:
            self._values["new_tokens"].add(seen.new_tokens[seen.new_tokens > 0])
        if seen.gap_s is not None:
            is_first = np.isnan(seen.gap_s)
            self._values["gap"].add(seen.gap_s[~is_first])
            self._values["first_prompt_tokens"].add(seen.prompt_tokens[is_first])
            self._values["later_prompt_tokens"].add(seen.prompt_tokens[~is_first])

    def _add_users(self, seen: Seen, user: NDArray[np.int64]) -> None:
        groups = seen.labels.get("sender", Labels(np.zeros(len(user), dtype=np.int64), ("users",)))
        for code, name in enumerate(groups.names):
            mine = groups.code == code
            self._users.setdefault(name, Users()).add(user[mine], seen.t_s[mine])

    def _add_text(self, seen: Seen, rows: NDArray[np.int64]) -> None:
        names_sessions = seen.gap_s is not None
        shared = seen.shared or ((0, -np.inf),) * len(rows)
        for row, blocks, (num_shared, used_s) in zip(rows.tolist(), seen.blocks, shared, strict=True):
            self._room -= len(blocks)
            if self._room < 0:
                return
            if num_shared and used_s > -np.inf:
                self._prefixes.touch(used_s, blocks[:num_shared])
            t_s, prompt, output = float(seen.t_s[row]), int(seen.prompt_tokens[row]), int(seen.output_tokens[row])
            self._prefixes.add(t_s, prompt, blocks)
            if not names_sessions:
                self._told.append((t_s, prompt, output, blocks))

    def result(self, end_s: float | None = None) -> dict[str, Any]:
        """The statistics.

        Parameters
        ----------
        end_s
            When watching ended, at or after the last request [s]; default: with the last request.
        """
        last_s = self._last_s if end_s is None else end_s
        begin_s = (self._first_s or 0.0) if end_s is None else 0.0
        span_s = last_s - begin_s
        inferred = self._infer()
        found: dict[str, Any] = {
            "num_requests": self.num,
            "span_s": span_s,
            "rate_per_s": self.num / span_s if span_s > 0 else None,
            "total_prompt_tokens": self._tokens["prompt_tokens"],
            "total_output_tokens": self._tokens["output_tokens"],
            "arrivals": self._spacing.described() | {"by_window": [each.described(last_s) for each in self._counts]},
        }
        for name, values in self._values.items():
            found[name] = values.described("s" if name == "gap" else "tokens")
        found["prompt_output"] = {"spearman": self._pairs.spearman(), "num_sampled": self._pairs.num}
        found["sessions"] = self._sessions(inferred)
        found["reuse"] = self._prefixes.described(self._sample_frac) if self._prefixes.num_requests else None
        found["shares"] = {name: shares.described() for name, shares in self._shares.items()}
        users = {name: users.described() for name, users in self._users.items()}
        found["users"] = {name: told for name, told in users.items() if told is not None}
        found["rates"] = self._series.rates(self._series_names, last_s) if self.num else None
        found["curves"] = {
            name: values.quantiles(CURVE).tolist() for name, values in self._values.items() if values.num
        }
        return found

    def _infer(self) -> bool:
        """Find the sessions of prompts whose traffic names none; say whether that was done."""
        if not self._told:
            return False
        t_s, prompt, output = (np.array(column) for column in list(zip(*self._told, strict=True))[:3])
        sessions = infer([told[3] for told in self._told])
        is_later = sessions.parent >= 0
        parent = sessions.parent[is_later]
        self._values["gap"].add(t_s[is_later] - t_s[parent])
        new = prompt[is_later] - prompt[parent] - output[parent]
        self._values["new_tokens"].add(new[new > 0])
        self._values["first_prompt_tokens"].add(prompt[~is_later])
        self._values["later_prompt_tokens"].add(prompt[is_later])
        self._turns = np.bincount(sessions.turns)
        self._told = []
        return True

    def _sessions(self, inferred: bool) -> dict[str, Any] | None:
        num = int(self._turns.sum())
        if not num:
            return None
        turns = np.arange(len(self._turns))
        multi = self._turns[2:].sum()
        requests = int(turns @ self._turns)
        return {
            "inferred": inferred,
            "max_uses": MAX_USES if inferred else None,
            "num_sessions": num,
            "mean_turns": requests / num,
            "max_turns": int(turns[self._turns > 0][-1]),
            "multi_turn_frac": float(multi / num),
            "multi_turn_request_frac": float(turns[2:] @ self._turns[2:] / requests),
            "num_by_turns": [int(self._turns[k]) if k < len(self._turns) else 0 for k in range(1, MOST_TURNS)]
            + [int(self._turns[MOST_TURNS:].sum())],
        }
