"""How record types of the plane are written down."""

from __future__ import annotations

import numpy as np


def fields(*groups: str) -> list[tuple[str, str]]:
    """Fields from groups such as "f8 t_s end_s": a type, then the names that have it."""
    return [(name, kind) for kind, *names in map(str.split, groups) for name in names]


def record(*groups: str) -> np.dtype[np.void]:
    """A record type padded to whole cache lines, so that a row never straddles more lines than it must."""
    size = np.dtype(fields(*groups)).itemsize
    pad = -size % 64
    return np.dtype([*fields(*groups), ("pad", "u1", pad)] if pad else fields(*groups))
