"""What the command line does to requests before it looks at them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sim.traffic.traces import TraceBlock
from sim.traffic.traces import operations as do


@dataclass(frozen=True)
class Operation:
    """Something done to requests; times count from t = 0, of a trace from its first request."""

    name: Literal["cut", "thin", "scale", "shift"]
    value: float
    """Of cut, the beginning [s]; of thin, the fraction kept; of scale, how many times as fast; of shift, how much later
    [s]."""
    end: float = math.inf
    """Of cut, the end [s]."""

    def applied(self, blocks: Iterator[TraceBlock], seed: int) -> Iterator[TraceBlock]:
        """The requests after it."""
        match self.name:
            case "cut":
                return do.cut(blocks, self.value, self.end)
            case "thin":
                return do.thin(blocks, self.value, seed)
            case "scale":
                return do.scale(blocks, self.value)
            case "shift":
                return do.shift(blocks, self.value)

    def __str__(self) -> str:
        unit = {"cut": " s", "shift": " s"}.get(self.name, "")
        until = f" to {self.end:g}" if math.isfinite(self.end) else ""
        return f"{self.name} {self.value:g}{until}{unit}"
