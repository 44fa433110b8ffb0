"""The record types of replicas as control processes see them: `sim/plane/states.py` and `sim/plane/gauges.py`."""

import numpy as np

from sim.plane.compiled import rows

STAY = np.dtype([(name, "f8") for name in ("since_s", "starting_s", "warm_s", "draining_s")])
"""When a replica came to its present state, and how long it was in each that is paid and takes no requests [s], by
replica."""
SHOWN = np.dtype([*((name, "i4") for name in ("state", "num_running", "num_waiting", "used_blocks")), ("busy_s", "f8")])
"""What a replica's engine shows of itself at one instant."""

STATE_TABLES = {"stays": STAY}

stay_at, shown_at = rows(STAY), rows(SHOWN)
