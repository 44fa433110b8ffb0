"""Conversations of one workload, which start as the workload's own `arrivals` say.

Session n of the source, counted in order of time, is user n, conversation 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.errors import Problem, SpecError
from sim.spec import SessionTraffic, Tier
from sim.spec.arrival_process import ArrivalProcess
from sim.spec.workload import Workload
from sim.traffic.arrivals import ARRIVAL, Chunk, OneClass, TrafficClass
from sim.traffic.bursts import BurstKind, Starts
from sim.traffic.classes import buckets_of, class_of, workload_tables
from sim.traffic.expect import volume_of
from sim.traffic.lengths import Table, table_mean
from sim.traffic.rows import fill, in_chunks
from sim.traffic.size import hold_size
from sim.traffic.summary import described


@dataclass(frozen=True, eq=False)
class Sessions(OneClass):
    """Conversations that start at given times at random; a Source."""

    starts: Starts
    traffic_class: TrafficClass
    turns: Table
    buckets: NDArray[np.void]

    def describe(self) -> dict[str, Any]:
        """The inputs in numbers."""
        rate_per_s = sum(kind.rate_per_s for kind in self.starts.kinds)
        conversations = rate_per_s * self.starts.volume_s(self.starts.end_s)
        volume = volume_of(self.traffic_class, self.turns, conversations)
        bursts = [
            {"rate_per_s": kind.rate_per_s, "mean_size": kind.mean_size, "spread_s": kind.spread_s}
            for kind in self.starts.kinds
        ]
        return described("sessions", [volume], None, rate_per_s=rate_per_s, bursts=bursts)

    def chunks(self) -> Iterator[Chunk]:
        """Conversation starts, sorted by time."""
        num_rows = 0
        for times_s in self.starts.slices():
            rows = np.zeros(len(times_s), dtype=ARRIVAL)
            rows["t_s"], rows["user"] = times_s, np.arange(num_rows, num_rows + len(rows))
            rows["bucket"] = 0 if len(self.buckets) else -1
            fill(rows, self.starts.seed, self.turns, self.traffic_class)
            yield from in_chunks(rows)
            num_rows += len(rows)


def starts_of(arrivals: ArrivalProcess, *, seed: int, rate_scale: float, start_s: float, end_s: float) -> Starts:
    """When conversations start, of the `arrivals` of a workload."""
    rate_per_s = arrivals.rate_per_s * rate_scale
    kinds = [BurstKind(rate_per_s * b.share_frac, b.mean_size, b.spread_s) for b in arrivals.bursts]
    alone = 1.0 - sum(burst.share_frac for burst in arrivals.bursts)
    if alone > 1e-9:
        kinds.append(BurstKind(rate_per_s * alone))
    relative, interval_s = np.ones(1), 1.0
    if arrivals.intensity is not None:
        relative, interval_s = np.array(arrivals.intensity.relative), arrivals.intensity.interval_s
    return Starts(seed, tuple(kinds), interval_s, relative / relative.mean(), start_s, end_s)


def sessions(
    traffic: SessionTraffic, workload: Workload, tier: Tier, *, seed: int, start_s: float, end_s: float
) -> Sessions:
    """The source of traffic of kind `sessions`.

    Raises
    ------
    SpecError
        The workload does not say when conversations start, and neither does the traffic; or there are too many.
    """
    arrivals = workload.arrivals
    if arrivals is None:
        if traffic.rate_per_s is None:
            message = f"missing; workload {workload.name} has no `arrivals` that would say when conversations start"
            raise SpecError(Problem(message, path="traffic.rate_per_s"))
        given = "given by the traffic"
        arrivals = ArrivalProcess(rate_per_s=traffic.rate_per_s, rate_per_s_justification=given)
    elif traffic.rate_per_s is not None:
        arrivals = arrivals.model_copy(update={"rate_per_s": traffic.rate_per_s})
    tables = workload_tables(workload)
    turns = tables.pop("turns")
    traffic_class = class_of(
        traffic.tier,
        traffic.tier,
        tier,
        **tables,
        min_think_s=workload.min_think_s,
        keep_history=workload.multi_turn,
        is_program=False,
    )
    source = Sessions(
        starts=starts_of(arrivals, seed=seed, rate_scale=traffic.rate_scale, start_s=start_s, end_s=end_s),
        traffic_class=traffic_class,
        turns=turns,
        buckets=buckets_of(tier.rate_limit, 1),
    )
    days_s = source.starts.volume_s(end_s) - source.starts.volume_s(start_s)
    rate_per_s = arrivals.rate_per_s * traffic.rate_scale
    hold_size(rate_per_s * days_s * table_mean(turns), "traffic.rate_scale, traffic.rate_per_s or horizon")
    return source
