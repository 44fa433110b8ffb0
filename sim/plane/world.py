"""The plane's input: pools, paths, traffic classes and buckets, as plain frozen records of numbers.

`sim.fleet.build` makes a World from a Scenario; tests make small ones by hand. Nothing here knows numba.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sim.cost.step_times import StepTimes
from sim.plane.promises import Bucket, Gateway, Promise
from sim.plane.world_regions import Regions
from sim.plane.world_routing import Routing
from sim.traffic.arrivals import TrafficClass

ROUTERS = ("round_robin", "least_outstanding", "power_of_two", "session_affinity", "prefix_affinity", "least_kv")
ROUND_ROBIN, LEAST_OUTSTANDING, POWER_OF_TWO, SESSION_AFFINITY, PREFIX_AFFINITY, LEAST_KV = range(6)
ANSWERS = (("generate",), ("prefill", "decode"))
"""Kinds of the visits that answer, at the end of a path."""
NO_PROMISE = Promise()
MAX_VISITS = 8
"""Visits of a path; draws are numbered by turn x MAX_VISITS + visit. Compiled in, so it stands among the plane's
sources; `sim.spec.fleet` refuses more before a World is made."""
MAX_ATTEMPTS = 64
"""Attempts of a turn; draws are numbered by turn x MAX_ATTEMPTS + attempt."""
MAX_TOKENS = 1_000_000_000
"""Longest draw of a length: that of `sim.spec.distribution`, compiled in."""
TABLE_STEPS = 1024
"""A quantile table has one value more than this."""
POLICIES = ("fcfs", "priority")
CACHES = ("extents", "blocks")
BATCH_POLICIES = ("vllm_v1", "prefill_first", "reserve_full", "static")
SYNCHRONOUS = ("prefill_first", "static")
"""Batch policies that have one step in flight only."""
RESERVING = ("reserve_full", "static")
"""Batch policies that set all blocks of a request aside when they admit it, and never chunk a prompt."""
ONLY_VLLM_V1 = (
    "long_prefill_token_threshold", "long_prefill_token_threshold_adaptive", "prefill_schedule_interval",
    "max_num_active_seqs", "kv_offload",
)  # fmt: skip
"""Settings that the other batch policies do not know; `sim.spec.fleet` says so to users."""


@dataclass(frozen=True)
class HostTier:
    """A second tier of a pool's prefix cache, in host memory: `sim.plane.host_tier`."""

    num_blocks: int
    """Blocks of one store."""
    bytes_per_s: float
    """Bandwidth of each replica's link to its store, each way."""
    latency_s: float = 0.0
    is_shared: bool = False
    """One store for all replicas of the pool; else one each."""
    ttl_s: float = float("inf")
    """How long an entry lives after its last use; infinity: until others push it out."""
    min_tokens: int = 0
    """Shorter prompts are neither written nor read."""


@dataclass(frozen=True)
class Pool:
    """Replicas of one profile behind one scheduler; field names and meanings are vLLM's."""

    name: str
    step_times: StepTimes
    num_replicas: int
    num_gpu_blocks: int
    """KV blocks of one replica, the null block included (usable: one fewer)."""
    max_replicas: int = 0
    """Replicas the pool may grow to; 0: `num_replicas`."""
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    block_size: int = 16
    max_model_len: int = 1 << 30
    watermark: float = 0.0
    scheduler_reserve_full_isl: bool = True
    enable_chunked_prefill: bool = True
    enable_prefix_caching: bool = True
    scheduling_policy: str = "fcfs"
    async_scheduling: bool = False
    """Two steps in flight: the next is formed while one runs."""
    long_prefill_token_threshold: int = 0
    """Largest prefill chunk of one request while others are there [tokens]; 0: no limit."""
    long_prefill_token_threshold_adaptive: bool = False
    prefill_schedule_interval: int = 1
    max_num_active_seqs: int = 0
    """Admit up to this many sequences instead of `max_num_seqs`; 0: off."""
    batch_policy: str = "vllm_v1"
    """Who is in a step: one of `BATCH_POLICIES`; each has a page in docs/policies."""
    pipeline_parallel_size: int = 1
    """Stages that steps pass through one after another: as many steps may be in flight."""
    stage_times: StepTimes | None = None
    """How long a step occupies the slowest stage, where there are several; no longer than the step takes."""
    accept_frac: Sequence[float] = ()
    """Speculation: share of drafted tokens accepted at each position where all before it were; as many are drafted.
    `step_times` are then those of steps that draft and verify."""
    num_lookahead_tokens: int = 0
    """Tokens that a speculating request needs blocks for beyond those of a step: all drafts, or none."""
    cache: str = "extents"
    """How cached blocks are kept: `extents` (runs of blocks of one chain) or `blocks` (one by one); results agree."""
    usd_per_replica_s: float = 0.0
    frontend_s: float = 0.0
    """Host time a client sees on top of the engine's, once a request [s]."""
    kv_bytes_per_token: float = 0.0
    """KV cache of one token, all GPUs of a replica together; what a transfer carries."""
    kv_offload: HostTier | None = None
    versions: Sequence[StepTimes] = ()
    """Step times of other versions of what is deployed, which single replicas may be given: `sim.plane.failures`."""
    stage_versions: Sequence[StepTimes] = ()
    """In a pipeline, the same for its slowest stage, one for each version."""
    reserved: Mapping[str, int] = field(default_factory=dict)
    """Replicas that tiers have to themselves, in order from the lowest number on; the other tiers share the rest."""
    regions: Mapping[str, int] = field(default_factory=dict)
    """Replicas in each region, in order from the lowest number on; those added are in the last that has any."""
    gateway: Gateway | None = None
    """Where tiers queue for it; None: requests go to replicas at once."""
    router: str = ""
    """The rule by which a replica is chosen; "": the world's."""

    @property
    def goes_singly(self) -> bool:
        """Whether every step lists its requests one by one: a pipeline, or speculation."""
        return self.pipeline_parallel_size > 1 or len(self.accept_frac) > 0


@dataclass(frozen=True)
class Transfer:
    """How a prompt's KV cache comes from the prefill visit before a decode visit."""

    bytes_per_s: float
    """Bandwidth of the link [B/s]; of several paths that share it the least counts."""
    latency_s: float = 0.0
    """Time that a transfer takes besides, in which the link is free [s]; of several paths the longest counts."""
    push: bool = False
    """Transfers queue at the link out of the prefill replica; else at the link into the decode replica."""
    num_layers: int = 0
    """Layers that are sent one by one while later ones compute; 0: all together when the prompt is complete."""
    first_token_at_prefill: bool = False
    """The prefill visit's token goes to the client."""


@dataclass(frozen=True, eq=False)
class Visit:
    """One stop of a path. Tables are quantile tables, see `sim.traffic.lengths`; docs/paths.md has the rules."""

    pool: int
    """-1: none, of a delay."""
    kind: str = "generate"
    """`generate`: the full prompt, the request's own output. `classify`: a verdict. `prefill`, then `decode`: what
    `generate` does, in two pools. `delay`: time at no pool."""
    prompt: str = "full"
    """What a classifier reads: `user` (the new tokens of this turn), `full`, or `exchange`: `user`, and what was said
    since. Where it checks an answer, `answer`, or `exchange`: `user` and the answer so far."""
    template_tokens: int = 0
    """The classifier's own instructions, a prefix shared by all its requests [tokens]."""
    block_frac: float = 0.0
    """Share of requests that end `blocked` after this visit."""
    transfer: Transfer | None = None
    """Of a decode visit."""
    feature: str = ""
    """What its cost is booked as."""
    frac: float = 1.0
    """Share of requests that make the visit."""
    output_tokens: NDArray[np.float64] | None = None
    """Of a classifier: its verdict, None: one token. Of a generate visit before the last, which is then a draft:
    None: as long as the answer."""
    prompt_extra_tokens: int = 0
    """Instructions behind what a generate visit reads otherwise [tokens]."""
    keep_in_history: bool = False
    """What a draft or a delay adds, and the instructions of the answer, are part of later turns' prompts."""
    escalate_frac: float | None = None
    """Share of requests that go on although there is an answer; the others are answered. The answer is that of this
    visit, or of the generate visit before it, whose output does not join later prompts."""
    delay_s: NDArray[np.float64] | None = None
    adds_tokens: NDArray[np.float64] | None = None
    """What a delay adds to the prompts after it [tokens]."""
    refusal_tokens: NDArray[np.float64] | None = None
    """Who is blocked here is told so, in so many tokens of the path's last visit."""
    true_positive_rate: Sequence[float] | None = None
    """Share of unsafe requests that a classifier blocks, by language; with the next, in place of `block_frac`."""
    false_positive_rate: Sequence[float] | None = None
    """Share of the others that it blocks, by language."""
    mode: str = "serial"
    """Of a classifier. `serial`: before the visit after it; of a check: when the whole answer is there. `gate`: beside
    the visits after it. `stream`, of a check: piece by piece while the answer is written. docs/companions.md."""
    chunk_tokens: int = 200
    """Of a check that streams: tokens of a piece."""
    carry_over_tokens: int = 50
    """Tokens before a piece that are read again with it."""
    holds_back: bool = False
    """Whether the client gets a piece after its verdict only."""


@dataclass(frozen=True)
class World:
    """All that the plane needs before the first event."""

    pools: Sequence[Pool]
    paths: Mapping[str, Sequence[Visit]]
    classes: Sequence[TrafficClass]
    checks: Mapping[str, Visit] = field(default_factory=dict)
    """By path: the classifier that reads what was answered."""
    buckets: Sequence[Bucket] = ()
    promises: Mapping[str, Promise] = field(default_factory=dict)
    """What the tiers are promised; a tier that is missing, no more than the others: `sim.plane.promises`."""
    expected_output_tokens: Sequence[Sequence[int]] = ()
    """Output tokens that a request is expected to have, by class and language (or one for all of them); needed where a
    gateway's order is `fair`, or a bucket counts tokens."""
    router: str = "power_of_two"
    """The rule of every pool that has none of its own: `sim.plane.routing`."""
    balance_abs_threshold: int = 64
    balance_rel_threshold: float = 1.5
    """How much busier than the idlest replica one may be and still get a visit for its cache: by more than so many
    requests, and more than so many times as busy. Names and defaults are the SGLang and vLLM routers'."""
    prefix_token_count: int = 256
    """Leading tokens of a prompt that choose its replica. Name and default are the SGLang router's."""
    routing: Routing = field(default_factory=Routing)
    """Who routes, and what they go by."""
    regions: Regions | None = None
    """Where replicas and senders are; None: in one place."""
    seed: int = 1
    start_s: float = 0.0
    """Time of the clocks at the start (negative: a run-in before t = 0) [s]."""
    horizon_s: float = float("inf")
    """No turn is issued at or after this time [s]."""
    has_segments: bool = True
    """Whether arrivals may have segments, which may repeat what others were answered."""
    has_deadlines: bool = False
    """Whether requests may wait for more than patience: the limit of a queue's time, the end of a delay."""
    has_faults: bool = False
    """Whether the commands of `sim.plane.failures` may be used: replicas fail, are slow, or change their version."""
    has_extras: bool = False
    """Whether records tell times outside of engines, and what befell a request (`sim.metrics.records.FLAGS`)."""
    itl_groups: Sequence[int] = field(default_factory=tuple)
    """Histogram row of each class; empty: one row a class."""

    @property
    def visits(self) -> tuple[Visit, ...]:
        """All visits, in the order of their rows: those of the paths, then checks."""
        return (*(visit for path in self.paths.values() for visit in path), *self.checks.values())

    @property
    def has_companions(self) -> bool:
        """Whether any request has a companion."""
        return len(self.checks) > 0 or any(visit.mode == "gate" for visit in self.visits)

    @property
    def tiers(self) -> list[str]:
        """The tiers that send requests, in order of their classes; each has a lane at every gateway."""
        return list(dict.fromkeys(kind.tier for kind in self.classes))

    def promise(self, tier: str) -> Promise:
        """What a tier is promised."""
        return self.promises.get(tier, NO_PROMISE)

    @property
    def falls_back(self) -> bool:
        """Whether a conversation may go by another path than its class's."""
        limits = [self.promise(tier).user_limit for tier in self.tiers]
        return any(limit is not None and limit.fall_back is not None for limit in limits)

    @property
    def accounts(self) -> list[tuple[int, str]]:
        """What cost is booked by: each pool with each feature that it serves."""
        return list(dict.fromkeys((visit.pool, visit.feature) for visit in self.visits if visit.pool >= 0))

    @property
    def speculates(self) -> bool:
        """Whether a step may give a request several tokens."""
        return any(len(pool.accept_frac) > 0 for pool in self.pools)
