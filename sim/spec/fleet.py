"""What serves the requests: pools of replicas, the paths through them, and what operators do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from sim.errors import did_you_mean
from sim.spec.autoscaler import Autoscaler
from sim.spec.base import (
    Fraction,
    Key,
    NonNegativeInt,
    NonNegativeNumber,
    PositiveFraction,
    PositiveInt,
    PositiveNumber,
    PositiveSeconds,
    Seconds,
    Spec,
    Text,
    UsdPerHour,
)
from sim.spec.companions import before_check, order_problems, whereabouts_problems
from sim.spec.faults import Deploy, Faults, fault_problems
from sim.spec.gateway import Gateway
from sim.spec.kv_offload import KvOffload
from sim.spec.kv_transfer import KvTransfer, split_problems
from sim.spec.money import Contract, contract_problems
from sim.spec.path_work import path_problems
from sim.spec.regions import FleetRegion, region_problems
from sim.spec.routing import Router, Routing, index_problems, routing_problems
from sim.spec.scaling import is_scaled, most_on_line, scaling_problems
from sim.spec.speculation import SpeculativeConfig
from sim.spec.startup import Spot, Startup, WarmPool
from sim.spec.visit import Visit


def _drop_null(value: Any) -> Any:
    return {k: v for k, v in value.items() if v is not None} if isinstance(value, Mapping) else value


WithoutNulls = BeforeValidator(_drop_null)
"""An entry set to null is absent: so an override can remove a pool, a path or a tier."""


MAX_VISITS = 8
"""Visits of a path: the plane numbers a turn's draws by them."""


MAX_REPLICAS = 100_000
"""Replicas of a pool: each takes memory of the plane."""
NumReplicas = Annotated[PositiveInt, Field(le=MAX_REPLICAS)]


BatchPolicy = Literal["vllm_v1", "prefill_first", "reserve_full", "static"]
SYNCHRONOUS = ("prefill_first", "static")
"""Batch policies with one step in flight."""
ONLY_VLLM_V1 = (
    "long_prefill_token_threshold", "long_prefill_token_threshold_adaptive", "prefill_schedule_interval",
    "max_num_active_seqs", "kv_offload",
)  # fmt: skip
"""Settings that the other batch policies do not know."""


class Pool(Spec):
    """Replicas of one model on one kind of GPU with one scheduler. Names and defaults are vLLM's (0.33.0)."""

    model: Text | None = None
    """Key of an entry in models/, or one with what differs, such as "llama-3.1-70b, 64 KV heads". Default: the
    scenario's `model`."""
    hardware: Text | None = None
    """GPU: name of an entry in hardware_profiles/gpus/. Default: the scenario's `hardware`."""
    replicas: NumReplicas = 1
    """Replicas at the start. A replica has tensor x pipeline x data parallel size GPUs."""
    max_replicas: NumReplicas | None = None
    """Most replicas there can ever be, those that start, are warm or drain among them. Default: as many as `replicas`
    and the operations, or the autoscaler and the warm pool, ask for."""
    router: Router | None = None
    """How one of its replicas is chosen. Default: the fleet's `router`."""
    autoscaler: Autoscaler | None = None
    """Who decides how many replicas there are. Default: nobody; operations alone change it."""
    startup: Startup | None = None
    """How long a replica takes to start. Default: no time where only operations add replicas, else that of an empty
    `startup: {}`."""
    warm_pool: WarmPool | None = None
    """Replicas kept ready. Default: none."""
    spot: Spot | None = None
    """Spot capacity beyond the first replicas. Default: none is spot."""
    tensor_parallel_size: PositiveInt = 1
    """GPUs that share each layer. Default 1."""
    pipeline_parallel_size: PositiveInt = 1
    """Stages that the layers are split into; more than a node's GPUs go over the network. Default 1."""
    data_parallel_size: PositiveInt = 1
    """Ranks of a MoE model with attention and KV cache of their own, in lock-step; limits of a batch and of memory are
    each rank's. Default 1."""
    enable_expert_parallel: bool = False
    """Keep each expert whole and spread them over all tensor x data parallel GPUs. Default false: every expert is
    split among them."""
    expert_parallel_size: PositiveInt = 1
    """GPUs that the experts are spread over, for engines that also allow a part of them (TensorRT-LLM's
    moe_expert_parallel_size); the rest split each expert. Default 1; see `enable_expert_parallel`."""
    weights: Literal["bf16", "fp16", "fp8", "int8", "int4", "mxfp4"] = "bf16"
    """Precision of the weights. Default bf16: as most checkpoints are published."""
    activations: Literal["bf16", "fp16", "fp8", "int8"] | None = None
    """Precision of the matrix products. Default: what `weights` implies."""
    kv_cache_dtype: Literal["auto", "bf16", "fp16", "fp8"] = "auto"
    """Precision of the KV cache. Default auto: that of the model."""
    kv_cache_layout: Literal["paged", "contiguous"] = "paged"
    """paged: KV-cache blocks as a sequence grows. contiguous: max_model_len tokens reserved for each sequence, as
    engines did before PagedAttention. Default paged."""
    use_cache: bool = True
    """Keep keys and values from step to step (Hugging Face's name). false: every step computes the whole of every
    sequence again. Default true."""
    attn_implementation: Literal["flash_attention", "eager"] = "flash_attention"
    """Attention kernels (Hugging Face's name). eager: scores are written to memory and read back. Default
    flash_attention: scores stay on the chip."""
    speculative_config: SpeculativeConfig | None = None
    """Speculative decoding. Default: none."""
    max_model_len: PositiveInt | None = None
    """Longest prompt plus answer [tokens]. Default: the model's context length, or what the KV cache holds."""
    max_num_seqs: PositiveInt = 256
    """Most sequences in a batch. Default 256; `vllm serve` takes 1024 on GPUs of 70 GiB and more (not A100)."""
    max_num_batched_tokens: PositiveInt = 8192
    """Most tokens in a batch. Default 8192: `vllm serve` on GPUs of 70 GiB and more (not A100: 2048)."""
    block_size: PositiveInt = 16
    """Tokens in a KV-cache block. Default 16."""
    gpu_memory_utilization: PositiveFraction = 0.90
    """Fraction of GPU memory for weights, activations and KV cache. Default 0.90."""
    num_gpu_blocks_override: PositiveInt | None = None
    """Number of KV-cache blocks. Default: what the memory holds."""
    enable_prefix_caching: bool = True
    """Keep the blocks of finished requests for others that begin with the same text. Default true."""
    kv_offload: KvOffload | None = None
    """A second tier of that cache, in host memory. Default: none."""
    enable_chunked_prefill: bool = True
    """Split long prompts over steps. Default true."""
    scheduling_policy: Literal["fcfs", "priority"] = "fcfs"
    """Order of the waiting queue. Default fcfs."""
    batch_policy: BatchPolicy = "vllm_v1"
    """Who is in a step. vllm_v1: running requests, then prefill with what is left of the batch's tokens.
    prefill_first: prefill as long as there is any, decodes wait (SGLang). reserve_full: a request starts when its whole
    answer has room too (TensorRT-LLM). static: a batch runs to its end before the next one starts. docs/policies/ has
    the rules of each. Default vllm_v1."""
    async_scheduling: bool | None = None
    """Form the next step while one runs, so that the GPU does not wait for the scheduler. Default: true, vLLM's on
    GPUs; false under the batch policies prefill_first and static, with pipeline stages (as many steps as stages are in
    flight) and with speculation."""
    long_prefill_token_threshold: NonNegativeInt = 0
    """Most prompt tokens of one request in a step while there are others. Default 0: no limit."""
    long_prefill_token_threshold_adaptive: bool = False
    """Raise that limit to an even share of the batch's tokens. Default false."""
    prefill_schedule_interval: PositiveInt = 1
    """Steps from one with prefill to the next, as long as requests need not queue. Default 1."""
    max_num_active_seqs: PositiveInt | None = None
    """Most sequences that admission lets run. Default: `max_num_seqs`."""
    watermark: Fraction = 0.0
    """Fraction of the KV-cache blocks that an admission must leave free. Default 0."""
    scheduler_reserve_full_isl: bool = True
    """Admit a request only if its whole prompt fits the KV cache. Default true."""
    engine: Text = "vllm"
    """Engine whose calibration applies: ENGINE of an entry ENGINE-GPU in hardware_profiles/engines/. Default vllm."""
    reserved: Annotated[dict[Key, NumReplicas], WithoutNulls] = Field(default_factory=dict)
    """Replicas that a tier has to itself, under placement: partitioned: {tier: replicas}; the others share the rest.
    Replicas added or drained are of the rest first. Default: none."""
    gateway: Gateway | None = None
    """Where tiers queue for the pool. Default: nowhere, requests go to replicas at once and wait there."""
    regions: Annotated[dict[Key, NonNegativeInt], WithoutNulls] = Field(default_factory=dict)
    """Replicas in each of `fleet.regions`, where there are any; they sum to `replicas`. Those added later are in the
    last, and those drained too."""
    usd_per_gpu_hour: UsdPerHour | None = None
    """On-demand price [USD/h] of one GPU. Default: the scenario's price book."""
    contracts: tuple[Contract, ...] = ()
    """Contracts in the order in which replicas fill them; what runs beyond is on demand. Default: all on demand."""
    site: Text | None = None
    """Where it stands: a name in hardware_profiles/sites.yaml. Default: the scenario's `money.site`."""

    @property
    def num_gpus_per_replica(self) -> int:
        """GPUs that one replica occupies."""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size

    @property
    def schedules_ahead(self) -> bool:
        """Whether the next step is formed while one runs."""
        if self.async_scheduling is not None:
            return self.async_scheduling
        return self.batch_policy not in SYNCHRONOUS and not self.goes_singly

    @property
    def goes_singly(self) -> bool:
        """Whether steps have several stages, or draft tokens."""
        return self.pipeline_parallel_size > 1 or self.speculative_config is not None

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield vLLM's rules between fields that are broken."""
        budget, seqs, longest = self.max_num_batched_tokens, self.max_num_seqs, self.max_model_len
        if budget < seqs:
            yield "max_num_batched_tokens", f"must be >= max_num_seqs ({seqs}), got {budget}"
        if not self.enable_chunked_prefill and longest is not None and budget < longest:
            yield (
                "max_num_batched_tokens",
                f"must be >= max_model_len ({longest}) where enable_chunked_prefill is false, got {budget}",
            )
        if self.max_num_active_seqs is not None and self.max_num_active_seqs > seqs:
            yield "max_num_active_seqs", f"must be <= max_num_seqs ({seqs}), got {self.max_num_active_seqs}"
        yield from self._cache_problems()
        yield from self._policy_problems()
        yield from contract_problems(self.contracts)
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            yield "max_replicas", f"must be >= replicas ({self.replicas}), got {self.max_replicas}"

    def _policy_problems(self) -> Iterator[tuple[str, str]]:
        """Yield settings that the batch policy does not know."""
        if self.batch_policy in SYNCHRONOUS and self.async_scheduling:
            yield "async_scheduling", f"must be false where batch_policy is {self.batch_policy}: one step is in flight"
        why = f"pipeline_parallel_size is {self.pipeline_parallel_size}", "as many steps as stages are in flight anyway"
        if self.speculative_config is not None:
            why = "speculative_config is given", "how many tokens a step accepts must be known to form the next"
        if self.goes_singly and self.async_scheduling:
            yield "async_scheduling", f"must be false where {why[0]}: {why[1]}"
        if self.goes_singly and self.batch_policy != "vllm_v1":
            yield "batch_policy", f"must be vllm_v1 where {why[0]}, got {self.batch_policy}: no other is simulated so"
        for name in ONLY_VLLM_V1:
            default = type(self).model_fields[name].default
            if self.batch_policy != "vllm_v1" and getattr(self, name) != default:
                said = {None: "null", False: "false"}.get(default, default)
                yield name, f"must be {said} where batch_policy is {self.batch_policy}: only vllm_v1 knows it"

    def _cache_problems(self) -> Iterator[tuple[str, str]]:
        """Yield what does not go together with a cache that is contiguous or absent."""
        if self.kv_offload is not None and (self.kv_cache_layout == "contiguous" or not self.use_cache):
            why = "kv_cache_layout is contiguous or use_cache is false: it keeps blocks"
            yield "kv_offload", f"must be null where {why}"
        if self.kv_offload is not None and self.goes_singly:
            why = "there are pipeline stages or speculation: not simulated together"
            yield "kv_offload", f"must be null where {why}"
        if self.kv_cache_layout == "contiguous":
            if self.max_model_len is None:
                yield "max_model_len", "missing: a contiguous cache reserves so many tokens for each sequence"
            if self.enable_prefix_caching:
                yield "enable_prefix_caching", "must be false where kv_cache_layout is contiguous: nothing is shared"
            if not self.use_cache:
                yield "kv_cache_layout", "must be paged where use_cache is false: there is no cache to lay out"
        if not self.use_cache:
            for name in ("enable_prefix_caching", "enable_chunked_prefill"):
                if getattr(self, name):
                    yield name, "must be false where use_cache is false: nothing is kept from step to step"
            if self.speculative_config is not None:
                yield "speculative_config", "needs use_cache: true; the drafter works on the cache"


class Operation(Spec):
    """Something that operators do at a set time."""

    at_s: Seconds = Field(alias="at")
    """When [s after the start of the measured time], such as 10 h."""
    do: Literal["add", "drain", "outage", "fail_router"]
    """add: start replicas with empty caches. drain: send replicas no new work, stop them when they are empty. outage:
    the door is shut for a while, and every request that arrives fails at once; those inside go on. fail_router: a
    router is gone for a while, and all requests under way by it fail; while none is left the door is shut."""
    pool: Key | None = None
    """Pool it is done to, by add or drain."""
    replicas: NumReplicas | None = None
    """How many, of add or drain."""
    duration_s: PositiveSeconds | None = Field(default=None, alias="duration")
    """How long an outage lasts, or the failure of a router [s], such as 10 min."""
    router: NonNegativeInt | None = None
    """Number of the router that fails: 0 is the first."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield fields that are missing, and those of the other operations."""
        needs = {"outage": ("duration",), "fail_router": ("router", "duration")}.get(self.do, ("pool", "replicas"))
        given = {"pool": self.pool, "replicas": self.replicas, "duration": self.duration_s, "router": self.router}
        for name, value in given.items():
            if name in needs and value is None:
                yield name, f"missing; {self.do} needs it"
            elif name not in needs and value is not None:
                yield name, f"not used by {self.do} (it needs {', '.join(needs)}); remove it"


def _path_to_the_only_pool(fleet: dict[str, Any]) -> dict[str, tuple[Visit, ...]]:
    """Return the paths of a fleet that says none."""
    pools = fleet.get("pools", {})
    return {"default": (Visit(pool=next(iter(pools))),)} if len(pools) == 1 else {}


class Fleet(Spec):
    """Pools, the paths through them, and the rules of the house."""

    pools: Annotated[dict[Key, Pool], WithoutNulls, Field(min_length=1)]
    """Pools by name."""
    paths: Annotated[dict[Key, Annotated[tuple[Visit, ...], Field(min_length=1)]], WithoutNulls] = Field(
        default_factory=_path_to_the_only_pool
    )
    """Paths by name: the visits of a request in order, the last of which answers. Default, where there is one pool:
    a path named default that visits it."""
    router: Router = "least_outstanding"
    """How a replica is chosen. power_of_two: the less busy of two drawn at random. session_affinity: the one that had
    the conversation's last turn. prefix_affinity: one that the beginning of the prompt chooses by its hash, or that was
    sent it before (`routing.prefix_index`). least_kv: the one that uses least of its KV cache. Default
    least_outstanding: as vLLM's data-parallel balancer."""
    routing: Routing = Routing()
    """How many routers there are, and what each knows. Default: one, which knows all that it sent."""
    balance_abs_threshold: NonNegativeInt = 64
    """Affinity gives way to power_of_two where the replica's requests exceed the idlest's by more than this, and by the
    factor below. Default 64: as the SGLang and vLLM routers."""
    balance_rel_threshold: NonNegativeNumber = 1.5
    """The factor of that rule. Default 1.5: as the SGLang and vLLM routers."""
    prefix_token_count: PositiveInt = 256
    """Leading tokens of a prompt that choose its replica under prefix_affinity: no more than the prompts that belong
    together have in common, and more than all have. Default 256: as the SGLang router."""
    placement: Literal["shared", "partitioned"] = "shared"
    """How tiers and pools map to replicas. shared: every tier may use every replica of a pool. partitioned: tiers have
    the replicas to themselves that pools have `reserved` for them. Default shared."""
    regions: Annotated[dict[Key, FleetRegion], WithoutNulls] = Field(default_factory=dict)
    """Regions that the pools' replicas are in. Default: all is in one place, at no distance."""
    spill_at: PositiveNumber | None = None
    """Requests for each active replica at which a pool is full in a region; who comes then goes to the nearest region
    where it is not. Such as 1.1 x max_num_seqs. Default: never."""
    kv_transfer: KvTransfer = KvTransfer()
    """How the KV cache goes from a prefill visit to the decode visit after it."""
    operations: tuple[Operation, ...] = ()
    """What operators do during the run. Default: nothing."""
    faults: Faults | None = None
    """What goes wrong with replicas. Default: nothing."""
    deploys: tuple[Deploy, ...] = ()
    """New versions that are brought to the pools during the run. Default: none."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield names that do not exist, paths that do not answer, and operations that cannot be carried out."""
        if not self.paths:
            yield "paths", f"missing: say which pools a request visits, such as default: [{{pool: {min(self.pools)}}}]"
        for name, visits in self.paths.items():
            if len(visits) > MAX_VISITS:
                yield f"paths.{name}", f"has {len(visits)} visits; at most {MAX_VISITS} are allowed"
            for index, visit in enumerate(visits):
                at = f"paths.{name}.{index}"
                if visit.pool is not None and visit.pool not in self.pools:
                    yield f"{at}.pool", f"no pool of that name: {visit.pool}. {did_you_mean(visit.pool, self.pools)}"
        yield from order_problems(self.paths)
        answering = {name: before_check(visits) for name, visits in self.paths.items()}
        yield from path_problems(answering)
        yield from split_problems(self.pools, answering, self.kv_transfer)
        yield from fault_problems(self.pools, self.paths, self.faults, self.deploys)
        kinds = [visit.kind for visits in self.paths.values() for visit in visits]
        yield from region_problems(self.regions, self.pools, kinds, self.spill_at)
        if self.regions:
            yield from whereabouts_problems(self.paths, self.pools)
        yield from routing_problems(self.router, self.routing, self.placement, self.pools)
        num_replicas = sum(pool.max_replicas or self.peak_replicas(name) for name, pool in self.pools.items())
        yield from index_problems(self.router, self.pools, self.routing, num_replicas)
        yield from scaling_problems(self.pools, self.operations)
        for index, operation in enumerate(self.operations):
            if operation.pool is not None and operation.pool not in self.pools:
                help_ = did_you_mean(operation.pool, self.pools)
                yield f"operations.{index}.pool", f"no pool of that name: {operation.pool}. {help_}"
            if operation.router is not None and operation.router >= self.routing.num_routers:
                last = self.routing.num_routers - 1
                yield f"operations.{index}.router", f"no such router: {operation.router}; the last is {last}"
        for name, pool in self.pools.items():
            most = pool.max_replicas
            for index, count in self._counts(name):
                if count < 1:
                    yield f"operations.{index}", f"would leave no replica of pool {name}; keep at least 1"
                if most is not None and count > most:
                    yield f"operations.{index}", f"would make {count} replicas of pool {name}; max_replicas is {most}"
                if most is None and count > MAX_REPLICAS:
                    yield f"operations.{index}", f"would make {count} replicas of pool {name}; at most {MAX_REPLICAS}"

    def _counts(self, name: str) -> Iterator[tuple[int, int]]:
        """Yield (index, replicas of the pool after it) for each operation on it, in order of time."""
        count = self.pools[name].replicas
        for index, operation in sorted(enumerate(self.operations), key=lambda item: item[1].at_s):
            if operation.pool == name and operation.replicas is not None:
                count += operation.replicas if operation.do == "add" else -operation.replicas
                yield index, count

    def peak_replicas(self, name: str) -> int:
        """Return the most replicas that a pool has at any time by plan."""
        if is_scaled(self.pools[name]):
            return max(self.pools[name].replicas, most_on_line(self.pools[name]))
        return max([self.pools[name].replicas, *(count for _, count in self._counts(name))])
