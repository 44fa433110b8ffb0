"""The prefix cache: extents and blocks of the plane against the readable model's pool, after every operation."""

from random import Random

import pytest
from cache_play import Caches, Text, world_of
from cache_rules import extent_rows, has_no_holes, sound
from hypothesis import given
from hypothesis import strategies as st

from sim.plane.compiled import CHECKED, PLAIN

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
    caches.drain(0)
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


def long_scene(seed):
    """A scene of up to 150 acts; Hypothesis makes short ones, which seldom evict what is used in several ways."""
    draw = Random(seed)
    return {
        "block_size": draw.choice([1, 2, 3, 4, 4, 8, 16]),
        "num_gpu_blocks": draw.choice([draw.randint(3, 12), draw.randint(12, 60), draw.randint(60, 200)]),
        "caching": True,
        "lag": draw.randint(0, 1),
        "acts": [
            (draw.choice(ACTS), *(draw.randint(0, 1 << 16) for _ in range(3))) for _ in range(draw.randint(1, 150))
        ],
    }


@CACHE
@pytest.mark.parametrize("part", range(4))
def test_caches_agree_with_the_model_for_long(kind, part):
    for seed in range(part, 40 if PLAIN or CHECKED else 600, 4):
        play(kind, long_scene(seed))


def caches_of(**settings):
    """Caches with blocks of four tokens."""
    return Caches(world_of(**({"block_size": 4, "num_gpu_blocks": 41, "enable_prefix_caching": True} | settings)))


def serve(caches, r, text, prompt, output):
    """Admit a request and compute its prompt; with one output token it is done."""
    q = caches.add(r, text, prompt, output)
    caches.admit(q, prompt)
    caches.go_on(q, prompt)
    return q


def fallbacks(caches):
    return int(caches.plane.record["num_fallbacks"][0])


def test_a_prompt_whose_last_block_is_computed_again_stays_with_extents():
    caches = caches_of()
    for number in range(5):  # five requests at once use five copies of the last block
        q = serve(caches, 0, Text(older=((7, 16),), stream=number), 16, 30)
        assert q.published == 4
    table = caches.plane["extents"]
    (first,) = [e for e in extent_rows(caches) if table["parent"][e] == -2]
    assert (table["length"][first], table["num_users"][first], table["copies"][first]) == (3, 5, -1)
    caches.step(0)
    caches.drain(0)
    assert sound(caches)
    assert fallbacks(caches) == 0


@pytest.mark.parametrize("chunks", [(1, 40), (8, 12, 20, 40)])
def test_two_requests_that_compute_one_prefix_at_once_stay_with_extents(chunks):
    caches = caches_of()
    both = [caches.add(0, Text(prefix=32, stream=number), 40, 3) for number in range(2)]
    for chunk in chunks:
        for q in both:
            advance = caches.admit if q.state == "waiting" else caches.go_on
            advance(q, chunk)
    assert [q.published for q in both] == [10, 10]
    caches.step(0)
    caches.step(0)
    assert [q.state for q in both] == ["done", "done"]
    serve(caches, 0, Text(prefix=20, stream=9), 21, 1)  # cuts what nobody uses, both copies of it
    assert sound(caches)
    caches.drain(0)
    assert sound(caches)
    assert fallbacks(caches) == 0


def test_a_conversation_stays_one_extent():
    caches = caches_of(num_gpu_blocks=201)
    text, prompt = Text(stream=5), 10
    for _ in range(8):
        q = serve(caches, 0, text, prompt, 12)
        while q.state == "decoding":
            caches.step(0)
        prompt = q.delivered + 3
        assert len(extent_rows(caches)) == 1


@pytest.mark.parametrize("early", [False, True])
def test_a_block_that_a_decoding_request_would_publish_later_falls_back(early):
    caches = caches_of()
    speaker = serve(caches, 0, Text(stream=5), 10, 30)
    for _ in range(4):
        caches.step(0)
    if early:  # a text that says what comes next
        serve(caches, 0, speaker.text.quoted(24, 6), 25, 8)
    else:  # the very same request
        serve(caches, 0, speaker.text, 10, 30)
    assert fallbacks(caches) == 1
    assert caches.by_blocks(0)
    assert not extent_rows(caches)
    for _ in range(12):
        caches.step(0)
    caches.drain(0)
    caches.forget(0)
    assert not caches.by_blocks(0)


def test_tables_grow():
    world = world_of(block_size=1, num_gpu_blocks=41, enable_prefix_caching=True)
    caches = Caches(world, num_replicas=8, num_requests=600)
    sizes = {name: len(caches.plane[name]) for name in ("extents", "blocks", "stretches")}
    for r in range(8):
        for number in range(30):  # every text an extent or two of its own
            serve(caches, r, Text(older=((7, 1),), stream=number), 2, 1)
        assert len(extent_rows(caches)) >= 30 * (r + 1)
    assert len(caches.plane["extents"]) > sizes["extents"]
    for r in range(8):
        both = [serve(caches, r, Text(stream=1_000), 3, 9) for _ in range(2)]
        assert caches.by_blocks(r)
        assert both[0].state == both[1].state == "decoding"
        caches.step(r)
    assert len(caches.plane["blocks"]) > sizes["blocks"]
    assert not extent_rows(caches)
