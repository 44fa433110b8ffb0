"""Small random worlds, tight in everything, for holding the plane against the readable model.

`scenes(exact=True)`: every time is a multiple of 2**-9 s (a whole number of nanoseconds), so that all arithmetic is
exact in binary, ties between events are common, and both sides must agree to the bit. `scenes(exact=False)`: the same
worlds, every time stretched by a factor of its own; compare at 1e-9.
"""

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import slow_draws as draws
from hypothesis import assume
from hypothesis import strategies as st
from slow_model import NO_SEGMENTS, REPLICA, Command, Result, play
from worlds_paths import long_paths, table
from worlds_people import length_factors, reactions
from worlds_singly import PLAIN, singly
from worlds_split import split_paths

from sim.cost.step_times import StepTimes
from sim.plane.world import (
    CACHES,
    ONLY_VLLM_V1,
    POLICIES,
    ROUTERS,
    SYNCHRONOUS,
    Bucket,
    HostTier,
    Pool,
    Visit,
    World,
)
from sim.traffic.arrivals import ARRIVAL, SEGMENT, TrafficClass

TICK_S = 2.0**-9
ORIGINS_S = (0.0, -1.0, 1e6)
"""Where clocks start: a run-in begins before zero."""
MAX_STEPS = 5_000
SEGMENT_KEYS = (1, 2)
"""Recorded text that several requests have."""
CROWDED, SHARING, PAUSED, MIXED, RETURNING = "crowded", "sharing", "paused", "mixed", "returning"
"""Moods of a scene: too little room for its requests; prefixes that push each other out; long prompts in small chunks
with pauses between, overtaken by short ones that are cached; anything; and, where there is a second tier, texts that
come again when those who had them are gone."""
MOODS = (CROWDED, CROWDED, SHARING, PAUSED, PAUSED, MIXED, MIXED)
"""As often as they are drawn."""
APART_S = 1e-7
"""Events nearer than this, but not equal, may change places when a sum is rounded another way."""


@dataclass(frozen=True)
class Scene:
    """All that a run needs."""

    world: World
    rows: np.ndarray
    segments: np.ndarray = field(default_factory=NO_SEGMENTS.copy)
    commands: tuple[Command, ...] = ()
    until: float = math.inf


class Clock:
    """Ticks to seconds: exact, or stretched by a factor drawn anew for each time."""

    def __init__(self, *, exact: bool, seed: int = 0, unit: int = 1) -> None:
        self.exact, self.random, self.unit = exact, np.random.default_rng(seed), unit

    def calendar(self, low: int, high: int) -> st.SearchStrategy[float]:
        """Times from low to high ticks, in whole units: the coarser the unit, the more of them are equal."""
        units = st.integers(-(-low // self.unit), high // self.unit)
        return units.map(lambda number: self(number * self.unit))

    def __call__(self, ticks: float) -> float:
        return ticks * TICK_S * (1.0 if self.exact else self.random.uniform(0.7, 1.3))


def play_scene(scene: Scene, *, exact: bool) -> Result:
    """The readable model's play; Hypothesis drops scenes that never end or whose outcome hangs on a rounding."""
    result = play(scene.world, scene.rows, scene.commands, scene.until, MAX_STEPS, scene.segments)
    assume(result.complete)
    assume(on_grid(result) if exact else well_separated(result))
    return result


def on_grid(result: Result) -> bool:
    """Whether every event lies on a multiple of the tick (a draw between two steps of a table may leave it)."""
    return all((t_s / TICK_S).is_integer() for t_s, _, _ in result.events)


def well_separated(result: Result) -> bool:
    """Whether no two events are so near that a last bit could change their order."""
    ends = {(step.end_s, step.replica) for step in result.steps}
    for (t_s, rank, key), (next_s, next_rank, next_key) in pairwise(result.events):
        if 0 < next_s - t_s < APART_S:
            return False
        # Equal times are safe where the one event caused the other: a kick. A step's end coincides by chance.
        if (
            next_s == t_s
            and next_rank == REPLICA
            and (next_s, next_key) in ends
            and (rank, key) != (next_rank, next_key)
        ):
            return False
    return True


@st.composite
def tick_tables(draw, clock, low, high):
    return table(draw(st.lists(clock.calendar(low, high), min_size=1, max_size=3)))


@st.composite
def token_tables(draw, high):
    return table([float(n) for n in draw(st.lists(st.integers(1, high), min_size=1, max_size=3))])


@st.composite
def step_times(draw, clock, max_tokens, max_seqs):
    """Tables with plateaus, several affine pieces, and every term of the step time present now and then."""
    flat = draw(st.sampled_from([False, False, True]))  # all steps equally long, so that replicas keep time together
    small = st.just(0) if flat else st.integers(0, 3)
    base_s = clock(clock.unit if flat else draw(st.integers(1, 12)))
    token_s, emit_s, nobody_s = clock(draw(small)), clock(draw(small)), clock(draw(st.sampled_from([0, 0, 1])))
    graph = draw(st.sampled_from([1, 2, 4]))
    knots = [*sorted(draw(st.sets(st.integers(2, 90), max_size=3))), math.inf]
    # Attention at the start of each piece: a constant, a part per sequence, and a slope from there on.
    starts = np.array([0.0, *knots[:-1]])
    constant_s, each_s, slope_s = (np.array([clock(draw(small)) for _ in knots]) for _ in range(3))
    num = np.arange(max_seqs + 1.0)[:, None]
    offset_s = constant_s + each_s * num - slope_s * starts
    batch_s = base_s + token_s * np.arange(max_tokens + 1.0)
    decode_batch_s = base_s + token_s * graph * np.ceil(np.arange(max_seqs + 1) / graph)
    sample_s = nobody_s + emit_s * np.arange(max_seqs + 1.0)
    batch_s[0] = decode_batch_s[0] = 0.0
    return StepTimes(
        batch_s=batch_s,
        decode_batch_s=decode_batch_s,
        sample_s=sample_s,
        knot_tokens=np.array(knots),
        decode_offset_s=np.maximum(offset_s, -slope_s * starts),
        decode_slope_s=np.broadcast_to(slope_s, offset_s.shape),
        pair_s=clock(draw(st.sampled_from([0, 0, 1]))),
        prefill_step_s=clock(draw(small)),
        power_w=np.full(max_tokens + 1, 700.0),
        attention_w=700.0,
        idle_w=70.0,
    )


@st.composite
def pools(draw, clock, number, mood):
    block_sizes = {SHARING: [1, 2, 3, 4, 4], PAUSED: [1, 2, 4]}
    block_size = draw(st.sampled_from(block_sizes.get(mood, [1, 2, 3, 4, 4, 8, 16])))
    max_num_seqs = draw(st.integers(1 if mood == MIXED else 3, 8))
    max_num_active_seqs = draw(st.sampled_from([0, 0, 0, 1, 2, 5, 12]))
    is_tight = mood == PAUSED or max_num_active_seqs == 12  # so that not every decode gets a token
    budget = st.integers(4, 8) if is_tight else st.one_of(st.integers(4, 16), st.integers(17, 64), st.just(64))
    max_num_batched_tokens = max(4, max_num_seqs, draw(budget))
    # a request has about 10 to 60 tokens
    rooms = {CROWDED: [30, 36, 40, 50], SHARING: [40, 50, 60, 70], PAUSED: [80, 120], MIXED: [30, 50, 70, 120, 600]}
    rooms = (rooms | {RETURNING: [40, 60, 80, 200]})[mood]
    num_gpu_blocks = 1 + -(-draw(st.sampled_from(rooms)) // block_size)
    most_seqs = max(max_num_seqs, max_num_active_seqs)
    counts = {CROWDED: [1, 1, 1, 2], SHARING: [1], PAUSED: [1], MIXED: [1, 2, 2, 3, 3, 4, 0], RETURNING: [2, 1]}
    num_replicas = draw(st.sampled_from(counts[mood]))
    caching = st.just(True) if mood in (SHARING, PAUSED) else st.booleans()
    return Pool(
        name=f"pool{number}",
        step_times=draw(step_times(clock, max_num_batched_tokens, most_seqs)),
        num_replicas=num_replicas,
        num_gpu_blocks=num_gpu_blocks,
        max_replicas=num_replicas + draw(st.integers(0 if num_replicas else 1, 2)),
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
        block_size=block_size,
        max_model_len=draw(st.sampled_from([1 << 30, 1 << 30, 1 << 30, 60 if mood == MIXED else 1 << 30])),
        watermark=draw(st.sampled_from([0.0, 0.0, 0.0, 0.1, 0.3, 1 / num_gpu_blocks, 2 / num_gpu_blocks])),
        scheduler_reserve_full_isl=draw(st.booleans()),
        enable_chunked_prefill=draw(st.sampled_from([True, True, True, False])),
        enable_prefix_caching=draw(caching),
        scheduling_policy=draw(st.sampled_from(POLICIES)),
        async_scheduling=draw(st.sampled_from([True, True, True, False] if mood == CROWDED else [True, False])),
        long_prefill_token_threshold=draw(st.sampled_from([3, 9, 9, 9] if mood == PAUSED else [0, 0, 0, 1, 2, 5])),
        long_prefill_token_threshold_adaptive=draw(st.booleans()),
        prefill_schedule_interval=draw(st.sampled_from([4, 5, 6] if mood == PAUSED else [1, 1, 1, 2, 3])),
        max_num_active_seqs=max_num_active_seqs,
        cache=draw(st.sampled_from(CACHES)),
        usd_per_replica_s=draw(st.sampled_from([0.0, 0.25, 1.5])),
        frontend_s=clock(draw(st.sampled_from([0, 0, clock.unit]))),
    )


def under(batch_policy, pool):
    """A pool under a batch policy: as it is but for the settings that the policy does not know."""
    if batch_policy == "vllm_v1":
        return pool
    unknown = dict.fromkeys(ONLY_VLLM_V1) | ({"async_scheduling": None} if batch_policy in SYNCHRONOUS else {})
    return replace(pool, batch_policy=batch_policy, **{name: getattr(Pool, name) for name in unknown})


@st.composite
def host_tiers(draw, clock, pool):
    """A pool with a second tier: stores of a block or of all there is, links of all speeds, entries that expire."""
    slow = draw(st.sampled_from([0, 0.25, 0, 0.25, 1, 1_000]))
    tier = HostTier(
        num_blocks=draw(st.sampled_from([1_000, 40, 12, 5, 2, 1])),
        bytes_per_s=1.0 / clock(slow) if slow else math.inf,
        latency_s=clock(draw(st.sampled_from([0, 0, 0, 1, 8]))),
        is_shared=draw(st.booleans()),
        ttl_s=draw(st.one_of(st.just(math.inf), st.just(math.inf), clock.calendar(100, 600))),
        min_tokens=draw(st.sampled_from([0, 0, 0, 12])),
    )
    caching = draw(st.booleans())  # what the GPU keeps need not be loaded
    return replace(pool, kv_offload=tier, kv_bytes_per_token=1.0, enable_prefix_caching=caching)


@st.composite
def paths(draw, num_pools, max_guards):
    pool = st.integers(0, num_pools - 1)
    classify = st.builds(
        Visit,
        pool=pool,
        kind=st.just("classify"),
        prompt=st.sampled_from(["user", "full"]),
        template_tokens=st.integers(0, 12),
        block_frac=st.sampled_from([0.0, 0.0, 0.3]),
    )
    return (*draw(st.lists(classify, max_size=max_guards)), Visit(draw(pool)))


def reissue_interval_s(draw, clock, mood):
    """Time between the requests of a client; none where crowds and pauses are wanted, which it would thin out."""
    if mood in (CROWDED, PAUSED):
        return 0.0
    return draw(st.sampled_from([0.0, 0.0, 1.0])) * draw(clock.calendar(0 if clock.exact else 1, 32))


@st.composite
def traffic_classes(draw, clock, number, path_names, mood):
    return TrafficClass(
        name=f"class{number}",
        tier="tier",
        path=draw(st.sampled_from(path_names)),
        priority=draw(st.integers(0, 2)),
        prefix_tokens=draw(
            st.sampled_from({SHARING: [8, 13, 16], PAUSED: [4, 12], RETURNING: [16, 24]}.get(mood, [0, 0, 3, 8, 13]))
        ),
        prefix_group=["red", "blue", "green"][{SHARING: number, PAUSED: 0}.get(mood, draw(st.integers(0, 1)))],
        user_tokens=draw(token_tables(1 if mood == PAUSED else 15)),
        output_tokens=draw(token_tables(25)),
        gap_s=draw(tick_tables(clock, 0, 400)),
        patience_s=draw(st.one_of(st.none(), st.none(), st.none(), tick_tables(clock, 1, 1_000))),
        # A stretched clock must leave a turn clear of the step that ended the one before.
        min_think_s=draw(clock.calendar(0 if clock.exact else 1, 32)),
        keep_history=draw(st.booleans()),
        max_context_tokens=draw(st.sampled_from([45, 60, 1 << 20])),
        is_program=draw(st.booleans()),
        truncates=draw(st.sampled_from([True, True, False])),
        reissue_interval_s=reissue_interval_s(draw, clock, mood),
        length_factor=None if mood in (CROWDED, PAUSED) else draw(length_factors()),
        reaction=None if mood in (CROWDED, PAUSED) else draw(reactions(clock)),
        unsafe_frac=0.0 if mood in (CROWDED, PAUSED) else draw(st.sampled_from([0.0, 0.4])),
    )


@st.composite
def texts(draw, answers):
    """Segments of a prompt: texts that others have too, and what earlier arrivals are answered."""
    stretch = st.tuples(st.sampled_from([*SEGMENT_KEYS, *answers]), st.integers(3, 12), st.just(0))
    return draw(st.lists(stretch, min_size=1, max_size=3))


@st.composite
def quotes(draw, before):
    """Segments that repeat an earlier arrival's prompt and a part of the answer, which may not be there yet."""
    class_id, user_tokens, text, answer = draw(st.sampled_from(before[-3:]))
    length = draw(st.integers(1, 30)) + (0 if text else user_tokens)
    return class_id, [*text, (answer, length, 0)]


@st.composite
def arrivals(draw, clock, origin_s, num_classes, num_buckets, mood, seed):
    """Rows in order of time, many of them at one instant (as closed-loop clients begin), and their segments."""
    rows, segments, before, t_s = [], [], [], origin_s
    may_copy = draw(st.sampled_from({SHARING: [True], PAUSED: [False]}.get(mood, [True, True, False])))
    user_tokens = st.sampled_from([1, 1, 1, 25]) if mood == PAUSED else st.integers(1, 20)
    outputs = {CROWDED: [2, 2, 3, 3, 4, 6, 30], PAUSED: [5, 10, 20, 30]}
    output_tokens = st.sampled_from(outputs.get(mood, range(1, 31)))
    most_ticks = {CROWDED: [0, 1, 16], SHARING: [1, 16, 64], PAUSED: [16, 32], MIXED: [1, 32, 160]}
    most_ticks = (most_ticks | {RETURNING: [64, 32]})[mood]
    gaps_s = clock.calendar(0, draw(st.sampled_from(most_ticks)))
    for number in range(draw(st.integers(1 if mood == MIXED else 5, 14))):
        t_s += draw(gaps_s)
        user, num_turns = draw(st.integers(0, 3)), draw(st.integers(1, 4 if mood != PAUSED else 2))
        lengths = draw(user_tokens), draw(output_tokens)
        class_id, language = draw(st.integers(0, num_classes - 1)), draw(st.integers(0, 3))
        bucket = draw(st.integers(-2, num_buckets - 1).map(lambda number: max(number, -1)))
        text = []
        if may_copy and draw(st.sampled_from([True, True, False])):
            if before and draw(st.sampled_from([True, True, False])):
                class_id, text = draw(quotes(before))
            else:
                text = draw(texts([answer for *_, answer in before]))
            num_turns, lengths = 1, (sum(num_tokens for _, num_tokens, _ in text), lengths[1])
        segments += text
        before.append((class_id, lengths[0], text, draws.bits(seed, draws.CONTENT, user, number, 0)))
        rows.append((t_s, user, number, num_turns, *lengths, class_id, language, bucket, len(text)))
    return np.array(rows, dtype=ARRIVAL), np.array(segments, dtype=SEGMENT)


@st.composite
def commands(draw, clock, origin_s, world_pools, mood, outages):
    """Aborts, adds and drains that always leave a replica active, and outages of the door."""
    found: list[Command] = []
    most_drained = [max(0, pool.num_replicas - 1) for pool in world_pools]
    times_s = clock.calendar(0, draw(st.sampled_from([250, 500] if mood == CROWDED else [50, 250, 1_200])))
    verbs = ["abort"] if mood == CROWDED else ["abort", "add", "drain", "swap", "swap", "swap"] + ["outages"] * outages
    for _ in range(draw(st.integers({CROWDED: 5, MIXED: 2}.get(mood, 0), 8))):
        t_s = origin_s + draw(times_s)
        verb, number = (
            draw(st.sampled_from(verbs)),
            draw(st.integers(0, len(world_pools) - 1)),
        )
        if verb == "abort":
            some = st.lists(st.integers(0, 25), min_size=1, unique=True)
            found += [(t_s, verb, serial) for serial in draw(st.one_of(some, st.just(range(25))))]
        elif verb == "outages":
            found += [(t_s, verb, 1), (t_s + draw(clock.calendar(1, 48)), verb, -1)]
        elif verb == "add":
            found.append((t_s, verb, number, draw(st.integers(1, 2))))
        elif most_drained[number]:
            count = draw(st.integers(1, most_drained[number]))
            most_drained[number] -= count
            found.append((t_s, "drain", number, count))
            if verb == "swap":
                found.append((t_s + draw(clock.calendar(0, 48)), "add", number, count))
    return tuple(sorted(found, key=lambda command: command[0]))


@st.composite
def scenes(draw, *, exact, policies=("vllm_v1",), moods=MOODS, kinds=(PLAIN,), tiers=False, split=False):
    """A scene; exact: on the grid. Each pool has one of the batch policies, and is of one of the kinds.

    With `tiers`, most have a second tier; with `split`, most answers come from two pools.
    """
    clock = Clock(exact=exact, seed=0 if exact else draw(st.integers(0, 1 << 16)), unit=draw(st.sampled_from([1, 16])))
    origin_s = draw(st.sampled_from(ORIGINS_S if exact else ORIGINS_S[:2]))
    mood = draw(st.sampled_from([RETURNING] * len(moods) + list(moods) if tiers else moods))
    num_pools = draw(st.sampled_from([1, 2, 3] if mood == MIXED else [1, 1, 2])) + split
    num_prefill = draw(st.integers(1, num_pools - 1)) if split else 0
    world_pools = tuple(
        under(draw(st.sampled_from(policies)), draw(pools(clock, number, mood))) for number in range(num_pools)
    )
    if tiers:
        world_pools = tuple(
            draw(host_tiers(clock, pool)) if draw(st.sampled_from([True, True, False])) else pool
            for pool in world_pools
        )
    if kinds != (PLAIN,):
        world_pools = tuple(draw(singly(pool, kinds, TICK_S if exact else 0.0)) for pool in world_pools)
    names = ["one", "two"][: draw(st.integers(1, 2))]
    max_guards = draw(st.sampled_from([0, 0 if mood == PAUSED else 2]))
    num_classes = draw(st.integers(1 if mood != SHARING else 2, 3))
    num_buckets = draw(st.integers(0, 2)) if mood == MIXED else 0
    classes = tuple(draw(traffic_classes(clock, number, names, mood)) for number in range(num_classes))
    some_time = clock.calendar(50, draw(st.sampled_from([200, 1_500]))).map(lambda t_s: origin_s + t_s)
    ever = st.one_of(st.just(math.inf), st.just(math.inf), some_time)
    some_path = paths(num_pools, max_guards)
    if split:
        world_pools = tuple(replace(pool, kv_bytes_per_token=1.0) for pool in world_pools)
        some_path = split_paths(clock, some_path, num_prefill, num_pools)
    elif mood not in (CROWDED, PAUSED):
        some_path = st.one_of(some_path, long_paths(clock, num_pools))
    world = World(
        pools=world_pools,
        paths={name: draw(some_path) for name in names},
        classes=classes,
        buckets=tuple(
            Bucket(draw(st.sampled_from([0.5, 2.0, 8.0])), float(draw(st.integers(1, 3)))) for _ in range(num_buckets)
        ),
        router=draw(st.sampled_from(ROUTERS)),
        balance_abs_threshold=draw(st.sampled_from([0, 1, 2, 64])),
        balance_rel_threshold=draw(st.sampled_from([0.0, 1.0, 1.5])),
        prefix_token_count=draw(st.sampled_from([1, 8, 16, 256])),
        seed=draw(st.integers(0, 1 << 30)),
        start_s=origin_s,
        horizon_s=draw(ever),
        itl_groups=draw(st.sampled_from([(), (0,) * num_classes])),
    )
    rows, segments = draw(arrivals(clock, origin_s, num_classes, num_buckets, mood, world.seed))
    rows = rows[rows["t_s"] < world.horizon_s]
    segments = segments[: rows["num_segments"].sum()]
    world = replace(world, has_segments=len(segments) > 0 or draw(st.booleans()))
    operations = commands(clock, origin_s, world_pools, mood, outages=mood == MIXED and not split)
    return Scene(world, rows, segments, draw(operations), draw(ever))
