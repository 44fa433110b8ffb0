"""Step-time and quantile arrays of a plane, laid end to end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.void]


class Curves:
    """Float arrays laid end to end; each is known by where it begins. Equal arrays are kept once."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.float64]] = []
        self._begin: dict[bytes, int] = {}
        self.size = 0

    def add(self, values: NDArray[np.float64]) -> int:
        """Where `values` begin."""
        flat = np.ascontiguousarray(values, dtype=np.float64).ravel()
        if (name := flat.tobytes()) not in self._begin:
            self._begin[name] = self.size
            self._parts.append(flat)
            self.size += len(flat)
        return self._begin[name]

    def write(self, table: Table) -> None:
        """Copy all of them into the plane's table."""
        table["v"][: self.size] = np.concatenate(self._parts) if self._parts else []
