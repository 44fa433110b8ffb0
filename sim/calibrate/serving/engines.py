"""Which engine calibration stands for a row: of its family and GPU, the version nearest to the row's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_VERSION = re.compile(r"v?(\d+)\.(\d+)")


def nearest_engine(families: Sequence[str], version: str, versions: Mapping[str, str]) -> str | None:
    """Return the calibration of the first family that has any: its version nearest to the one asked for.

    Parameters
    ----------
    families
        Names of engines in order of preference.
    version
        As a source writes it, such as v0.11.0; without a number in it, the family's default entry is taken.
    versions
        Version of each calibration on the GPU by name: FAMILY is a family's default, FAMILY-VERSION another of its.
    """
    wanted = number_of(version)
    for family in families:
        known = {name: number_of(said) for name, said in versions.items() if name == family or _is_of(name, family)}
        numbered = {name: number for name, number in known.items() if number is not None}
        if wanted is not None and numbered:
            return min(numbered, key=lambda name: (abs(numbered[name] - wanted), name != family, name))
        if known:
            return family if family in known else max(known)
    return None


def _is_of(name: str, family: str) -> bool:
    return re.fullmatch(rf"{re.escape(family)}-v?\d+(\.\d+)+", name) is not None


def number_of(version: str) -> int | None:
    """Return a version's first two parts as one number, 1000 a major version; None without them."""
    match = _VERSION.search(version)
    return int(match.group(1)) * 1000 + int(match.group(2)) if match else None
