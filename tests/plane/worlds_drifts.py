"""Drifts in the random worlds."""

from dataclasses import replace

from hypothesis import strategies as st
from worlds import MIXED, SHARING, scenes


@st.composite
def drifting_scenes(draw, *, exact):
    """A scene in which lengths, prefixes and verdicts change on the way."""
    scene = draw(scenes(exact=exact, moods=(MIXED, SHARING, MIXED)))
    world = scene.world
    class_id = st.integers(0, len(world.classes) - 1)
    visits = [visit for path in world.paths.values() for visit in path]
    guards = [number for number, visit in enumerate(visits) if visit.kind == "classify"]
    factor = st.sampled_from([0.5, 1.0, 1.3, 2.0])
    what = st.one_of(st.tuples(st.just("lengths"), class_id, factor, factor), st.tuples(st.just("bust"), class_id))
    if guards:
        what |= st.tuples(st.just("block"), st.sampled_from(guards), st.sampled_from([0.0, 0.5, 1.0]))
    # At times of arrivals, so that they stay on the grid and the order of an instant is tested.
    moments = st.sampled_from([world.start_s, *scene.rows["t_s"].tolist()])
    drifts = [(draw(moments), *draw(what)) for _ in range(draw(st.integers(1, 4)))]
    commands = sorted([*scene.commands, *drifts], key=lambda command: command[0])
    return replace(scene, commands=tuple(commands))
