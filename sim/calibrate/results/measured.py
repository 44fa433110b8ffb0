"""What a benchmark measured at one load, whatever tool wrote it; and a careful way to read nested data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sim.errors import Problem

UNITS: Final = {"output_throughput": "tok/s", "total_throughput": "tok/s (in+out)", "request_throughput": "req/s"}
"""Unit of the throughputs, which are the whole deployment's; every other metric is a latency [ms]."""
LATENCIES: Final = ("ttft", "tpot", "itl", "e2e")
"""ttft: first token less sending. tpot: (last - first token) / (tokens - 1), one value a request. itl: every gap of
every request, pooled. e2e: the whole request."""
DISAGREE_FRAC: Final = 0.25
"""Mean end-to-end latency may differ by this much from ttft + tpot (osl - 1), for a mean of ratios is no ratio of
means; *assumed*. Beyond it the tool did not count tokens, or counted chunks for tokens."""


@dataclass
class Measured:
    """One load of one benchmark; None: the file does not say."""

    tool: str
    file: str
    line: int | None = None
    engine: str | None = None
    version: str | None = None
    model: str | None = None
    date: str | None = None
    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
    input_tokens: float | None = None
    """Mean prompt length [tokens]."""
    output_tokens: float | None = None
    """Mean answer length [tokens]."""
    load: str | None = None
    """In the words of the table's column `concurrency_or_rate`."""
    num_requests: int | None = None
    values: dict[str, float] = field(default_factory=dict)
    """Value by metric, `ttft_mean` to `e2e_p99.9` [ms] and the throughputs [UNITS]."""
    notes: list[str] = field(default_factory=list)

    def add(self, metric: str, value: float | None) -> None:
        """Keep a value above zero: a zero says that the tool did not measure it (no streaming, one token)."""
        if value is not None and value > 0:
            self.values[metric] = value

    def check(self) -> None:
        """Replace the time between tokens where it contradicts the end-to-end latency, and say so in the notes."""
        first, last, each = (self.values.get(name) for name in ("ttft_mean", "e2e_mean", "tpot_mean"))
        if first is None or last is None or each is None or self.output_tokens is None or self.output_tokens <= 2:
            return
        expected = first + each * (self.output_tokens - 1)
        if abs(expected - last) <= DISAGREE_FRAC * last or last <= first:
            return
        dropped = [name for name in self.values if name.startswith(("tpot", "itl"))]
        for name in dropped:
            del self.values[name]
        self.values["tpot_mean"] = (last - first) / (self.output_tokens - 1)
        self.notes.append(
            f"{self.tool}'s time between tokens ({each:.4g} ms) contradicts its end-to-end latency, so it may count "
            "chunks; tpot_mean DERIVED from (e2e - ttft) / (osl - 1)"
        )


class Fields:
    """Nested data read with care: what is missing is None; what is of another kind is None and noted as a problem."""

    def __init__(self, data: Mapping[str, Any], problems: list[Problem], file: str, path: str = "") -> None:
        self.data, self._problems, self._file, self._path = data, problems, file, path

    def __contains__(self, name: str) -> bool:
        return self.data.get(name) is not None

    def number(self, name: str) -> float | None:
        """Return a finite number."""
        value = self.data.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._wrong(name, "a number", value)
            return None
        return float(value) if math.isfinite(value) else None

    def count(self, name: str) -> int | None:
        """Return a whole number."""
        value = self.number(name)
        return None if value is None else round(value)

    def text(self, name: str) -> str | None:
        """Return a text."""
        value = self.data.get(name)
        if value is None or isinstance(value, str):
            return value
        self._wrong(name, "a text", value)
        return None

    def inner(self, *names: str) -> Fields:
        """Return the object at a path; an empty one where there is none."""
        found, path = self.data, self._path
        for name in names:
            path = f"{path}.{name}" if path else name
            value = found.get(name)
            if value is not None and not isinstance(value, Mapping):
                self._problems.append(Problem(_expected("an object", value), self._file, None, path))
            found = value if isinstance(value, Mapping) else {}
        return Fields(found, self._problems, self._file, path)

    def each(self, name: str) -> list[Fields]:
        """Return the objects of a list."""
        value = self.data.get(name)
        if not isinstance(value, list):
            self._wrong(name, "a list", value)
            return []
        return [
            Fields(item if isinstance(item, Mapping) else {}, self._problems, self._file, f"{name}[{index}]")
            for index, item in enumerate(value)
        ]

    def _wrong(self, name: str, kind: str, value: Any) -> None:
        path = f"{self._path}.{name}" if self._path else name
        self._problems.append(Problem(_expected(kind, value), self._file, None, path))


def _expected(kind: str, value: Any) -> str:
    shown = repr(value)
    return f"expected {kind}, got {shown[:60]}{'...' if len(shown) > 60 else ''}"


def find(data: Any, names: Iterable[str]) -> Any:
    """Return the first value under one of `names` anywhere inside nested data that is neither None nor an object."""
    wanted = tuple(names)
    stack = [data]
    while stack:
        here = stack.pop(0)
        if isinstance(here, Mapping):
            for name in wanted:
                value = here.get(name)
                if value is not None and not isinstance(value, Mapping):
                    return value
            stack.extend(here.values())
        elif isinstance(here, list):
            stack.extend(here)
    return None


def concurrency(users: float) -> str:
    """Return a closed loop in the words of the table."""
    return f"concurrency={users:g}"


def rate(per_s: float) -> str:
    """Return an open loop in the words of the table."""
    return f"rate={per_s:g} req/s"


def all_at_once(num_requests: float) -> str:
    """Return a burst in the words of the table."""
    return f"inf rate (all {num_requests:g} prompts at once)"
