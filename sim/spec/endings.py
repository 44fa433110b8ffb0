"""How a request may end: the names that scenarios and results use."""

ENDINGS = (
    "completed",
    "rate_limited",
    "shed",
    "refused",
    "blocked",
    "timed_out",
    "abandoned",
    "failed",
    "in_flight",
)
"""A record's `ending` is an index into this tuple."""
