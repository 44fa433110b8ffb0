"""Gates and checks for random scenes of any kind: `beside(scenes(...))`."""

from dataclasses import replace

from hypothesis import strategies as st

from sim.plane.world import Visit

FRACTIONS = st.sampled_from([0.0, 0.0, 0.3])


@st.composite
def gated(draw, path, num_pools):
    """A path with one of its classifiers made a gate, or with one more."""
    guards = [number for number, visit in enumerate(path) if visit.kind == "classify"]
    if guards and draw(st.booleans()):
        number = draw(st.sampled_from(guards))
        return (*path[:number], replace(path[number], mode="gate"), *path[number + 1 :])
    number = draw(st.integers(0, len(guards)))
    gate = Visit(
        draw(st.integers(0, num_pools - 1)),
        "classify",
        draw(st.sampled_from(["user", "full"])),
        template_tokens=draw(st.integers(0, 12)),
        block_frac=draw(FRACTIONS),
        mode="gate",
    )
    return (*path[:number], gate, *path[number:])


@st.composite
def checks(draw, num_pools):
    """A check of an answer: whole, or in pieces of a token and more; shown before its verdict or after."""
    return Visit(
        draw(st.integers(0, num_pools - 1)),
        "classify",
        draw(st.sampled_from(["answer", "exchange"])),
        template_tokens=draw(st.integers(0, 12)),
        block_frac=draw(FRACTIONS),
        mode=draw(st.sampled_from(["stream", "stream", "stream", "serial"])),
        chunk_tokens=draw(st.sampled_from([1, 2, 3, 5, 8, 20])),
        carry_over_tokens=draw(st.sampled_from([0, 1, 4])),
        holds_back=draw(st.booleans()),
    )


@st.composite
def beside(draw, scenes):
    """A scene, with classifiers beside the answers of most of its paths."""
    scene = draw(scenes)
    world, num_pools = scene.world, len(scene.world.pools)
    paths = {
        name: draw(gated(path, num_pools)) if draw(st.sampled_from([True, True, False])) else path
        for name, path in world.paths.items()
    }
    some = {name: draw(checks(num_pools)) for name in paths if draw(st.sampled_from([True, True, False]))}
    return replace(scene, world=replace(world, paths=paths, checks=some, has_extras=True))
