"""Programs: a number of clients of very different size, each bursty in its own way, on a daily curve.

The shape is ServeGen's (arXiv:2505.09999): ln(rate) is normal over clients, and each client's arrivals are a renewal
process whose gaps are gamma or Weibull. Its k-th arrival is a single request, or the first of an agent's chain of
calls.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from sim.traffic import draws
from sim.traffic.arrivals import ARRIVAL, Chunk, OneClass, TrafficClass
from sim.traffic.daily import DailyRate
from sim.traffic.expect import volume_of
from sim.traffic.lengths import Table
from sim.traffic.renewal import Renewals
from sim.traffic.rows import fill, in_chunks
from sim.traffic.summary import described
from sim.units import DAY_S

CV_LEVELS = 25  # equally likely; of an odd multiple of 5, one is the median and one the 90th percentile
_Z90 = 1.2815515655446004  # standard normal quantile of 0.9
_CV_RANGE = (0.3, 30.0)  # *assumed*: nearly regular, and ServeGen's 90th percentile of its burstiest service
_ZERO, _ONE, _TWO = np.uint64(0), np.uint64(1), np.uint64(2)


def client_shares(seed: int, first_client: int, num_clients: int, sigma: float) -> NDArray[np.float64]:
    """Share of the arrivals of each client: lognormal, scaled to sum to 1."""
    clients = np.arange(num_clients, dtype=np.uint64) + np.uint64(first_client)
    u = draws.uniform(draws.bits(draws.key(seed, draws.CLIENT_RATE), clients, _ZERO, _ZERO))
    log_rate = sigma * ndtri(u)
    rate = np.exp(log_rate - log_rate.max())
    return np.asarray(rate / rate.sum())


def burstiness_levels(cv_median: float, cv_p90: float) -> NDArray[np.float64]:
    """Coefficients of variation of inter-arrival times, equally likely: quantiles of a lognormal."""
    spread = np.log(cv_p90 / cv_median) / _Z90
    z = ndtri((np.arange(CV_LEVELS) + 0.5) / CV_LEVELS)
    return np.asarray(np.clip(cv_median * np.exp(spread * z), *_CV_RANGE))


@dataclass(frozen=True, eq=False)
class Clients(OneClass):
    """Arrivals of programs; a Source.

    Parameters
    ----------
    kind
        What they are called in descriptions: api or agents.
    seed
        Seed of all draws.
    first_client
        Number of the first client, among users; the others follow.
    shares : shape (clients,)
        Share of the arrivals of each.
    arrivals_per_day
        Of all clients together: single requests, or chains of calls.
    cv : shape (levels,)
        Coefficients of variation, equally likely.
    weibull_frac
        Share of the clients whose gaps are Weibull, not gamma.
    traffic_class
        The one class.
    buckets
        One for each client, or none.
    turns
        Quantile table of calls per arrival.
    starts, requests
        Rates over the day of arrivals, and of the requests that follow from them.
    start_s, horizon_s
        Arrivals fall in [start_s, horizon_s).
    """

    kind: str
    seed: int
    first_client: int
    shares: NDArray[np.float64]
    arrivals_per_day: float
    cv: NDArray[np.float64]
    weibull_frac: float
    traffic_class: TrafficClass
    buckets: NDArray[np.void]
    turns: Table
    starts: DailyRate
    requests: DailyRate
    start_s: float
    horizon_s: float

    def describe(self) -> dict[str, Any]:
        """The inputs in numbers."""
        arrivals = self.arrivals_per_day * self.requests.volume(0.0, self.horizon_s)
        volume = volume_of(self.traffic_class, self.turns, arrivals)
        largest = np.sort(self.shares)[::-1]
        return described(
            self.kind,
            [volume],
            self.requests.by_hour,
            num_clients=len(self.shares),
            top_client_share=float(largest[0]),
            top_10_clients_share=float(largest[:10].sum()),
            burstiness_cv=[float(cv) for cv in self.cv],
            weibull_frac=self.weibull_frac,
        )

    def renewals(self) -> Renewals:
        """The clients' arrivals in time."""
        clients = np.arange(len(self.shares), dtype=np.uint64) + np.uint64(self.first_client)
        key = draws.key(self.seed, draws.CLIENT_RATE)
        level = (draws.uniform(draws.bits(key, clients, _ONE, _ZERO)) * len(self.cv)).astype(np.int64)
        return Renewals(
            seed=self.seed,
            first_sender=self.first_client,
            rate_per_s=self.shares * (self.arrivals_per_day / DAY_S),
            cv=self.cv,
            level=level,
            daily=self.starts,
            start_s=self.start_s,
            end_s=self.horizon_s,
            weibull=draws.uniform(draws.bits(key, clients, _TWO, _ZERO)) < self.weibull_frac,
        )

    def chunks(self) -> Iterator[Chunk]:
        """Arrivals, sorted by time."""
        renewals = self.renewals()
        for times_s, client, number in renewals.slices():
            rows = np.zeros(len(times_s), dtype=ARRIVAL)
            rows["t_s"], rows["user"], rows["conversation"] = times_s, client, number
            rows["bucket"] = client - self.first_client if len(self.buckets) else -1
            fill(rows, self.seed, self.turns, self.traffic_class)
            yield from in_chunks(rows)
