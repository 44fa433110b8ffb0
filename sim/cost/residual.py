"""Residual: what a form leaves unexplained, as a table of log-ratios measured / form on a grid."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.cost.step_times import Floats

AXIS = ".axis"
"""In a file, the nodes of axis i of table NAME are the array `NAME.axis<i>`."""
QUANTUM = 1 / 128
"""Step of the stored log-ratios: an error of at most 0.4 %, exact in 16-bit floats below 8."""


@dataclass(frozen=True, eq=False)
class Residual:
    """Log-ratios on a grid: linear between nodes, along each axis in turn; constant beyond the outermost nodes."""

    axes: tuple[Floats, ...]
    """Nodes of each axis, increasing."""
    values: Floats
    """Natural logarithm of measured over form, shape [len(axis) for axis in axes]."""

    def log_at(self, *coordinates: Floats | float) -> Floats:
        """Log-ratio at points: scalars and arrays of one shape, one coordinate for each axis."""
        values, axes, arrays = self.values, [], []
        for axis, (nodes, at) in enumerate(zip(self.axes, coordinates, strict=True)):
            if np.ndim(at):
                axes.append(nodes)
                arrays.append(np.asarray(at, dtype=np.float64))
                continue
            low, share = _cell(nodes, np.float64(at))
            position = len(axes)  # axes before this one that are still there
            values = np.moveaxis(values, position, 0)
            values = (1.0 - share) * values[low] + share * values[min(int(low) + 1, len(nodes) - 1)]
            del axis
        return _corners(values, axes, arrays)

    def factor(self, *coordinates: Floats | float) -> Floats:
        """Measured over form at points."""
        return np.asarray(np.exp(self.log_at(*coordinates)))


def _cell(nodes: Floats, at: Floats | np.float64) -> tuple[NDArray[np.intp], Floats]:
    """Return the node below a point and the share of the way to the next."""
    if len(nodes) == 1:
        return np.zeros(np.shape(at), dtype=np.intp), np.zeros(np.shape(at))
    low = np.clip(np.searchsorted(nodes, at, side="right") - 1, 0, len(nodes) - 2).astype(np.intp)
    return low, np.clip((at - nodes[low]) / (nodes[low + 1] - nodes[low]), 0.0, 1.0)


def _corners(values: Floats, axes: list[Floats], arrays: list[Floats]) -> Floats:
    """Return the multilinear interpolation of values at points given by arrays alone."""
    if not axes:
        return np.asarray(values)
    low, share = _cell(axes[0], arrays[0])
    if len(axes) == 1:
        above = np.minimum(low + 1, len(axes[0]) - 1)
        return np.asarray((1.0 - share) * values[low] + share * values[above])
    cells = [_cell(nodes, at) for nodes, at in zip(axes, arrays, strict=True)]
    total = np.zeros(np.broadcast_shapes(*(at.shape for at in arrays)))
    for corner in np.ndindex(*(2,) * len(axes)):
        weight: Floats | float = 1.0
        index = []
        for up, (low, share), nodes in zip(corner, cells, axes, strict=True):
            weight = weight * (share if up else 1.0 - share)
            index.append(np.minimum(low + up, len(nodes) - 1))
        total = total + weight * values[tuple(index)]
    return total


FLAT = Residual((np.zeros(1),), np.zeros(1))
"""No residual: the form alone."""


def pack(tables: dict[str, Residual], arrays: dict[str, Floats] | None = None) -> bytes:
    """Return tables (and further arrays) as one compressed file."""
    stored: dict[str, Floats] = dict(arrays or {})
    for name, table in tables.items():
        stored[name] = (np.round(table.values / QUANTUM) * QUANTUM).astype(np.float16)
        for i, nodes in enumerate(table.axes):
            stored[f"{name}{AXIS}{i}"] = nodes.astype(np.float32)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: stored[name] for name in sorted(stored)})  # type: ignore[arg-type]
    return buffer.getvalue()


def unpack(data: bytes) -> tuple[dict[str, Residual], dict[str, Floats]]:
    """Return the tables and the further arrays of a file that `pack` wrote."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        stored = {name: np.asarray(file[name], dtype=np.float64) for name in file.files}
    names = {name.partition(AXIS)[0] for name in stored if AXIS in name}
    tables = {}
    for name in sorted(names):
        values = stored[name]
        axes = tuple(stored[f"{name}{AXIS}{i}"] for i in range(values.ndim))
        tables[name] = Residual(axes, values)
    others = {name: value for name, value in stored.items() if name not in names and AXIS not in name}
    return tables, others
