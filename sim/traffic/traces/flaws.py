"""What can be wrong with a row, and the checks of one value that all formats share."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_PROBLEMS = 20
MAX_TOKENS = 10_000_000
"""A longer prompt or answer is absurd: the longest context that a public model is said to read (Llama 4 Scout)."""
NS_PER_UNIT: Final[Mapping[str, int]] = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000}
_MAX_NS = 2**62
_STEP_NS = 10  # the resolution of times that are written as decimal numbers: float64 tells 10 ns apart up to two years
_WHOLE: Final = re.compile(r"\s*[+-]?\d{1,18}\s*", re.ASCII)
_DECIMAL: Final = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?\s*", re.ASCII)
# numpy alone would also take "NaT", "2023", or a year that overflows nanoseconds.
_STAMP: Final = re.compile(r"(?:19[7-9]|20\d|21\d)\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{1,9})?", re.ASCII)


class Flaw(NamedTuple):
    """Something wrong at a line of a file."""

    line: int
    kind: str
    """A key of sim.traffic.traces.repair.KINDS."""
    message: str


class RowError(Exception):
    """What is wrong with one row."""

    def __init__(self, message: str, kind: str = "row") -> None:
        super().__init__(message)
        self.kind = kind


def shown(value: Any) -> str:
    """A value as it stands in the file, in short."""
    try:
        text = value if isinstance(value, str) else json.dumps(value)
    except RecursionError:
        text = "a value nested too deeply"
    return (text if len(text) <= 80 else text[:80] + "...") or "nothing"


def whole(text: str) -> int | str:
    """The whole number that a cell of a table holds, or else the cell."""
    return int(text) if _WHOLE.fullmatch(text) else text


def decimal(text: str) -> float | str:
    """The number that a cell of a table holds, or else the cell."""
    return float(text) if _DECIMAL.fullmatch(text) else text


def count(value: Any, name: str, minimum: int = 1) -> int:
    """A number of tokens, at least `minimum`."""
    if type(value) is not int:
        raise RowError(f"{name} must be a whole number from {minimum} on, got {shown(value)}")
    if value < minimum:
        raise RowError(f"{name} must be a whole number from {minimum} on, got {value}", "length")
    if value > MAX_TOKENS:
        raise RowError(f"{name} must be at most {MAX_TOKENS:,}, got {value}: absurd", "length")
    return value


def instant(value: Any, name: str, unit: str) -> int:
    """A time [ns] that is written as a number of a unit, from 0 on."""
    if type(value) not in {int, float} or not 0 <= value < _MAX_NS // NS_PER_UNIT[unit]:
        given = f'"{value}"' if isinstance(value, str) else shown(value)
        raise RowError(f"{name} must be a time from 0 on [{unit}], got {given}", "time")
    if type(value) is int:
        return value * NS_PER_UNIT[unit]
    return int(instants(np.array([value]), unit)[0])


def instants(times: NDArray[np.float64], unit: str) -> NDArray[np.int64]:
    """Times [ns] of numbers of a unit, to 10 ns."""
    whole = np.floor(times)
    steps = np.rint((times - whole) * (NS_PER_UNIT[unit] / _STEP_NS)).astype(np.int64)
    return whole.astype(np.int64) * NS_PER_UNIT[unit] + steps * _STEP_NS


def too_late(times: NDArray[np.float64], unit: str) -> bool:
    """Whether some number is no time that nanoseconds can hold."""
    return not bool(np.all((times >= 0) & (times < _MAX_NS // NS_PER_UNIT[unit])))


def stamp(value: str, name: str) -> int:
    """A time [ns since 1970] that is written as a UTC date and time."""
    text = value.strip().removesuffix("+00:00").removesuffix("Z")
    try:
        time_ns = int(np.datetime64(text, "ns").astype(np.int64)) if _STAMP.fullmatch(text) else None
    except ValueError:
        time_ns = None
    if time_ns is None:
        raise RowError(f'{name} must be a UTC time such as 2023-11-16 08:00:00.1234500, got "{value[:80]}"', "time")
    return time_ns


def ids(value: Any, name: str) -> list[int]:
    """Names of blocks."""
    # A loop over the numbers would take longer than reading them did.
    if (
        isinstance(value, list)
        and set(map(type, value)) <= {int}
        and (not value or 0 <= min(value) <= max(value) < 2**63)
    ):
        return value
    raise RowError(f"{name} must be a list of whole numbers from 0 on")
