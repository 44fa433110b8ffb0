"""Quantities among the options: each with its unit, all that are wrong told at once."""

import math

from sim.errors import Problem, SpecError, UnitError
from sim.units import parse


class Reader:
    """Options that are quantities; what is wrong with them is collected until `check`."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []

    def read(self, option: str, given: str | float | None, unit: str, least: float = 0.0) -> float | None:
        """Return a quantity [unit] of at least `least`; None where none was given, or it is wrong."""
        if given is None:
            return None
        try:
            value = parse(given, unit)
        except UnitError as error:
            self._problems.append(Problem(str(error), file=option))
            return None
        return value if self._holds(option, value >= least, f"must be at least {least:g}, got {given}") else None

    def positive(self, option: str, given: str | float | None, unit: str, most: float = math.inf) -> float | None:
        """Return a quantity [unit] of more than 0 and at most `most`; None where none was given, or it is wrong."""
        value = self.read(option, given, unit)
        if value is None:
            return None
        limit = "" if math.isinf(most) else f" and at most {most:g}"
        return value if self._holds(option, 0.0 < value <= most, f"must be more than 0{limit}, got {given}") else None

    def window(self, option: str, given: str | None) -> tuple[float, float | None] | None:
        """Return beginning and end [s] of a window FROM:TO, either of which may be left out (an end: None)."""
        if given is None:
            return None
        begin, colon, end = given.partition(":")
        if not self._holds(option, bool(colon), f'expected FROM:TO, such as 10min:1h or 10min:, got "{given}"'):
            return None
        num_problems = len(self._problems)
        begin_s = self.read(option, begin.strip() or "0 s", "s") or 0.0
        end_s = self.read(option, end.strip() or None, "s")
        if len(self._problems) > num_problems:
            return None
        in_order = end_s is None or begin_s < end_s
        return (begin_s, end_s) if self._holds(option, in_order, f'ends before it begins: "{given}"') else None

    def _holds(self, option: str, condition: bool, message: str) -> bool:
        if not condition:
            self._problems.append(Problem(message, file=option))
        return condition

    def check(self) -> None:
        """Raise SpecError where anything was wrong."""
        SpecError.raise_if(self._problems)
