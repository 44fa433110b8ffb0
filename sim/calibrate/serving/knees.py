"""The knee of a sweep: the number of users from which the time to the first token leaves the prefill line.

Users of a closed loop who move together wait for each other's prompts, so the time to the first token rises in
proportion to their number as long as there is room for all of them: the prefill line. Where the cache or the batch is
full they wait for answers too, and the time leaves that line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sim.calibrate.serving.loads import read_load
from sim.calibrate.serving.rows import Point

FEWEST_LOADS = 4
"""Loads of a sweep that can show a knee."""
FACTOR = 2.0
"""Times the prefill line at which a point has left it: *assumed*."""
LINE_LOADS = 3
"""Smallest loads, over which the line is drawn: a knee earlier than that cannot be seen."""


@dataclass(frozen=True)
class Knee:
    """A sweep and its two knees, as positions in its loads; the number of loads where there is none."""

    bed: str
    gpu: str
    loads: tuple[float, ...]
    measured: int
    predicted: int

    @property
    def steps_off(self) -> int:
        """Steps of the sweep between the two."""
        return abs(self.measured - self.predicted)


def knee(loads: Sequence[float], ttft_ms: Sequence[float]) -> int:
    """Return the position of the first load that lies above `FACTOR` times the line, or the number of loads."""
    line = max(time / load for time, load in zip(ttft_ms[:LINE_LOADS], loads, strict=False))
    above = (n for n, (load, time) in enumerate(zip(loads, ttft_ms, strict=True)) if time > FACTOR * line * load)
    return next(above, len(loads))


def knees(points: Sequence[Point], predicted: Sequence[Mapping[str, float]], bed_of: Sequence[str]) -> Iterator[Knee]:
    """Yield the sweeps over the users of a closed loop whose times to the first token were measured and predicted."""
    sweeps: dict[tuple[str, ...], dict[float, int]] = {}
    for number, point in enumerate(points):
        load = read_load(point.load)
        if load and load.kind == "closed_loop" and "ttft_mean" in point.measured and "ttft_mean" in predicted[number]:
            condition = (*point.condition[:-1], point.group_id)
            sweeps.setdefault(condition, {}).setdefault(load.value, number)
    for by_load in sweeps.values():
        if len(by_load) >= FEWEST_LOADS:
            loads = tuple(sorted(by_load))
            numbers = [by_load[load] for load in loads]
            yield Knee(
                bed_of[numbers[0]],
                points[numbers[0]].gpu,
                loads,
                knee(loads, [points[number].measured["ttft_mean"] for number in numbers]),
                knee(loads, [predicted[number]["ttft_mean"] for number in numbers]),
            )
