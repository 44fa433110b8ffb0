"""A figure with what it needs to be read by anybody: a title, a description, and its data as a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray


@dataclass(frozen=True)
class Table:
    """A table of text, the first column being the rows' names."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Panel:
    """One figure of a report."""

    key: str
    title: str
    description: str
    """What is drawn and how to read it, for those who see it and those who do not."""
    figure: go.Figure
    table: Table


def five_digits(values: NDArray[np.float64]) -> list[float]:
    """Return values with five significant digits: finer than any bin or pixel, and short in a page."""
    return [float(f"{value:.5g}") for value in values]
