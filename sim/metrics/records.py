"""The record of a finished request, as the plane writes it and metrics reads it."""

from __future__ import annotations

import numpy as np

from sim.spec import endings

ENDINGS = endings.ENDINGS
COMPLETED, RATE_LIMITED, SHED, REFUSED, BLOCKED, TIMED_OUT, ABANDONED, FAILED, IN_FLIGHT = range(len(ENDINGS))
"""Codes of `ENDINGS`, in its order."""

FLAGS = ("unsafe", "fell_back", "escalated", "moved", "spilled", "caught", "revised")
"""Bits of a record's `flags`, from the lowest: it was unsafe indeed; a smaller model answered; the larger one had to;
a failure made it begin anew elsewhere; it went to another region; a classifier flagged it; its answer was revised."""
UNSAFE, FELL_BACK, ESCALATED, MOVED, SPILLED, CAUGHT, REVISED = (1 << bit for bit in range(len(FLAGS)))

DONE = np.dtype(
    [
        ("user", "i8"),
        ("arrived_s", "f8"),  # times are absolute; NaN where it never happened
        ("classified_s", "f8"),  # reached the answering pool: admission, after the classifiers
        ("scheduled_s", "f8"),  # first step that carried it in the answering pool
        ("first_token_s", "f8"),  # as the client sees it
        ("end_s", "f8"),  # as the client sees it
        ("cost_usd", "f8"),  # its shares of busy replica time, all visits, before idle time is spread
        ("busy_s", "f8"),  # replica-seconds of those shares in the answering pool
        ("conversation", "i4"),
        ("turn", "i4"),
        ("prompt_tokens", "i4"),
        ("cached_tokens", "i4"),
        ("output_tokens", "i4"),  # emitted
        ("requested_tokens", "i4"),  # asked for
        ("class_id", "i4"),
        ("language", "i4"),
        ("ending", "i4"),
        ("pool", "i4"),  # the answering pool, -1 where none was reached
        ("replica", "i4"),
        ("num_preemptions", "i4"),
        ("serial", "i8"),
        ("guard_s", "f8"),  # replica-seconds in the other pools of its path
        ("transfer_s", "f8"),  # on its way from the prefill to the decode pool, before the first token
        ("retry_of", "i8"),  # serial of the attempt before at the same turn, -1: none
        ("attempt", "i4"),  # attempts at the same turn before this one
        ("left", "i4"),  # 1: its sender then left a conversation that had further turns
        ("gateway_s", "f8"),  # in tier queues, before a replica was chosen
        ("network_s", "f8"),  # between client, gateway and regions
        ("verdict_s", "f8"),  # the client's first token was withheld for a classifier's verdict
        ("delay_s", "f8"),  # in tools and retrieval
        ("flags", "i4"),  # what befell it: bits of `FLAGS`
        ("pad", "i4"),
    ]
)
"""One request, from arrival to its ending (192 bytes)."""
