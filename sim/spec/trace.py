"""A recorded trace, replayed: its file, and what is done to it first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field

from sim.spec.base import (
    Key,
    PositiveFraction,
    PositiveInt,
    PositiveNumber,
    PositiveRate,
    Seconds,
    Spec,
    Text,
)

TraceFormat = Literal[
    "auto",
    "parquet",
    "azure",
    "burstgpt",
    "mooncake",
    "timed_trace",
    "servegen",
    "sharegpt",
    "vllm_custom",
    "inference_perf",
    "inference_perf_requests",
    "vidur",
]

_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "cut": ("from", "to"),
    "thin": ("frac",),
    "scale": ("rate",),
    "shift": ("by",),
    "splice": ("path", "format", "gap"),
    "merge": ("path", "format"),
}
_REQUIRED: Final = {"thin": "frac", "scale": "rate", "shift": "by", "splice": "path", "merge": "path"}


class TraceOperation(Spec):
    """Something done to a trace before it is replayed; times count from its first request."""

    do: Literal["cut", "thin", "scale", "shift", "splice", "merge"]
    """cut: keep a window of time, which begins at 0. thin: keep a fraction of the requests, whole sessions. scale: let
    requests come faster. shift: let them come later. splice: another trace after it. merge: another trace beside it."""
    from_s: Seconds | None = Field(default=None, alias="from")
    """Of cut: the window's beginning [s]. Default: 0."""
    to_s: Seconds | None = Field(default=None, alias="to")
    """Of cut: the window's end [s], which is not part of it. Default: the trace's."""
    frac: PositiveFraction | None = None
    """Of thin: fraction of the requests to keep."""
    rate: PositiveNumber | None = None
    """Of scale: how many times as fast."""
    by_s: Seconds | None = Field(default=None, alias="by")
    """Of shift: how much later [s]."""
    path: Text | None = None
    """Of splice and merge: file name of the other trace."""
    format: TraceFormat | None = None
    """Of splice and merge: format of the other trace. Default: told by its shape."""
    gap_s: Seconds | None = Field(default=None, alias="gap")
    """Of splice: time from the last request of one to the first of the other [s]. Default: 0."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield fields of other operations, missing ones, and an empty window."""
        said = {
            field.alias or name for name, field in type(self).model_fields.items() if getattr(self, name) is not None
        }
        for name in sorted(said - {"do", *_FIELDS[self.do]}):
            yield name, f"not part of {self.do}, which takes {', '.join(_FIELDS[self.do])}"
        if (needed := _REQUIRED.get(self.do)) and needed not in said:
            yield needed, f"missing; {self.do} needs it"
        if self.do == "cut" and self.to_s is not None and self.to_s <= (self.from_s or 0.0):
            yield "to", f"must be after from ({self.from_s or 0.0:g} s), got {self.to_s:g} s"

    def __str__(self) -> str:
        """What is done, in words, such as cut from 600 s to 2400 s."""
        said: list[str] = [self.do]
        for name, field in type(self).model_fields.items():
            if name != "do" and (value := getattr(self, name)) is not None:
                shown = f"{value:g}" if isinstance(value, float) else str(value)
                said.append(f"{field.alias or name} {shown}" + (" s" if name.endswith("_s") else ""))
        return " ".join(said)


class TraceTraffic(Spec):
    """A recorded trace, replayed."""

    kind: Literal["trace"]
    """A recorded trace."""
    format: TraceFormat = "auto"
    """How the file is written; see docs/traces.md. Default auto: told by the file's shape."""
    path: Text
    """File name of the trace, plain or gzip, such as --set traffic.path=FILE; as seen from the current folder. No
    default: traces are not part of tokenfleet."""
    rate_scale: PositiveNumber = 1.0
    """Arrivals come this many times as fast, after all operations. Default 1: as recorded."""
    operations: tuple[TraceOperation, ...] = ()
    """What is done to the trace first, in this order. Default: nothing."""
    repair: bool = False
    """Repair flaws of the file (rows out of order, repeated or unreadable, ...) and count them, rather than refuse it.
    Default: refuse, with the rows named."""
    time_unit: Literal["s", "ms", "us"] | None = None
    """Unit of times that are written as numbers. Default: the format's own, and refuse a trace whose rate or span
    cannot be true in it."""
    block_tokens: PositiveInt | None = None
    """Prompt tokens that a hash id stands for. Default: what the file says, else the format's own (Mooncake 512)."""
    rate_per_s: Annotated[PositiveRate, Field(le=1e9)] | None = None
    """Of a file without times: rate at which its requests, or its conversations, arrive (Poisson) [1/s]."""
    turn_gap_s: Seconds = 123.0
    """Of a file of conversations without times: arrival to arrival of a conversation's requests [s]. Default 123:
    median of Mooncake's conversation trace."""
    chars_per_token: PositiveNumber = 4.85
    """Of a file of text without token counts: characters that count as one token. Default 4.85: English under
    cl100k_base, measured on FLORES-200."""
    tier: Key = "default"
    """Tier that all requests belong to."""
