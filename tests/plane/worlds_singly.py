"""Pools of the random worlds with pipeline stages or speculation."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from sim.plane.world import Pool

PLAIN, PIPELINE, SPECULATION = "plain", "pipeline", "speculation"


@st.composite
def stage_times(draw, times, tick_s):
    """How long a step occupies a stage: all of the step's time or a part, in whole ticks if there are any."""
    part, keep = draw(st.sampled_from([1.0, 0.5, 0.25, 0.3])), draw(st.sampled_from([0.0, 1.0]))

    def cut(values):
        return np.floor(values * part / tick_s) * tick_s if tick_s else values * part

    return replace(
        times,
        batch_s=cut(times.batch_s),
        decode_batch_s=cut(times.decode_batch_s),
        sample_s=keep * times.sample_s,
        decode_offset_s=keep * times.decode_offset_s,
        decode_slope_s=keep * times.decode_slope_s,
        pair_s=keep * times.pair_s,
        prefill_step_s=keep * times.prefill_step_s,
    )


@st.composite
def singly(draw, pool, kinds, tick_s):
    """A pool as it is, with stages, or with drafts."""
    kind = draw(st.sampled_from(kinds)) if pool.batch_policy == "vllm_v1" else PLAIN
    if kind == PLAIN:
        return pool
    pool = replace(pool, async_scheduling=Pool.async_scheduling)
    if kind == PIPELINE:
        stages = draw(st.sampled_from([2, 2, 3, 4, 7]))
        return replace(pool, pipeline_parallel_size=stages, stage_times=draw(stage_times(pool.step_times, tick_s)))
    shares = tuple(draw(st.lists(st.sampled_from([0.0, 0.4, 0.8, 0.9, 1.0]), min_size=1, max_size=5)))
    return replace(pool, accept_frac=shares, num_lookahead_tokens=draw(st.sampled_from([0, len(shares)])))
