"""Rank correlation of two columns of a stream, from evenly thinned rows."""

import numpy as np
from numpy.typing import NDArray

SAMPLE_ROWS = 1 << 20


class Pairs:
    """Rows 0, s, 2 s ... of a stream: s doubles whenever more than SAMPLE_ROWS are kept."""

    def __init__(self, room: int = SAMPLE_ROWS) -> None:
        self._room = room
        self._stride = 1
        self._seen = 0
        self._parts: list[NDArray[np.int64]] = []

    def add(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> None:
        """Take some more rows."""
        first = -self._seen % self._stride
        self._seen += len(a)
        self._parts.append(np.stack([a[first :: self._stride], b[first :: self._stride]]).astype(np.int64))
        while sum(part.shape[1] for part in self._parts) > self._room:
            self._parts = [np.concatenate(self._parts, axis=1)[:, ::2]]
            self._stride *= 2

    @property
    def num(self) -> int:
        """Rows kept."""
        return sum(part.shape[1] for part in self._parts)

    def spearman(self) -> float | None:
        """Pearson's correlation of the ranks, equal values sharing their mean rank; None where a column is constant."""
        if self.num < 2:
            return None
        ranks = [_ranks(column) for column in np.concatenate(self._parts, axis=1)]
        a, b = (rank - rank.mean() for rank in ranks)
        scale = float(np.sqrt((a @ a) * (b @ b)))
        return float(a @ b) / scale if scale > 0.0 else None


def _ranks(column: NDArray[np.int64]) -> NDArray[np.float64]:
    _, of, num = np.unique(column, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(num) - 0.5 * (num - 1))[of])
