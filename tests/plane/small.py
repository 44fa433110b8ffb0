"""Worlds made by hand: one line for each thing that a test cares about, defaults for the rest."""

import math
from collections.abc import Sequence

import numpy as np

from sim.cost.step_times import StepTimes
from sim.plane.world import Pool, Visit, World
from sim.traffic.arrivals import ARRIVAL, TrafficClass


def constant(value: float) -> np.ndarray:
    """A quantile table of one value."""
    return np.full(1025, float(value))


def pool(c0: float = 1.0, c1: float = 0.0, c2: float = 0.0, c3: float = 0.0, **settings) -> Pool:
    """One replica whose steps take c0 + c1*T + c2*C + c3*P seconds; ample unless told otherwise."""
    settings = {"name": "main", "num_replicas": 1, "num_gpu_blocks": 1001, "max_num_seqs": 8} | settings
    settings = {"max_num_batched_tokens": 64, "block_size": 4, "enable_prefix_caching": False} | settings
    most_seqs = max(settings["max_num_seqs"], settings.get("max_num_active_seqs", 0))
    times = StepTimes.linear(c0, c1, c2, c3, settings["max_num_batched_tokens"], most_seqs)
    return Pool(**({"step_times": times} | settings))


def kind(**settings) -> TrafficClass:
    """A traffic class of single patient requests."""
    defaults = {
        "name": "class", "tier": "tier", "path": "main", "priority": 0, "prefix_tokens": 0, "prefix_group": "group",
        "user_tokens": constant(5), "output_tokens": constant(3), "gap_s": constant(0), "patience_s": None,
        "min_think_s": 0.0, "keep_history": False, "max_context_tokens": 1 << 30, "is_program": False,
    }  # fmt: skip
    return TrafficClass(**(defaults | settings))


def world(pools: Pool | Sequence[Pool], classes: Sequence[TrafficClass] = (), **settings) -> World:
    """A world whose only path is one visit to its first pool, unless told otherwise."""
    pools = (pools,) if isinstance(pools, Pool) else tuple(pools)
    settings = {"paths": {"main": (Visit(0),)}, "horizon_s": math.inf} | settings
    return World(pools=pools, classes=tuple(classes) or (kind(),), **settings)


def rows(*given: tuple) -> np.ndarray:
    """Arrivals from (t_s, user_tokens, output_tokens[, class_id[, num_turns[, bucket]]]); users count from 0."""
    found = []
    for user, (t_s, user_tokens, output_tokens, *rest) in enumerate(given):
        class_id, num_turns, bucket = (*rest, *(0, 1, -1)[len(rest) :])
        found.append((t_s, user, 0, num_turns, user_tokens, output_tokens, class_id, 0, bucket, 0))
    return np.array(found, dtype=ARRIVAL)
