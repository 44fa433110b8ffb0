"""Batch jobs: handed in through the day, each released over the 24 hours that follow, in the hours that are quiet.

A job handed in at time s has n requests. With R(t) the volume released by the provider's curve up to t, one a day,
request i goes out when R(t) = R(s) + (i + u_i) / n, u_i uniform: evenly along the curve, within 24 h of s, which is
what the batch interfaces of OpenAI and Anthropic promise (at half the price). As jobs are handed in alike on every day,
all requests together follow the curve itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.traffic import draws
from sim.traffic.arrivals import ARRIVAL, Chunk, OneClass, TrafficClass
from sim.traffic.daily import MINUTES, DailyRate
from sim.traffic.expect import volume_of
from sim.traffic.lengths import Table, table_mean, tokens
from sim.traffic.renewal import Renewals
from sim.traffic.rows import fill, in_chunks
from sim.traffic.summary import described
from sim.units import DAY_S, MINUTE_S

_MAX_ROWS = 1 << 18  # of a slice, on average
_MAX_SLICE_S = 1800.0
_EDGES_S = np.arange(MINUTES + 1) * MINUTE_S
_ONE = np.uint64(1)


def trough(people: DailyRate) -> DailyRate:
    """What fills the trough: the people's rate falls so much short of its mean; even where it never does."""
    short = np.maximum(1.0 - people.by_minute / people.by_minute.mean(), 0.0)
    # Rounding leaves a rate that never varies a little below its own mean.
    return DailyRate(short / short.mean() if short.max() > 1e-9 else np.ones(MINUTES))


def window(from_s: float, until_s: float) -> DailyRate:
    """The same rate from one time of day to another, over midnight where the second is the earlier."""
    length_s = (until_s - from_s) % DAY_S
    since_s = (_EDGES_S[:, np.newaxis] - from_s - DAY_S * np.arange(-1, 1)).T
    done = np.clip(since_s, 0.0, length_s).sum(axis=0)
    return DailyRate(np.diff(done) / length_s * MINUTES)


@dataclass(frozen=True, eq=False)
class Batch(OneClass):
    """Requests of batch jobs; a Source.

    Parameters
    ----------
    seed
        Seed of all draws.
    first_job
        Number of the first job, among users; the others follow in the order in which they are handed in.
    jobs_per_day
        Mean number of jobs handed in; a Poisson process on the curve `handed_in`.
    size
        Quantile table of the number of requests of a job.
    released
        Rate over the day at which requests go out.
    traffic_class
        The one class.
    buckets
        One for all jobs, or none.
    turns
        Quantile table of calls per request.
    start_s, horizon_s
        Requests go out in [start_s, horizon_s); jobs have been handed in ever before.
    """

    seed: int
    first_job: int
    jobs_per_day: float
    size: Table
    handed_in: DailyRate
    released: DailyRate
    traffic_class: TrafficClass
    buckets: NDArray[np.void]
    turns: Table
    start_s: float
    horizon_s: float

    def describe(self) -> dict[str, Any]:
        """The inputs in numbers; jobs count by what they release."""
        per_job = table_mean(self.size)
        calls = self.jobs_per_day * per_job * self.released.volume(0.0, self.horizon_s)
        volume = volume_of(self.traffic_class, self.turns, calls)
        return described(
            "batch", [volume], self.released.by_hour, jobs_per_day=self.jobs_per_day, requests_per_job=per_job
        )

    def chunks(self) -> Iterator[Chunk]:
        """Requests, sorted by time."""
        per_s = self.jobs_per_day * table_mean(self.size) * float(self.released.by_minute.max()) / DAY_S
        width_s = min(_MAX_SLICE_S, _MAX_ROWS / per_s)
        jobs, waiting = self._jobs(), np.zeros(0, dtype=_JOB)
        known_s = -np.inf
        for index in range(int(-(-(self.horizon_s - self.start_s) // width_s))):
            begin_s = self.start_s + index * width_s
            end_s = min(begin_s + width_s, self.horizon_s)
            while known_s < end_s:
                known_s, more = next(jobs)
                waiting = np.concatenate([waiting, more])
            waiting = waiting[waiting["handed_in_s"] + DAY_S > begin_s]
            yield from in_chunks(self._released(waiting, begin_s, end_s))

    def _jobs(self) -> Iterator[tuple[float, NDArray[np.void]]]:
        """Jobs in order of time, and until when all are known [s]."""
        one_sender = Renewals(
            seed=self.seed,
            first_sender=self.first_job,
            rate_per_s=np.array([self.jobs_per_day / DAY_S]),
            cv=np.ones(1),
            level=np.zeros(1, dtype=np.int64),
            daily=self.handed_in,
            start_s=self.start_s - DAY_S,
            end_s=self.horizon_s,
        )
        for times_s, _, number in one_sender.slices():
            jobs = np.zeros(len(times_s), dtype=_JOB)
            jobs["handed_in_s"], jobs["job"] = times_s, number + self.first_job
            word = draws.bits(draws.key(self.seed, draws.JOB_SIZE), jobs["job"].astype(np.uint64), _ONE, _ONE)
            jobs["size"] = tokens(self.size, draws.uniform(word))
            jobs["volume"] = self._volume(times_s)
            yield (float(times_s[-1]) if len(times_s) else -np.inf), jobs
        yield np.inf, np.zeros(0, dtype=_JOB)

    def _released(self, jobs: NDArray[np.void], begin_s: float, end_s: float) -> NDArray[np.void]:
        """The requests that go out in [begin_s, end_s), of jobs that may have any."""
        low, high = (np.clip(self._volume(np.array([t])) - jobs["volume"], 0.0, 1.0) for t in (begin_s, end_s))
        first = np.maximum(np.floor(low * jobs["size"]).astype(np.int64) - 1, 0)
        last = np.minimum(np.ceil(high * jobs["size"]).astype(np.int64) + 1, jobs["size"])
        count = np.maximum(last - first, 0)
        of = np.repeat(np.arange(len(jobs)), count)
        number = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count) + first[of]
        job = jobs["job"][of]
        word = draws.bits(
            draws.key(self.seed, draws.RELEASE), job.astype(np.uint64), number.astype(np.uint64), np.uint64(0)
        )
        t_s = self._time(jobs["volume"][of] + (number + draws.uniform(word)) / jobs["size"][of])
        # Rounding of volumes must not let a request go out before its job was handed in.
        t_s = np.floor(np.maximum(t_s, jobs["handed_in_s"][of]) * 1e9 + 0.5) / 1e9
        inside = np.flatnonzero((t_s >= begin_s) & (t_s < end_s))
        inside = inside[np.argsort(t_s[inside], kind="stable")]
        rows = np.zeros(len(inside), dtype=ARRIVAL)
        rows["t_s"], rows["user"], rows["conversation"] = t_s[inside], job[inside], number[inside]
        rows["bucket"] = 0 if len(self.buckets) else -1
        fill(rows, self.seed, self.turns, self.traffic_class)
        return rows

    def _volume(self, t_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """R(t): days' worth of releases from t = 0 to a time."""
        whole, rest = np.divmod(t_s, DAY_S)
        return np.asarray(whole + np.interp(rest, _EDGES_S, self._done))

    def _time(self, volume: NDArray[np.float64]) -> NDArray[np.float64]:
        """The time at which R reaches a volume [s]."""
        whole, rest = np.divmod(volume, 1.0)
        return np.asarray(whole * DAY_S + np.interp(rest, self._done, _EDGES_S))

    @property
    def _done(self) -> NDArray[np.float64]:
        """Share of a day's releases before each minute."""
        done = np.append(0.0, np.cumsum(self.released.by_minute))
        return np.asarray(done / done[-1])


_JOB = np.dtype([("handed_in_s", "f8"), ("job", "i8"), ("size", "i8"), ("volume", "f8")])
