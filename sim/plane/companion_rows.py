"""The record types of classifiers beside the answer: `sim/plane/companions.py` and `sim/plane/marks.py`."""

import numpy as np

from sim.plane.compiled import rows

COMPANION = np.dtype(
    [
        # the first token, as the engine gave it; the last, as the client gets it
        *((name, "f8") for name in ("first_s", "last_s")),
        # the request's companion, or whose companion it is (-1: none); the check's visit; tokens of the answer: all, of
        # a piece, to be had, read; where the next piece ends; the token that the check flags (0: none)
        *((name, "i4") for name in ("other", "check", "length", "chunk", "ready", "checked", "boundary", "flagged_at")),
        # it makes a visit; the gate's verdict is not out; as the check's visit has it; the last token is out; it is on
        # its way out; the gate begins where the request is going
        *((name, "i1") for name in ("is_companion", "busy", "gated", "holds_back", "answered", "quits", "awaited")),
        ("pad", "u1", 9),
    ]
)
"""A request and its companion, by request row: a cache line, most of it used in the request's row. No rows where nobody
has one."""
READER = np.dtype([("passed", "i8"), ("num_marks", "i4"), ("pad", "i4")])
"""Who reads along at a replica: the last step that ended a piece amid a leap; number of marks."""

COMPANION_TABLES = {
    "companions": COMPANION,
    "readers": READER,
    "marks": np.dtype([("v", "i8")]),  # heaps of (step, request row), one a replica
    "reached": np.dtype([("v", "i4")]),  # request rows: who has a piece that ended with the step
}
"""Tables of the plane that only companions use."""

companion_at, reader_at = map(rows, (COMPANION, READER))
