"""Units: constants, text to number and back.

Inside the package a quantity is a plain float whose name ends in its unit (`_s`, `_bytes`, `_per_s` ...). At the edge
people may write units: ``parse("80 GiB", "B")``, ``parse("20 ms", "s")``, ``parse("900 req/min", "1/s")``. A bare
number is already in the unit asked for. Unit names are case-sensitive, as in SI (``m`` is not ``M``).
"""

from __future__ import annotations

import math
import re
from typing import Final, TypeAlias

from sim.errors import UnitError, did_you_mean

KIB: Final = 1024
MIB: Final = 1024**2
GIB: Final = 1024**3
TIB: Final = 1024**4
KILO: Final = 1e3
MEGA: Final = 1e6
GIGA: Final = 1e9
TERA: Final = 1e12
PETA: Final = 1e15
MINUTE_S: Final = 60.0
HOUR_S: Final = 3600.0
DAY_S: Final = 86400.0

Dimension: TypeAlias = tuple[int, int, int, int, int]
"""Powers of second, byte, FLOP, USD and joule."""
_ONE: Final[Dimension] = (0, 0, 0, 0, 0)
_TIME: Final[Dimension] = (1, 0, 0, 0, 0)
_DATA: Final[Dimension] = (0, 1, 0, 0, 0)
_WORK: Final[Dimension] = (0, 0, 1, 0, 0)
_MONEY: Final[Dimension] = (0, 0, 0, 1, 0)
_ENERGY: Final[Dimension] = (0, 0, 0, 0, 1)


def _per(dimension: Dimension, divisor: Dimension) -> Dimension:
    a, b = dimension, divisor
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3], a[4] - b[4])


_KINDS: Final = {
    _ONE: ("a plain number", '0.25, "25 %" or "10M"'),
    _TIME: ("a time", '"20 ms" or "2 h"'),
    _DATA: ("an amount of data", '"80 GiB" or "141 GB"'),
    _WORK: ("an amount of computation", '"6e23 FLOP"'),
    _MONEY: ("an amount of money", '"20 USD"'),
    _ENERGY: ("an energy", '"1.2 kWh"'),
    _per(_ONE, _TIME): ("a rate", '"900 req/min" or "15/s"'),
    _per(_DATA, _TIME): ("a data rate", '"3.35 TB/s"'),
    _per(_WORK, _TIME): ("a computing rate", '"989 TFLOP/s"'),
    _per(_MONEY, _TIME): ("a price over time", '"1.5 USD/h"'),
    _per(_ENERGY, _TIME): ("a power", '"700 W"'),
    _per(_MONEY, _ENERGY): ("a price of energy", '"0.10 USD/kWh"'),
}

_SI: Final = {"k": KILO, "M": MEGA, "G": GIGA, "T": TERA, "P": PETA, "E": 1e18}
_IEC: Final = {"Ki": KIB, "Mi": MIB, "Gi": GIB, "Ti": TIB, "Pi": 1024**5}
_MULTIPLES: Final = {"k": KILO, "M": MEGA, "B": GIGA, "T": TERA}
"""Suffixes of a count: "10M" users, "70B" parameters. Always decimal."""
_COUNTED: Final = frozenset(
    ("req", "request", "requests", "tok", "token", "tokens", "message", "messages", "user", "users", "GPU", "GPUs")
)


def _table() -> dict[str, tuple[float, Dimension]]:
    per_s = _per(_ONE, _TIME)
    table = {"1": (1.0, _ONE), "": (1.0, _ONE), "%": (0.01, _ONE)}
    table |= dict.fromkeys(_COUNTED, (1.0, _ONE))
    table |= {"ns": (1e-9, _TIME), "us": (1e-6, _TIME), "ms": (1e-3, _TIME)}
    table |= dict.fromkeys(("s", "sec", "second", "seconds"), (1.0, _TIME))
    table |= dict.fromkeys(("min", "minute", "minutes"), (MINUTE_S, _TIME))
    table |= dict.fromkeys(("h", "hour", "hours"), (HOUR_S, _TIME))
    table |= dict.fromkeys(("d", "day", "days"), (DAY_S, _TIME))
    table |= dict.fromkeys(("week", "weeks"), (7 * DAY_S, _TIME))
    for prefix, factor in ({"": 1.0} | _SI).items():
        table[prefix + "B"] = (factor, _DATA)
        table[prefix + "bit"] = (factor / 8, _DATA)
        table[prefix + "FLOP"] = (factor, _WORK)
        table[prefix + "FLOPS"] = (factor, _per(_WORK, _TIME))
        table[prefix + "J"] = (factor, _ENERGY)
        table[prefix + "Wh"] = (factor * HOUR_S, _ENERGY)
        table[prefix + "W"] = (factor, _per(_ENERGY, _TIME))
        table[prefix + "Hz"] = (factor, per_s)
    table |= {prefix + "B": (factor, _DATA) for prefix, factor in _IEC.items()}
    table |= {"USD": (1.0, _MONEY), "$": (1.0, _MONEY)}
    return table


_UNITS: Final = _table()
_TEXT: Final = re.compile(r"\s*([+-]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?)(.*)", re.DOTALL)
_LADDERS: Final[dict[str, tuple[str, ...]]] = {
    "s": ("ns", "us", "ms", "s", "min", "h", "d"),
    "B": ("B", "KiB", "MiB", "GiB", "TiB", "PiB"),
    "B/s": ("B/s", "kB/s", "MB/s", "GB/s", "TB/s", "PB/s"),
    "FLOP": ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"),
    "FLOP/s": ("FLOP/s", "kFLOP/s", "MFLOP/s", "GFLOP/s", "TFLOP/s", "PFLOP/s", "EFLOP/s"),
    "W": ("W", "kW", "MW", "GW"),
    "J": ("J", "kJ", "MJ", "GJ", "TJ"),
    "Hz": ("Hz", "kHz", "MHz", "GHz"),
}
"""Units that `show` chooses from, small to large. A unit that is not here is written as it is."""


def _measure(unit: str) -> tuple[float, Dimension]:
    """Return factor to base units and dimension of a unit such as ``GB/s``; KeyError names the unknown part."""
    head, *divisors = (part.strip() for part in unit.split("/"))
    factor, dimension = _UNITS[head]
    for divisor in divisors:
        if not divisor:
            raise KeyError(unit)
        by, of = _UNITS[divisor]
        factor, dimension = factor / by, _per(dimension, of)
    return factor, dimension


def parse(value: str | float, unit: str = "1") -> float:
    """Return a quantity as a number in `unit`.

    Parameters
    ----------
    value
        A number (already in `unit`), or a text such as ``"80 GiB"``, ``"2h"``, ``"1e6"``, ``"10M"``.
    unit
        The unit to return, such as ``"B"``, ``"s"``, ``"1/s"``, ``"USD/h"``; it also says which dimension is wanted.

    Returns
    -------
    float
        The quantity [unit], finite.

    Raises
    ------
    UnitError
        Not a number, not finite, an unknown unit, or a unit of another dimension.

    Examples
    --------
    >>> parse("80 GiB", "B"), parse("20 ms", "s"), parse("900 req/min", "1/s"), parse("10M")
    (85899345920.0, 0.02, 15.0, 10000000.0)
    """
    target, wanted = _measure(unit)
    kind, example = _KINDS.get(wanted, (f"a quantity in {unit}", f'"1 {unit}"'))
    advice = f"expected {kind}: a number [{unit}] or text such as {example}"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UnitError(f"{value!r} is no number; {advice}")
    if not isinstance(value, str):
        number = float(value)
        if not math.isfinite(number):
            raise UnitError(f"{number} is not finite; {advice}")
        return number
    match = _TEXT.fullmatch(value)
    if match is None:
        raise UnitError(f'"{value}" is no number; {advice}')
    number, rest = float(match[1].replace("_", "")), match[2]
    if not math.isfinite(number):
        raise UnitError(f'"{value}" is not finite; {advice}')
    if not rest.strip():
        return number
    if wanted in (_ONE, _per(_ONE, _TIME)) and (multiple := _MULTIPLES.get(rest[0])) is not None:
        after = rest[1:].strip()
        if not after:
            return number * multiple
        if rest[1].isspace() and after.split("/")[0].strip() in _COUNTED:
            number, rest = number * multiple, after
    try:
        factor, dimension = _measure(rest.strip())
    except KeyError as error:
        unknown = str(error.args[0])
        help_ = _suggestion(unknown, rest.strip(), wanted)
        hint = f" {help_}" if help_.startswith("Did") else ""
        raise UnitError(f'"{value}": unknown unit "{unknown}".{hint} {advice[0].upper()}{advice[1:]}') from None
    if dimension != wanted:
        given = _KINDS.get(dimension, ("something else",))[0]
        raise UnitError(f'"{value}" is {given}; {advice}')
    # Multiply by exact integers where one can ("1.5 USD/h" asked in USD/h stays 1.5; "2 h" is 7200.0 exactly).
    ratio = factor / target
    return number * ratio if ratio >= 1 else number / (target / factor)


def _suggestion(unknown: str, text: str, wanted: Dimension) -> str:
    """Return the unit perhaps meant by an unknown one: of those that give `text` the wanted dimension."""

    def fits(unit: str) -> bool:
        parts = (part.strip() for part in text.split("/"))
        try:
            return _measure("/".join(unit if part == unknown else part for part in parts))[1] == wanted
        except KeyError:
            return False

    fitting = [unit for unit in _UNITS if unit not in ("", "1") and fits(unit)]
    if unknown == "m" and "min" in fitting:
        return "Did you mean min?"
    return did_you_mean(unknown, fitting)


def show(value: float, unit: str = "1", digits: int = 4) -> str:
    """Return `value` [unit] as text for people, in the unit of its size; `parse` reads it back.

    >>> show(85899345920, "B"), show(0.02, "s"), show(7200, "s"), show(3.35e12, "B/s"), show(1.5, "USD/h")
    ('80 GiB', '20 ms', '2 h', '3.35 TB/s', '1.5 USD/h')
    """
    fitting = [step for step in _LADDERS.get(unit, (unit,)) if _measure(step)[0] <= abs(value)]
    chosen = fitting[-1] if fitting else unit
    number = f"{value * (_measure(unit)[0] / _measure(chosen)[0]):.{digits}g}"
    return number if chosen == "1" else f"{number} {chosen}"
