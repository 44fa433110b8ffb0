"""What an autoscaler sees of a pool: metrics of its active replicas, as a scrape of their engines would show them."""

from __future__ import annotations

from collections import deque

import numpy as np

from sim.fleet.clocks import Clock
from sim.plane.compiled import allocate
from sim.plane.gauges import show_gauges
from sim.plane.state_rows import SHOWN
from sim.plane.tables import ACTIVE
from sim.spec.autoscaler import Metric, ScalingMetric


class Looks:
    """Looks at one pool, time after time."""

    def __init__(self, clock: Clock, pool: int) -> None:
        self._clock, self._pool = clock, pool
        self._usable = clock.plane.world.pools[pool].num_gpu_blocks - 1
        self._gauges = allocate(int(clock.plane["pools"]["max_replicas"][pool]), SHOWN)
        self._seen_s = clock.env.now
        self._busy_s = self._gauges["busy_s"].copy()
        self._num_arrived = 0
        self._windows: dict[ScalingMetric, deque[tuple[float, float]]] = {}

    def look(self) -> dict[Metric, float]:
        """Total of each metric over the active replicas; of rates and busy time the mean since the last look."""
        now, gauges = self._clock.env.now, self._gauges
        show_gauges(self._clock.plane.address, self._pool, now, gauges.ctypes.data)
        active = gauges["state"] == ACTIVE
        busy_s = float((gauges["busy_s"] - self._busy_s)[active].sum())
        num_arrived = int(self._clock.plane["pools"]["num_arrived"][self._pool])
        num_came = num_arrived - self._num_arrived
        past_s = now - self._seen_s
        self._seen_s, self._busy_s, self._num_arrived = now, gauges["busy_s"].copy(), num_arrived
        waiting, running = (float(gauges[name][active].sum()) for name in ("num_waiting", "num_running"))
        return {
            "waiting": waiting,
            "running": running,
            "outstanding": waiting + running,
            "kv_used_frac": float(gauges["used_blocks"][active].sum()) / self._usable,
            "busy_frac": busy_s / past_s if past_s > 0.0 else 0.0,
            "arrivals_per_s": num_came / past_s if past_s > 0.0 else 0.0,
        }

    def mean(self, metric: ScalingMetric, value: float) -> float:
        """The mean of a metric's looks in its window, this one among them."""
        window = self._windows.setdefault(metric, deque())
        window.append((self._seen_s, value))
        while len(window) > 1 and window[0][0] <= self._seen_s - metric.window_s:
            window.popleft()
        return float(np.mean([seen for _, seen in window]))
