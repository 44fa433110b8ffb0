"""Pipeline stages: what goes from one to the next, and how long a batch occupies one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from sim.cost.collective import point_to_point_s
from sim.cost.machine import Machine
from sim.cost.memory import PLAIN_BYTES, stage_layers
from sim.cost.power import attention_w, power_w
from sim.cost.step_times import Floats, StepTimes

STEP = "step overhead"
"""Name of the host's part of a step."""


def hops(hidden_bytes: Floats, machine: Machine) -> Iterator[tuple[str, int, Floats]]:
    """Yield (name, count, time of one [s]) of the transfers between stages, inside nodes and between them.

    Hidden state and residual go to the next stage. Stages fill nodes one after another, as many whole ones as fit.
    """
    layout, gpu, kernels = machine.layout, machine.gpu, machine.kernels
    boundaries = layout.pipeline_parallel_size - 1
    stages_per_node = max(int(gpu.gpus_per_node) // layout.stage_gpus, 1)
    between = boundaries // stages_per_node
    for name, count, same_node in (
        ("stage transfer", boundaries - between, True),
        ("stage transfer between nodes", between, False),
    ):
        if count:
            yield name, count, point_to_point_s(2 * hidden_bytes, gpu, kernels, same_node=same_node)


def slowest_hop_s(tokens: Floats, machine: Machine) -> Floats:
    """Time of the slowest transfer of a rank's batch of T tokens between two stages [s]; 0 for one stage."""
    hidden_bytes = tokens * machine.model.hidden_size * PLAIN_BYTES
    slowest = np.zeros_like(tokens)
    for _, _, time_s in hops(hidden_bytes, machine):
        slowest = np.maximum(slowest, time_s)
    return slowest


def stage_times(times: StepTimes, machine: Machine, batch_tokens: Floats, decode_tokens: Floats) -> StepTimes:
    r"""Return how long a batch occupies the slowest stage, in the form of the step times of all stages in turn.

    Parameters
    ----------
    times : step times of all stages in turn
    machine : what runs where
    batch_tokens, decode_tokens : tokens that a rank runs for each entry of `batch_s` and `decode_batch_s`, padded

    Notes
    -----
    .. math:: s = \frac{l_{max}}{L} \text{layers} + \max(\text{host} + \text{transfer}, \text{sample})

    The fullest stage has l_max of L layers. The first stage waits for the host and hands on, the last one samples;
    where the stages' layers differ, taking both of the fullest is an upper bound. No more than `times`, and at least
    its share `times` / stages.
    """
    layout, m = machine.layout, machine.model
    pp, dp = layout.pipeline_parallel_size, layout.data_parallel_size
    if pp == 1:
        return times
    share = max(stage_layers(m.num_hidden_layers, pp)) / m.num_hidden_layers
    host_s = machine.engine.step_s

    def occupied_s(table_s: Floats, tokens: Floats) -> Floats:
        transfers = hops(tokens * m.hidden_size * PLAIN_BYTES, machine)
        layers_s = table_s - host_s - sum(count * time_s for _, count, time_s in transfers)
        return np.where(table_s > 0, share * layers_s + host_s + slowest_hop_s(tokens, machine), 0.0)

    batch_s = occupied_s(times.batch_s, batch_tokens)
    rows = np.ceil(np.arange(float(len(times.sample_s))) / dp)
    sample_s = np.maximum(times.sample_s - host_s - slowest_hop_s(rows, machine), 0.0)
    emitting_s = sample_s[np.minimum(np.arange(len(batch_s)), len(sample_s) - 1)]
    return replace(
        times,
        batch_s=batch_s,
        decode_batch_s=occupied_s(times.decode_batch_s, decode_tokens),
        sample_s=sample_s,
        decode_offset_s=share * times.decode_offset_s,
        decode_slope_s=share * times.decode_slope_s,
        pair_s=share * times.pair_s,
        prefill_step_s=share * times.prefill_step_s,
        power_w=power_w(np.arange(float(len(batch_s))), batch_s + emitting_s, machine, busy_stages=pp),
        attention_w=attention_w(machine, busy_stages=pp),
    )
