"""How arrivals are spread over time: rate, peaks, spacing, dispersion of counts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.traffic.statistics.values import Values

WINDOWS_S = (1.0, 10.0, 60.0, 300.0, 600.0, 3600.0)
CV_WINDOW_S = 600.0
MIN_PER_WINDOW = 3  # two spacings, the fewest that have a deviation
_MAX_BINS = 1440
_FIRST_WIDTH_S = 10.0


class Counts:
    """Numbers of arrivals in windows of one length, from time 0 on."""

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self._index, self._count = 0, 0  # the window at hand
        self._total, self._squares, self._most = 0, 0, 0  # of those before

    def add(self, t_s: NDArray[np.float64]) -> None:
        """Take arrivals in order of time; none before 0."""
        index = np.floor(t_s / self.window_s).astype(np.int64)
        edges = np.flatnonzero(np.diff(index, prepend=self._index, append=-1))
        sizes = np.diff(edges, prepend=0)
        sizes[0] += self._count
        full = sizes[:-1]
        self._total += int(full.sum())
        self._squares += int((full * full).sum())
        self._most = max(self._most, int(full.max(initial=0)))
        self._index, self._count = int(index[-1]), int(sizes[-1])

    def described(self, end_s: float) -> dict[str, Any]:
        """Statistics of the windows that are over at a time, at or after the last arrival [s]."""
        num = int(end_s // self.window_s)
        is_over = self._index < num
        total = self._total + self._count * is_over
        squares = self._squares + self._count**2 * is_over
        most = max(self._most, self._count * is_over)
        found: dict[str, Any] = {"window_s": self.window_s, "num_windows": num}
        found["fano"] = _fano(num, total, squares)
        found["fano_with_last"] = _fano(self._index + 1, self._total + self._count, self._squares + self._count**2)
        found["peak_per_s"] = most / self.window_s if num else None
        found["peak_to_mean"] = most * num / total if total else None
        return found


def _fano(num: int, total: int, squares: int) -> float | None:
    """Variance over mean of counts, both divided by their number."""
    return (squares / num - (total / num) ** 2) / (total / num) if num > 1 and total else None


class Spacing:
    """Times between arrivals, all together and within windows of ten minutes."""

    def __init__(self) -> None:
        self._last_s: float | None = None
        self._gaps_s = Values()
        self._num_equal = 0
        self._index: list[NDArray[np.int64]] = []
        self._sums: list[NDArray[np.float64]] = []

    def add(self, t_s: NDArray[np.float64]) -> None:
        """Take arrivals in order of time."""
        joined = t_s if self._last_s is None else np.append(self._last_s, t_s)
        gaps_s, index = np.diff(joined), np.floor(joined / CV_WINDOW_S).astype(np.int64)
        self._last_s = float(t_s[-1])
        self._gaps_s.add(gaps_s)
        self._num_equal += int(np.count_nonzero(gaps_s == 0.0))
        inside = index[1:] == index[:-1]
        at, gaps_s = index[1:][inside], gaps_s[inside]
        if len(at):
            first = np.flatnonzero(np.diff(at, prepend=at[0] - 1))
            self._index.append(at[first])
            sums = [np.add.reduceat(x, first) for x in (np.ones(len(at)), gaps_s, gaps_s * gaps_s)]
            self._sums.append(np.array(sums).T)

    def described(self) -> dict[str, Any]:
        """Coefficients of variation and quantiles."""
        if not self._gaps_s.num:
            return {"cv": None, "equal_frac": None, "cv_by_10min": [], "spacing": None}
        mean = self._gaps_s.mean
        return {
            "cv": self._gaps_s.deviation / mean if mean else None,
            "equal_frac": self._num_equal / self._gaps_s.num,
            "cv_by_10min": self._by_window(),
            "spacing": self._gaps_s.described("s"),
        }

    def _by_window(self) -> list[float]:
        if not self._index:
            return []
        index, sums = np.concatenate(self._index), np.concatenate(self._sums)
        _, of = np.unique(index, return_inverse=True)
        num, total, squares = (np.bincount(of, sums[:, k]) for k in range(3))
        some = (num >= MIN_PER_WINDOW - 1) & (total > 0)
        mean = total[some] / num[some]
        deviation = np.sqrt(np.maximum(squares[some] / num[some] - mean**2, 0.0))
        return [float(cv) for cv in deviation / mean]


class Series:
    """Rates over time of several groups: bins that double in width so that there are never more than 1,440."""

    def __init__(self) -> None:
        self.width_s = _FIRST_WIDTH_S
        self._counts = np.zeros((0, _MAX_BINS), dtype=np.int64)
        self._end = 0

    def add(self, t_s: NDArray[np.float64], group: NDArray[np.int64], num_groups: int) -> None:
        """Take arrivals of numbered groups; the number of groups may grow."""
        if num_groups > len(self._counts):
            more = np.zeros((num_groups - len(self._counts), _MAX_BINS), dtype=np.int64)
            self._counts = np.concatenate([self._counts, more])
        while t_s[-1] >= self.width_s * _MAX_BINS:
            pairs = self._counts.reshape(len(self._counts), -1, 2).sum(axis=2)
            self._counts = np.concatenate([pairs, np.zeros_like(pairs)], axis=1)
            self.width_s *= 2.0
        index = (t_s / self.width_s).astype(np.int64)
        self._end = int(index[-1]) + 1
        self._counts += np.bincount(group * _MAX_BINS + index, minlength=self._counts.size).reshape(self._counts.shape)

    def rates(self, names: Sequence[str], end_s: float) -> dict[str, Any]:
        """Requests a second in each bin, by name; the last bin may be cut short by the end."""
        num = min(max(self._end, int(np.ceil(end_s / self.width_s))), _MAX_BINS)
        widths = np.clip(end_s - self.width_s * np.arange(num), 0.1 * self.width_s, self.width_s)
        by_name = {name: (row[:num] / widths).tolist() for name, row in zip(names, self._counts, strict=True)}
        return {"width_s": self.width_s, "by_name": by_name}
