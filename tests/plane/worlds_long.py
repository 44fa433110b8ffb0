"""Random worlds whose paths are all more than guards and an answer, with room for what they add."""

from dataclasses import replace

from hypothesis import strategies as st
from worlds import MIXED, SHARING, Clock, scenes
from worlds_paths import long_paths

ROOM = 4
"""So many times the blocks that other scenes have."""


@st.composite
def long_scenes(draw, *, exact):
    """A scene of long paths; exact: on the grid."""
    scene = draw(scenes(exact=exact, moods=(MIXED, MIXED, SHARING)))
    clock = Clock(exact=exact, seed=0 if exact else draw(st.integers(0, 1 << 16)))
    world = scene.world
    pools = tuple(
        replace(pool, num_gpu_blocks=1 + draw(st.sampled_from([1, ROOM])) * (pool.num_gpu_blocks - 1))
        for pool in world.pools
    )
    paths = {name: draw(long_paths(clock, len(pools))) for name in world.paths}
    return replace(scene, world=replace(world, pools=pools, paths=paths))
