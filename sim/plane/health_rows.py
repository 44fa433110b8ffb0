"""The record types of what may go wrong with replicas; no rows where nothing does (`World.has_faults`)."""

import numpy as np

from sim.plane.compiled import rows

HEALTH = np.dtype(
    [
        ("slowness", "f8"),  # step times are so many times as long
        ("next_slowness", "f8"),  # those of steps formed from now on
        ("times", "i4"),  # the row of `pools` that has them: its pool's own, or that of a version
        ("next_times", "i4"),
        ("leaves_to", "i4"),  # state of a replica when it is empty
        ("failing", "i4"),  # it was taken down, and somebody may still be there
        ("num_seized", "i4"),  # blocks that somebody else holds
        ("seized", "i4"),  # by blocks: the first of their list, counted from 1
        ("down_at_s", "f8"),
        ("down_s", "f8"),
    ]
)
"""Of a replica: `sim/plane/health.py`, `sim/plane/failures.py`."""
MOVE = np.dtype([("lost_s", "f8")])
"""Of a request whose replica failed while it answered: replica time of the answering pool spent there [s], by row."""

HEALTH_TABLES = {"health": HEALTH, "moves": MOVE}

health_at, move_at = rows(HEALTH), rows(MOVE)
