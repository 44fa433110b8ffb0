"""Load generators: requests at a given rate (open loop), or users who wait for their answers (closed loop)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.traffic import draws
from sim.traffic.arrivals import ARRIVAL, NO_SEGMENTS, SEGMENT, Chunk, OneClass, TrafficClass, whole_ns
from sim.traffic.daily import MINUTES, DailyRate
from sim.traffic.lengths import table_mean
from sim.traffic.renewal import Renewals
from sim.traffic.rows import fill, in_chunks
from sim.traffic.summary import Volume, described

_ONE_TURN = np.ones(2)


@dataclass(frozen=True, eq=False)
class OpenLoop(OneClass):
    """Requests that come whatever the fleet does; each from a user of its own. A Source.

    Inter-arrival times are gamma with shape `burstiness`, as in `vllm bench serve --burstiness` (1: a Poisson process;
    smaller: burstier), and stationary from `start_s` on. With `num_prompts`, request k repeats the prompt and the
    answer length of request k - `num_prompts`.
    """

    seed: int
    rate_per_s: float
    burstiness: float
    num_requests: int | None
    num_prompts: int | None
    traffic_class: TrafficClass
    buckets: NDArray[np.void]
    start_s: float
    horizon_s: float

    def describe(self) -> dict[str, Any]:
        """The inputs in numbers."""
        expected = self.rate_per_s * self.horizon_s
        if self.num_requests is not None:
            expected = min(expected, float(self.num_requests))
        return described(
            "open_loop",
            [_volume(self.traffic_class, expected, expected)],
            None,
            rate_per_s=self.rate_per_s,
            burstiness=self.burstiness,
            num_requests=self.num_requests,
            num_prompts=self.num_prompts,
        )

    def chunks(self) -> Iterator[Chunk]:
        """Requests, sorted by time."""
        one_sender = Renewals(
            seed=self.seed,
            first_sender=0,
            rate_per_s=np.array([self.rate_per_s]),
            cv=np.array([self.burstiness**-0.5]),
            level=np.zeros(1, dtype=np.int64),
            daily=DailyRate(np.ones(MINUTES)),
            start_s=self.start_s,
            end_s=self.horizon_s,
        )
        left = 2**63 if self.num_requests is None else self.num_requests
        for times_s, _, number in one_sender.slices():
            rows = np.zeros(min(left, len(times_s)), dtype=ARRIVAL)
            rows["t_s"], rows["user"] = times_s[: len(rows)], number[: len(rows)]
            rows["bucket"] = 0 if len(self.buckets) else -1
            segments = NO_SEGMENTS
            if self.num_prompts is None:
                fill(rows, self.seed, _ONE_TURN, self.traffic_class)
            else:
                segments = self._repeat(rows, self.num_prompts)
            yield from in_chunks(rows, segments)
            left -= len(rows)
            if left == 0:
                return

    def _repeat(self, rows: NDArray[np.void], num_prompts: int) -> NDArray[np.void]:
        """Give requests the lengths of the prompt they repeat; return its text, one segment each."""
        users = rows["user"].copy()
        rows["user"] %= num_prompts
        fill(rows, self.seed, _ONE_TURN, self.traffic_class)
        segments = np.zeros(len(rows), dtype=SEGMENT)
        segments["key"] = draws.mix(rows["user"].astype(np.uint64) + draws.GOLDEN)
        segments["tokens"] = rows["user_tokens"]
        rows["user"], rows["num_segments"] = users, 1
        return segments


@dataclass(frozen=True, eq=False)
class ClosedLoop(OneClass):
    """A fixed number of users who all begin at `start_s` and send the next request when the last is answered.

    A user is a conversation without history: its turns are its requests. A Source.
    """

    seed: int
    concurrency: int
    requests_per_user: int
    traffic_class: TrafficClass
    buckets: NDArray[np.void]
    start_s: float

    def describe(self) -> dict[str, Any]:
        """The inputs in numbers: all requests, if the run goes on until the last is answered."""
        total = float(self.concurrency) * self.requests_per_user
        return described(
            "closed_loop",
            [_volume(self.traffic_class, float(self.concurrency), total)],
            None,
            concurrency=self.concurrency,
            requests_per_user=self.requests_per_user,
            reissue_delay_s=self.traffic_class.min_think_s,
            reissue_interval_s=self.traffic_class.reissue_interval_s,
        )

    def chunks(self) -> Iterator[Chunk]:
        """One row for each user."""
        rows = np.zeros(self.concurrency, dtype=ARRIVAL)
        rows["user"] = np.arange(self.concurrency)
        rows["t_s"] = whole_ns(self.start_s + self.traffic_class.reissue_interval_s * rows["user"])
        rows["bucket"] = 0 if len(self.buckets) else -1
        fill(rows, self.seed, _ONE_TURN, self.traffic_class)
        rows["num_turns"] = self.requests_per_user
        yield from in_chunks(rows)


def _volume(traffic_class: TrafficClass, conversations: float, requests: float) -> Volume:
    user = table_mean(traffic_class.user_tokens)
    output = table_mean(np.minimum(traffic_class.output_tokens, traffic_class.max_output_tokens))
    prompt = requests * (traffic_class.prefix_tokens + user)
    return Volume(
        traffic_class.name, traffic_class.tier, conversations, requests, prompt, requests * output, requests * user
    )
