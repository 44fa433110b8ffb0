"""Which engine calibration stands for a row: of its family and GPU, the version nearest to the row's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_VERSION = re.compile(r"v?(\d+)\.(\d+)")


def nearest_engine(families: Sequence[str], version: str, gpu: str, entries: Iterable[str]) -> str | None:
    """Return ENGINE of an entry ENGINE-GPU: the first family that has any, its version nearest to the one asked for.

    Parameters
    ----------
    families
        Names of engines in order of preference.
    version
        As a source writes it, such as v0.11.0; without a number in it, the family's default entry is taken.
    gpu
        GPU in the catalogue.
    entries
        Names of engine entries: FAMILY-GPU is a family's default, FAMILY-VERSION-GPU one of its versions.
    """
    here = [entry.removesuffix(f"-{gpu}") for entry in entries if entry.endswith(f"-{gpu}")]
    for family in families:
        versions = {engine: number_of(engine) for engine in here if re.fullmatch(rf"{family}-v?\d+\.\d+.*", engine)}
        wanted = number_of(version)
        if wanted is not None and versions:
            return min(versions, key=lambda engine: (abs((versions[engine] or 0) - wanted), engine))
        if family in here:
            return family
        if versions:
            return max(versions, key=lambda engine: versions[engine] or 0)
    return None


def number_of(version: str) -> int | None:
    """Return a version's first two parts as one number, 1000 a major version; None without them."""
    match = _VERSION.search(version)
    return int(match.group(1)) * 1000 + int(match.group(2)) if match else None
