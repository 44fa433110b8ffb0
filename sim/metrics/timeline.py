"""One row per reporting interval and pool: the gauges of the day."""

from __future__ import annotations

import numpy as np

INTERVAL = np.dtype(
    [
        ("t_s", "f8"),  # the interval's start
        ("width_s", "f8"),
        ("pool", "i4"),
        ("num_replicas", "f8"),  # mean over the interval
        ("num_arrived", "i8"),
        ("num_completed", "i8"),
        ("num_preempted", "i8"),
        ("prompt_tokens", "i8"),
        ("cached_tokens", "i8"),
        ("output_tokens", "i8"),
        ("num_drafts", "i8"),  # speculation: times that drafts were verified
        ("draft_tokens", "i8"),
        ("accepted_tokens", "i8"),
        ("running_mean", "f8"),  # time-weighted number of sequences in the batches of all replicas
        ("waiting_mean", "f8"),
        ("waiting_end", "i8"),
        ("waiting_min", "i8"),
        ("kv_used_mean_frac", "f8"),
        ("busy_frac", "f8"),  # busy replica time over provisioned replica time
        ("energy_j", "f8"),
        ("gpu_s", "f8"),  # provisioned GPU time, busy or idle
        ("saturated", "i4"),
        ("margin_frac", "f8"),
        ("growth_per_s", "f8"),
        ("growth_stderr_per_s", "f8"),
    ]
)
"""What one pool did in one interval; `t_s` is the interval's start, `pool` the pool's index."""
