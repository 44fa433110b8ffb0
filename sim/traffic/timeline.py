"""When people come: regions on their local time, days of the calendar, flash crowds; and what to expect of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.traffic.calendar import Calendar
from sim.traffic.crowd import Crowd
from sim.traffic.daily import HOURS, MINUTES, DailyRate, Delay
from sim.units import DAY_S, HOUR_S, MINUTE_S

_MINUTE_MIDDLES_S = np.arange(0.5, MINUTES) * np.float64(MINUTE_S)


@dataclass(frozen=True, eq=False)
class LocalTime:
    """A region's day: its offset, the curves of starts and messages over its local day, and its calendar."""

    name: str
    utc_offset_h: float
    starts: DailyRate
    messages: DailyRate
    calendar: Calendar

    @property
    def offset_s(self) -> float:
        """Local time less UTC [s]."""
        return self.utc_offset_h * HOUR_S

    def days(self, start_s: float, end_s: float) -> range:
        """The local days that overlap a stretch of time."""
        return range(int((start_s + self.offset_s) // DAY_S), int(-(-(end_s + self.offset_s) // DAY_S)))

    def crowd_starts(self, crowd: Crowd, day: int) -> NDArray[np.float64]:
        """Rate of a crowd's starts in each minute of a local day, relative to the usual mean, shape (1440,)."""
        return np.asarray(self.starts.by_minute * crowd.height(_MINUTE_MIDDLES_S + (day * DAY_S - self.offset_s)))


@dataclass(frozen=True, eq=False)
class Expected:
    """What a region is expected to do in [0, horizon), in units of what it does on a usual day."""

    starts: float
    """Conversations begun."""
    messages: NDArray[np.float64]
    """Messages sent, for each kind of conversation; a usual day brings its mean number of turns."""
    by_hour: NDArray[np.float64]
    """The same by hour of the day (UTC), over the whole days that the horizon touches, shape (kinds, 24)."""


def expected(region: LocalTime, crowds: Sequence[Crowd], delays: Sequence[Delay], horizon_s: float) -> Expected:
    """What a region is expected to do, crowds included; people came before the start of the run as ever."""
    whole_s = -(-horizon_s // DAY_S) * DAY_S
    days = region.days(0.0, whole_s)
    longest = max(len(delay.by_minute) for delay in delays) // MINUTES
    inside = _overlaps(region, days, horizon_s)
    inside_whole = _overlaps(region, days, whole_s)
    starts, messages, by_hour = 0.0, np.zeros(len(delays)), np.zeros((len(delays), HOURS))
    begun = range(days.start - longest + 1, days.stop)
    factors = region.calendar.factors(begun.start, begun.stop)
    responses = [delay.messages_of_day(region.starts.by_minute) for delay in delays]
    # A usual day's response is the same but for the day's factor, so days are added up before minutes are.
    for lag in range(longest):
        weights = factors[longest - 1 - lag : len(factors) - lag]
        usual, usual_whole = (_added(weights, overlaps) for overlaps in (inside, inside_whole))
        if lag == 0:
            starts += float(usual @ region.starts.by_minute) / MINUTES
        for kind, response in enumerate(responses):
            if lag < len(response):
                messages[kind] += float(usual @ response[lag]) / MINUTES
                by_hour[kind] += _utc_hours(usual_whole * response[lag], region)
    for crowd in crowds:
        for day in region.days(crowd.at_s, crowd.end_s):
            if not begun.start <= day < begun.stop:
                continue
            factor = float(factors[day - begun.start])
            rate = factor * region.crowd_starts(crowd, day)
            if day >= days.start:
                starts += float(inside.of(day) @ rate) / MINUTES
            for kind, delay in enumerate(delays):
                for lag, minutes in enumerate(delay.messages_of_day(rate)):
                    if day + lag in days:
                        messages[kind] += float(inside.of(day + lag) @ minutes) / MINUTES
                        by_hour[kind] += _utc_hours(inside_whole.of(day + lag) * minutes, region)
    return Expected(starts, messages, by_hour)


@dataclass(frozen=True, eq=False)
class _Overlaps:
    """How much of each minute of each local day lies inside [0, end): all, but on the first days and the last."""

    days: range
    partial: dict[int, NDArray[np.float64]]

    def of(self, day: int) -> NDArray[np.float64]:
        return self.partial.get(day, _ALL)


_ALL = np.ones(MINUTES)


def _overlaps(region: LocalTime, days: range, end_s: float) -> _Overlaps:
    partial = {}
    for day in days:
        begin_s = day * DAY_S - region.offset_s
        if begin_s < 0.0 or begin_s + DAY_S > end_s:
            edges = np.clip(begin_s + np.arange(MINUTES + 1) * MINUTE_S, 0.0, end_s)
            partial[day] = np.diff(edges) / MINUTE_S
    return _Overlaps(days, partial)


def _added(weights: NDArray[np.float64], overlaps: _Overlaps) -> NDArray[np.float64]:
    """The sum over days of each day's weight times its minutes' overlaps."""
    whole = np.array([day not in overlaps.partial for day in overlaps.days])
    total = np.full(MINUTES, float(weights[whole].sum()))
    for day, overlap in overlaps.partial.items():
        total += weights[day - overlaps.days.start] * overlap
    return total


def _utc_hours(by_minute: NDArray[np.float64], region: LocalTime) -> NDArray[np.float64]:
    """Sums [days] by hour of UTC of what stands by minute of local time."""
    utc = np.roll(by_minute, -round(region.utc_offset_h * 60))
    return np.asarray(utc.reshape(HOURS, -1).sum(axis=1)) / MINUTES
