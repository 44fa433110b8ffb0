"""Gates and checks for random scenes of any kind: `beside(scenes(...))`."""

from dataclasses import replace

from hypothesis import strategies as st

from sim.plane.world import Visit

FRACTIONS = st.sampled_from([0.0, 0.0, 0.3])


def is_bare(visit):
    """Whether a classifier may be a gate: all requests make its visit, and its verdict is one token."""
    return visit.frac == 1.0 and visit.output_tokens is None


@st.composite
def gated(draw, path, num_pools):
    """A path with one of its classifiers made a gate, or with one more."""
    guards = [number for number, visit in enumerate(path) if visit.kind == "classify" and is_bare(visit)]
    if guards and draw(st.booleans()):
        number = draw(st.sampled_from(guards))
        return (*path[:number], replace(path[number], mode="gate"), *path[number + 1 :])
    number = draw(st.integers(0, len(path) - 1 - (path[-1].kind == "decode")))
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


def is_plain(path):
    """Whether classifiers may stand beside a path's answer."""
    return sum(visit.kind == "generate" for visit in path) < 2 and not any(
        visit.refusal_tokens is not None or visit.escalate_frac is not None or visit.kind == "delay" for visit in path
    )


@st.composite
def beside(draw, scenes):
    """A scene, with classifiers beside the answers of most of its paths."""
    scene = draw(scenes)
    world, num_pools = scene.world, len(scene.world.pools)
    often = st.sampled_from([True, True, False])
    plain = {name for name, path in world.paths.items() if is_plain(path)}
    paths = {
        name: draw(gated(path, num_pools)) if name in plain and draw(often) else path
        for name, path in world.paths.items()
    }
    some = {name: draw(checks(num_pools)) for name in paths if name in plain and draw(often)}
    return replace(scene, world=replace(world, paths=paths, checks=some, has_extras=True))
