"""A bound on the number of requests: a scenario that would take days is refused before anything is generated."""

from sim.errors import Problem, SpecError
from sim.units import DAY_S

MAX_REQUESTS = 2e10
"""*Assumed*: half a day of computing, more than anybody means to start."""
REQUESTS_PER_S = 500_000.0
"""Requests simulated in a second of computing: *assumed*, the order of what benchmarks/day.py measures."""


def hold_size(expected_requests: float, remedy: str) -> None:
    """Raise SpecError where more requests are expected than can be computed; `remedy` says what to lower."""
    if expected_requests <= MAX_REQUESTS:
        return
    days = expected_requests / REQUESTS_PER_S / DAY_S
    message = (
        f"about {expected_requests:.2g} requests expected, of at most {MAX_REQUESTS:.0e}; that is {days:.2g} days of "
        f"computing at {REQUESTS_PER_S:,.0f} a second; lower {remedy}"
    )
    raise SpecError(Problem(message, path="traffic"))
