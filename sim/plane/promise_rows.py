"""The record types of what tiers are promised: `sim/plane/limits.py` and `sim/plane/gateway.py`."""

from __future__ import annotations

import numpy as np

from sim.plane.compiled import rows
from sim.plane.record_types import fields, record

LANE = record(
    "i4 head tail num_waiting max_waiting",
    "i4 priority shed_rank reserved in_use",  # see gateway.py; the least rank is shed first
    "f8 weight reserved_frac limit_s",  # limit_s: longest time in the lane, FAR where there is none
    "f8 start finish",  # fair order: tags of the first that waits, and of the next after it
    "i8 num_arrived num_queued num_shed num_timed_out",
    "i8 predicted_tokens work_tokens",
    "f8 waited_s",
)
"""The queue of a tier at a pool's gateway: `sim/plane/gateway.py`."""
LANE_COUNTERS = (
    "num_arrived", "num_queued", "num_shed", "num_timed_out", "predicted_tokens", "work_tokens", "waited_s",
)  # fmt: skip

GATE = np.dtype(fields("f8 queued_s", "i8 number"))
"""Of a request in a lane, by request row: since when, and its number among all that queued at that gateway. No rows
where no pool has a gateway."""

LIMIT = record(
    "f8 rate_per_s capacity input_per_s input_capacity output_per_s output_capacity",
    "f8 window_s",
    "i4 messages fall_back charges counts_cached",
)
"""What one sender or a group of them may ask for: `sim/plane/limits.py`."""

METER = np.dtype(fields("i8 owner", "f8 at_s level input_level output_level began_s", "i4 limit messages"))
"""How much of a limit is left: tokens in its three buckets at `at_s`, messages since `began_s`. `owner` of a
user's own meter: a number for each pair of user and limit, from 1 on (0: nobody's)."""

PROMISE_TABLES = {
    "buckets": METER,  # of tiers and clients
    "meters": METER,  # of users
    "limits": LIMIT,
    "charges": np.dtype([("v", "i4")]),  # whether a request paid, by request row; none where no limit counts tokens
    "lanes": LANE,
    "gates": GATE,
}
"""Tables of the plane that only limits and gateways use."""

lane_at, gate_at, limit_at, meter_at = map(rows, (LANE, GATE, LIMIT, METER))
