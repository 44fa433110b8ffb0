"""How long a replica takes to load its model, by the size of its weights and its engine.

A lognormal time about `sim.spec.model_load.ModelLoad.median_s`; the variances between machines and between loads of one
machine add up, since nobody knows how good the storage of the fleet is. Five machines, 280 loads: hardware_profiles/
model_load.yaml.
"""

from __future__ import annotations

import math

from sim import catalog
from sim.cost.profile import Profile
from sim.spec.distribution import TimeDistribution

GB = 1e9


def load_time(profile: Profile, engine: str) -> TimeDistribution:
    """Time from the moment a replica's GPUs are there until it serves [s]: its distribution."""
    table = catalog.load_model_load()
    weights_gb = profile.weights_bytes_per_gpu * profile.num_gpus / GB
    median_s = table.median_s(weights_gb, profile.num_gpus, table.engine_of(engine))
    variance = table.machine_log_sd**2 + table.run_log_sd**2
    mean_s = median_s * math.exp(0.5 * variance)
    deviation_s = mean_s * math.sqrt(math.expm1(variance))
    return TimeDistribution(distribution_type="lognormal", mean=mean_s, standard_deviation=deviation_s)
