"""The prefix cache: extents and blocks of the plane against the readable model's pool, after every operation."""

import pytest
from cache_play import Caches, Text, has_no_holes, sound, world_of
from hypothesis import given
from hypothesis import strategies as st

CACHE = pytest.mark.parametrize("kind", ["extents", "blocks"])
ACTS = ("new", "new", "again", "next turn", "quote", "chunk", "chunk", *["step"] * 3, "preempt", "abort", "forget")
NUMBER = st.integers(0, 1 << 16)


@st.composite
def scenes(draw):
    """A pool's settings, the texts' grain, and acts as numbers."""
    size = draw(st.sampled_from([1, 2, 3, 4, 4, 8, 16]))
    return {
        "block_size": size,
        "num_gpu_blocks": draw(st.integers(3, 12) | st.integers(12, 60)),
        "caching": draw(st.integers(0, 9)) > 0,
        "lag": draw(st.integers(0, 1)),
        "acts": draw(st.lists(st.tuples(st.sampled_from(ACTS), NUMBER, NUMBER, NUMBER), min_size=1, max_size=60)),
    }


def fresh_text(size, a, b, number):
    """A new text; its parts are as long as a block or three, or not quite."""
    prefix = (0, 2 * size, 3 * size - 1, size + 1)[a % 4]
    older, end = [], prefix
    for k in range((a >> 2) % 4):
        key, length = (b >> 2 * k) % 3 + 1, (size, 2 * size + 1, max(1, size // 2), 0)[(b >> 6 + 2 * k) % 4]
        end += length
        older.append((key, end))
    return Text((a >> 4) % 2, prefix, tuple(older), 100 + number)


def play(kind, scene):
    """Carry out a scene."""
    size = scene["block_size"]
    world = world_of(
        block_size=size, num_gpu_blocks=scene["num_gpu_blocks"], enable_prefix_caching=scene["caching"], cache=kind
    )
    caches = Caches(world, lag=scene["lag"])
    for act in scene["acts"]:
        perform(caches, size, *act)
        if kind == "extents":
            assert sound(caches)
        for model in caches.models:
            assert has_no_holes(model)
    return caches


def perform(caches, size, act, a, b, c):
    """One act on what there is."""
    r = int(c % 8 == 7)  # nearly always the first replica
    running = caches.running(r)
    prefilling = [q for q in running if q.state == "prefilling"]
    waiting = [q for q in caches.requests if q.replica == r and q.state == "waiting"]
    if act == "chunk" and (todo := prefilling + waiting):
        advance(caches, todo[a % len(todo)], 1 + b % (4 * size))
    elif act == "step":

        def between():
            if prefilling and prefilling[a % len(prefilling)].state == "prefilling":
                advance(caches, prefilling[a % len(prefilling)], 1 + b % (4 * size))

        caches.step(r, c % 3, between)
    elif act == "preempt" and running:
        caches.preempt(running[a % len(running)])
    elif act == "abort" and running:
        caches.finish(running[a % len(running)])
    elif act == "forget" and a % 4 == 0:
        caches.forget(r)
    elif act in {"new", "again", "next turn", "quote"}:
        q = caches.add(r, *request(caches.requests, size, act, a, b, c))
        if b % 8:
            caches.admit(q, 1 + (b >> 3) % (6 * size))
        if q.state == "prefilling" and b % 3:
            caches.go_on(q, 1 << 20)


def request(known, size, act, a, b, c):
    """Text, prompt and output of a new request, which may have to do with one that is known."""
    output, stream = 1 + (c >> 4) % (3 * size), 100 + len(known)
    if act == "new" or not known:
        text = fresh_text(size, a, b, len(known))
        return text, text.own_from + 1 + c % (3 * size), output
    if act == "next turn":
        done = [q for q in known if q.state == "done"] if c % 16 else known
        q = (done or known)[a % len(done or known)]
        return q.text, q.delivered + 1 + b % (2 * size), output
    q = known[a % len(known)]
    if act == "again":  # another output of the same prompt, or rarely the very same request
        text = q.text if b % 16 == 1 else q.text.quoted(q.prompt, stream)
        return text, max(1, text.own_from, q.prompt - (b >> 1) % 3 // 2 * (1 + c % size)), output
    # "quote": what a request has said so far, maybe a little more, and then something else
    text = q.text.quoted(q.delivered + b % (2 * size), stream)
    return text, max(1, text.own_from + c % 3), output


def advance(caches, q, chunk):
    """The next chunk of a request, or its admission."""
    if q.state == "waiting":
        caches.admit(q, chunk)
    else:
        caches.go_on(q, chunk)


@CACHE
@given(scene=scenes())
def test_caches_agree_with_the_model(kind, scene):
    play(kind, scene)
