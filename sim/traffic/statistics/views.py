"""Sources and traces as the statistics see them."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.traffic.arrivals import FIRST_PROGRAM, NO_SEGMENTS, Source
from sim.traffic.statistics.seen import Labels, Seen
from sim.traffic.texts import Texts, sampled
from sim.traffic.traces import TraceBlock
from sim.traffic.unfold import Requests

SENDERS = ("people", "API clients", "agents", "batch jobs")
"""By how many times FIRST_PROGRAM their numbers begin."""
_NAMES = ("tier", "use_case", "language", "model")  # text columns of traces that are counted by name


class SourceView:
    """What the requests of a source tell.

    Parameters
    ----------
    source, seed
        Where they come from.
    block_tokens
        Tokens of a block of text.
    max_blocks
        Where more blocks than this are expected, only so large a share of the conversations tells its text.
    """

    def __init__(self, source: Source, seed: int, block_tokens: int, max_blocks: float) -> None:
        self._source, self._seed, self._block_tokens = source, seed, block_tokens
        self._texts = Texts(source.classes, seed)
        expected = source.describe()
        num_blocks = expected["prompt_tokens"] / block_tokens + expected["requests"]
        # Texts that a source gives may be anybody's; a conversation's own text and a prefix can be told by a sample.
        own = any(each.keep_history for each in source.classes)
        self.sample_frac = min(1.0, max_blocks / max(num_blocks, 1.0)) if own else 1.0
        self._tiers = list(dict.fromkeys(each.tier for each in source.classes))
        self._tier = np.array([self._tiers.index(each.tier) for each in source.classes])
        groups = list(dict.fromkeys(each.prefix_group for each in source.classes))
        self._group = np.array([groups.index(each.prefix_group) for each in source.classes])
        self._num_shared = np.array([each.prefix_tokens // block_tokens for each in source.classes])
        self._used_s = np.full(len(groups), -np.inf)  # last use of each shared prefix
        self._has_people = not all(each.is_program for each in source.classes)

    def seen(self, blocks: Iterable[Requests]) -> Iterator[Seen]:
        """Unfolded requests from t = 0 on; those of a run-in are left out."""
        for requests in blocks:
            part = requests.from_start()
            if len(part.rows):
                yield self._seen(part)

    def _seen(self, requests: Requests) -> Seen:
        rows = requests.rows
        kind, user = rows["class_id"].astype(np.int64), rows["user"]
        labels = {"tier": Labels(self._tier[kind], self._tiers)}
        names = [each.name for each in self._source.classes]
        if names != self._tiers:
            labels["class"] = Labels(kind, names)
        if len(self._source.languages) > 1:
            labels["language"] = Labels(rows["language"].astype(np.int64), self._source.languages)
        told = self._has_people or bool(user.max() >= FIRST_PROGRAM)
        if told:
            labels["sender"] = Labels(user // FIRST_PROGRAM, SENDERS)
        some = sampled(rows, self._seed, self.sample_frac)
        part = requests if len(some) == len(rows) else Requests(rows[some], NO_SEGMENTS)
        return Seen(
            t_s=rows["t_s"],
            prompt_tokens=rows["prompt_tokens"].astype(np.int64),
            output_tokens=rows["output_tokens"].astype(np.int64),
            new_tokens=rows["user_tokens"].astype(np.int64),
            gap_s=rows["gap_s"],
            ended_turns=rows["num_turns"][rows["turn"] == 0],
            labels=labels,
            user=user % FIRST_PROGRAM if told else None,
            sampled=some,
            blocks=self._texts.hash_ids(part, self._block_tokens),
            shared=self._shared(rows, some) if self.sample_frac < 1.0 else (),
        )

    def _shared(self, rows: NDArray[np.void], some: NDArray[np.int64]) -> list[tuple[int, float]]:
        """Of some requests, the blocks of the shared prefix, and when it was used last."""
        group, t_s = self._group[rows["class_id"]], rows["t_s"]
        order = np.argsort(group, kind="stable")
        is_first = np.diff(group[order], prepend=-1) != 0
        before_s = np.append(0.0, t_s[order][:-1])
        before_s[is_first] = self._used_s[group[order][is_first]]
        used_s = np.empty(len(rows))
        used_s[order] = before_s
        self._used_s[group] = t_s  # of several, the last one stays
        return list(zip(self._num_shared[rows["class_id"][some]].tolist(), used_s[some].tolist(), strict=True))


class TraceView:
    """What the requests of a trace tell. Memory grows with the numbers of users and of sessions that it names."""

    def __init__(self) -> None:
        self._codes: dict[str, dict[str, int]] = {}
        self._sessions: dict[str, list[Any]] = {}  # last time, tokens so far, requests

    def seen(self, blocks: Iterable[TraceBlock]) -> Iterator[Seen]:
        """The requests of a trace; time 0 is the first one's."""
        first_ns: int | None = None
        for block in blocks:
            first_ns = int(block.time_ns[0]) if first_ns is None else first_ns
            seen = Seen((block.time_ns - first_ns) / 1e9, block.prompt_tokens, block.output_tokens)
            for name in _NAMES:
                if (column := getattr(block, name, None)) is not None:
                    seen.labels[name.replace("_", " ")] = self._labels(name, column)
            if (column := getattr(block, "user", None)) is not None:
                seen.user = self._labels("user", column).code
            if (column := getattr(block, "session", None)) is not None:
                self._add_sessions(seen, column)
            if block.hash_ids:
                seen.sampled, seen.blocks = np.arange(len(seen.t_s)), block.hash_ids
            yield seen
        if self._sessions:
            none = np.zeros(0, dtype=np.int64)
            turns = np.array([told[2] for told in self._sessions.values()])
            yield Seen(np.zeros(0), none, none, ended_turns=turns)

    def _labels(self, name: str, column: NDArray[np.object_]) -> Labels:
        codes = self._codes.setdefault(name, {})
        code = [codes.setdefault(text or "not told", len(codes)) for text in column.tolist()]
        return Labels(np.array(code, dtype=np.int64), list(codes))

    def _add_sessions(self, seen: Seen, column: NDArray[np.object_]) -> None:
        gap_s, new = np.full(len(seen.t_s), np.nan), np.zeros(len(seen.t_s), dtype=np.int64)
        columns = (column.tolist(), seen.t_s.tolist(), seen.prompt_tokens.tolist(), seen.output_tokens.tolist())
        for row, (name, t_s, prompt, output) in enumerate(zip(*columns, strict=True)):
            if not name:
                continue
            told = self._sessions.setdefault(name, [t_s, prompt, 0])
            if told[2]:
                gap_s[row], new[row] = t_s - told[0], prompt - told[1]
            told[:] = t_s, prompt + output, told[2] + 1
        seen.gap_s, seen.new_tokens = gap_s, new
