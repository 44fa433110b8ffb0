"""The calendar: how much of the usual traffic a day brings, from weekday, season and growth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DAYS_PER_MONTH = 365.25 / 12


@dataclass(frozen=True)
class Calendar:
    """Conversations of a local day relative to those of a weekday in term time at t = 0.

    Parameters
    ----------
    start_weekday
        Weekday of day 0 (0 is Monday).
    weekend_frac
        Factor of Saturdays and Sundays.
    season_frac
        Factor of every day.
    growth_per_month
        Compound, from day 0 on.
    """

    start_weekday: int = 0
    weekend_frac: float = 1.0
    season_frac: float = 1.0
    growth_per_month: float = 0.0

    def factors(self, first: int, last: int) -> NDArray[np.float64]:
        """The factors of days first, ..., last - 1; day 0 begins at midnight, local time, of the date of t = 0."""
        day = np.arange(first, last)
        weekend = (day + self.start_weekday) % 7 >= 5
        growth = (1.0 + self.growth_per_month) ** (day / DAYS_PER_MONTH)
        return np.asarray(np.where(weekend, self.weekend_frac, 1.0) * self.season_frac * growth)
