"""Who sends how much: by name (tier, class, language ...), and how unequal senders are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.traffic.statistics.seen import Labels

MAX_USERS = 1 << 26
MIN_REQUESTS = 10  # of a user whose burstiness is told


class Shares:
    """Requests and tokens by name."""

    def __init__(self) -> None:
        self._sums = np.zeros((0, 3), dtype=np.int64)
        self._names: tuple[str, ...] = ()

    def add(self, labels: Labels, prompt_tokens: NDArray[np.int64], output_tokens: NDArray[np.int64]) -> None:
        """Take some more requests."""
        self._names, size = tuple(labels.names), len(labels.names)
        columns = [np.bincount(labels.code, minlength=size)]
        columns += [np.bincount(labels.code, part, size).astype(np.int64) for part in (prompt_tokens, output_tokens)]
        more = np.stack(columns, axis=1)
        more[: len(self._sums)] += self._sums
        self._sums = more

    def described(self) -> dict[str, dict[str, float]]:
        """Of each name, its requests, its share of them and of the tokens."""
        total = np.maximum(self._sums.sum(axis=0), 1)
        return {
            name: {
                "num_requests": int(sums[0]),
                "request_frac": float(sums[0] / total[0]),
                "prompt_token_frac": float(sums[1] / total[1]),
                "output_token_frac": float(sums[2] / total[2]),
                "mean_prompt_tokens": float(sums[1] / sums[0]),
                "mean_output_tokens": float(sums[2] / sums[0]),
            }
            for name, sums in zip(self._names, self._sums, strict=True)
            if sums[0]
        }


class Users:
    """Requests and spacing of each of some numbered users."""

    def __init__(self) -> None:
        self._columns = np.zeros((4, 0))  # requests, last time, sum of spacings, sum of their squares

    def add(self, user: NDArray[np.int64], t_s: NDArray[np.float64]) -> None:
        """Take requests in order of time; users from MAX_USERS on are left out."""
        if user.max(initial=0) >= MAX_USERS:
            user, t_s = user[user < MAX_USERS], t_s[user < MAX_USERS]
        if not len(user):
            return
        size = int(user.max()) + 1
        if size > self._columns.shape[1]:
            more = np.zeros((4, max(size, 2 * self._columns.shape[1])))
            more[:, : self._columns.shape[1]] = self._columns
            self._columns = more
        num, last_s, total, squares = self._columns
        order = np.argsort(user, kind="stable")
        user, t_s = user[order], t_s[order]
        is_first = np.diff(user, prepend=-1) != 0
        before_s = np.append(0.0, t_s[:-1])
        before_s[is_first] = last_s[user[is_first]]
        gap_s = np.where(is_first & (num[user] == 0), 0.0, t_s - before_s)
        first = np.flatnonzero(is_first)
        some = user[first]
        num[some] += np.diff(np.append(first, len(user)))
        total[some] += np.add.reduceat(gap_s, first)
        squares[some] += np.add.reduceat(gap_s * gap_s, first)
        last_s[some] = t_s[np.append(first[1:], len(user)) - 1]

    def described(self) -> dict[str, Any] | None:
        """How many, how unequal and how bursty; None of nobody."""
        num, _, total, squares = self._columns[:, self._columns[0] > 0]
        if not len(num):
            return None
        largest = np.sort(num)[::-1]
        found: dict[str, Any] = {
            "num_users": len(num),
            "mean_requests": float(num.mean()),
            "max_requests": int(largest[0]),
            "top_1_frac": float(largest[0] / num.sum()),
            "top_10_frac": float(largest[:10].sum() / num.sum()),
            "top_percent_frac": float(largest[: -(-len(num) // 100)].sum() / num.sum()),
            "ln_requests_std": float(np.log(num).std()),
        }
        some = (num >= MIN_REQUESTS) & (total > 0)
        if some.any():
            mean = total[some] / (num[some] - 1)
            cv = np.sqrt(np.maximum(squares[some] / (num[some] - 1) - mean**2, 0.0)) / mean
            order = np.argsort(cv)
            at = (np.cumsum(num[some][order]) - 0.5 * num[some][order]) / num[some].sum()
            for share in (0.5, 0.9):
                found[f"p{100 * share:g}_cv"] = float(np.interp(share, at, cv[order]))
        return found
