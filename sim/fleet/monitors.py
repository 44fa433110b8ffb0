"""Monitors: SimPy processes that watch the pools and write the timeline."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

import numpy as np
import simpy
from numpy.typing import NDArray

from sim.cost.step_times import StepTimes
from sim.fleet.clocks import Clock
from sim.fleet.scaling.hours import not_ready_s
from sim.metrics.saturation import growth, is_saturated, margin_frac
from sim.metrics.timeline import INTERVAL
from sim.plane.world import Pool, World

SLICES = 15
"""Samples of the backlog in an interval: one a minute in a quarter of an hour."""

INTEGRALS = ("online_s", "busy_s", "running_s", "waiting_s", "kv_block_s", "busy_j", "down_s")
COUNTERS = (
    "num_arrived", "num_preempted", "prompt_tokens", "cached_tokens", "output_tokens", "num_drafts", "draft_tokens",
    "accepted_tokens",
)  # fmt: skip


@dataclass
class PoolWatch:
    """One pool's observations in the present interval."""

    begin: np.void
    """The pool at the interval's start."""
    flows: list[tuple[float, float]] = field(default_factory=list)
    """Requests that came less those that left, and the width [s], slice by slice."""
    waiting_min: float = math.inf
    not_ready_s: float = 0.0
    """Time that its replicas had started or been kept warm by the interval's start [s]."""
    last: np.void = field(init=False)
    """The pool at the last sample."""

    def __post_init__(self) -> None:
        self.last = self.begin


class Timeline:
    """The process that closes an interval of every pool at the report interval, and samples the backlog in between."""

    def __init__(
        self, clock: Clock, world: World, num_gpus: Sequence[int], interval_s: float, over: Callable[[], bool]
    ) -> None:
        self._clock, self._pools, self._num_gpus = clock, world.pools, num_gpus
        self._interval_s, self._slice_s = interval_s, interval_s / SLICES
        self._horizon_s, self._over = world.horizon_s, over
        self._rows: list[NDArray[np.void]] = []
        self._begin_s = self._seen_s = world.start_s
        self._watches = [PoolWatch(self._observe(n, world.start_s)) for n in range(len(world.pools))]
        clock.env.process(self._watch(world.start_s))

    @property
    def rows(self) -> NDArray[np.void]:
        """The timeline so far (dtype INTERVAL)."""
        return np.concatenate(self._rows) if self._rows else np.zeros(0, INTERVAL)

    def close(self, now_s: float) -> None:
        """End the present interval at `now_s` and begin the next."""
        if now_s <= self._begin_s:
            return
        self._sample(now_s)
        rows = np.zeros(len(self._pools), INTERVAL)
        for number, (row, pool, watch) in enumerate(zip(rows, self._pools, self._watches, strict=True)):
            row["pool"] = number
            fill(row, pool, self._num_gpus[number], watch, self._begin_s, now_s)
            idle_s = not_ready_s(self._clock.plane, number, now_s)
            row["margin_frac"] = margin_frac(needed_s(row, pool), online_s(watch) - (idle_s - watch.not_ready_s))
            self._watches[number] = PoolWatch(watch.last, not_ready_s=idle_s)
        self._rows.append(rows)
        self._begin_s = now_s

    def _watch(self, start_s: float) -> Generator[simpy.Event]:
        # Slices are counted from t = 0, so that intervals begin at round times and at 0, whatever the run-in. The
        # billionth keeps rounding from making a slice, or an interval, of no width at the start or at the horizon.
        k = int(np.floor(start_s / self._slice_s + 1e-9))
        while True:
            k += 1
            interval, part = divmod(k, SLICES)
            t_s = interval * self._interval_s + part * self._slice_s
            yield self._clock.at(self._horizon_s if math.isclose(t_s, self._horizon_s, rel_tol=1e-9) else t_s)
            if self._over():
                return  # the run has ended; `close` is called with the time of the last answer
            if part == 0:
                self.close(self._clock.env.now)
            else:
                self._sample(self._clock.env.now)

    def _sample(self, now_s: float) -> None:
        if now_s <= self._seen_s:
            return
        for number, watch in enumerate(self._watches):
            seen = self._observe(number, now_s)
            came = seen["num_arrived"] - watch.last["num_arrived"]
            left = seen["num_left"] - watch.last["num_left"]
            watch.flows.append((float(came - left), now_s - self._seen_s))
            watch.waiting_min = min(watch.waiting_min, int(seen["min_waiting"]))
            watch.last = seen
        self._seen_s = now_s

    def _observe(self, pool: int, now_s: float) -> np.void:
        return self._clock.plane.observe(pool, now_s)


def fill(row: np.void, pool: Pool, num_gpus: int, watch: PoolWatch, begin_s: float, end_s: float) -> None:
    """Write one pool's interval from what was observed at its ends and in between."""
    begin, end = watch.begin, watch.last
    width_s = end_s - begin_s
    spent = {name: float(end[name] - begin[name]) for name in INTEGRALS}
    row["t_s"], row["width_s"] = begin_s, width_s
    row["num_replicas"] = spent["online_s"] / width_s
    for name in COUNTERS:
        row[name] = end[name] - begin[name]
    row["num_completed"] = end["num_left"] - begin["num_left"]
    row["running_mean"], row["waiting_mean"] = spent["running_s"] / width_s, spent["waiting_s"] / width_s
    row["waiting_end"], row["waiting_min"] = end["num_waiting"], watch.waiting_min
    online_s = spent["online_s"]
    if online_s > 0.0:
        row["kv_used_mean_frac"] = spent["kv_block_s"] / (online_s * (pool.num_gpu_blocks - 1))
        row["busy_frac"] = spent["busy_s"] / online_s
    row["energy_j"] = spent["busy_j"] + pool.step_times.idle_w * max(0.0, online_s - spent["busy_s"])
    row["gpu_s"] = (online_s + spent["down_s"]) * num_gpus  # who is under repair is paid for
    growth_per_s, stderr_per_s = growth(*np.array(watch.flows).T)
    row["growth_per_s"], row["growth_stderr_per_s"] = growth_per_s, stderr_per_s
    row["saturated"] = is_saturated(growth_per_s, stderr_per_s, int(watch.waiting_min))


def online_s(watch: PoolWatch) -> float:
    """Paid replica time of the present interval [s]."""
    return float(watch.last["online_s"] - watch.begin["online_s"])


def needed_s(row: np.void, pool: Pool) -> float:
    """Replica time that an interval's work would take in the largest batches its limits allow [s]: an estimate.

    Decode: tokens x step time / n at n sequences of the interval's mean context, n the most that fit KV cache and
    `max_num_seqs`; as many tokens as the requests that came will want, if they are like those that left. Prefill:
    uncached prompt tokens at a full budget's time per token, and their attention. NaN if none left, so nobody can tell.
    """
    came, left = int(row["num_arrived"]), int(row["num_completed"])
    if came == 0:
        return 0.0
    if left == 0:
        return math.nan
    prompt = float(row["prompt_tokens"]) / came
    uncached = max(0.0, float(row["prompt_tokens"] - row["cached_tokens"]))
    output = max(0.0, float(row["output_tokens"]) / left - 1.0)
    decoded, context = came * output, prompt + 0.5 * output
    room = (pool.num_gpu_blocks - 1) * pool.block_size
    n = int(max(1.0, min(pool.max_num_seqs, room / max(1.0, context))))
    times: StepTimes = pool.step_times
    budget = pool.max_num_batched_tokens
    token_s = (times.batch_s[budget] + times.prefill_step_s) / budget + times.pair_s * prompt / 2.0
    return float(decoded * decode_token_s(pool, n, context) + uncached * token_s)


def decode_token_s(pool: Pool, num_seqs: int, context_tokens: float) -> float:
    """Time of an output token while n sequences of that context decode [s].

    All n get theirs in one step; in a pipeline in as many even steps as stages, which take the longer of a step's time
    and of all stages' times in turn. A step that verifies drafts gives each the mean number of tokens.
    """
    n, stages = num_seqs, pool.pipeline_parallel_size
    m = -(-n // stages)

    def step_s(times: StepTimes) -> float:
        return times.step_s(m, m, m * context_tokens, m)

    round_s = step_s(pool.step_times)
    if pool.stage_times is not None:
        round_s = max(round_s, stages * step_s(pool.stage_times))
    return round_s / (n * (1.0 + float(np.sum(np.cumprod(pool.accept_frac)))))


def measure_from(clock: Clock, t_s: float) -> Generator[simpy.Event]:
    """A process that forgets the gaps between tokens before `t_s`, the end of the run-in."""
    yield clock.at(t_s)
    clock.plane.forget_gaps(t_s)
