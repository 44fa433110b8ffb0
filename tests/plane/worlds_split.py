"""Random paths whose answers come from two pools, for `worlds.scenes(split=True)`."""

import math
from dataclasses import replace

from hypothesis import strategies as st

from sim.plane.world import Transfer, Visit


@st.composite
def transfers(draw, clock):
    """A way from prefill to decode: links of all speeds, sent whole or by layers, either side first."""
    slow = draw(st.sampled_from([0, 0, 1, 1, 4]))
    return Transfer(
        bytes_per_s=1.0 / clock(slow) if slow else math.inf,
        latency_s=clock(draw(st.sampled_from([0, 0, 1, 16]))),
        push=draw(st.booleans()),
        num_layers=draw(st.sampled_from([0, 0, 1, 2])),
        first_token_at_prefill=draw(st.booleans()),
    )


@st.composite
def split_paths(draw, clock, paths, num_prefill, num_pools):
    """A path, mostly with its answer split; the first `num_prefill` pools never decode."""
    (*guards, last) = draw(paths)
    decodes = st.integers(num_prefill, num_pools - 1)
    if draw(st.sampled_from([True, True, True, False])):
        prefill = Visit(draw(st.integers(0, num_prefill - 1)), "prefill")
        return (*guards, prefill, Visit(draw(decodes), "decode", transfer=draw(transfers(clock))))
    return (*guards, replace(last, pool=draw(decodes)))
