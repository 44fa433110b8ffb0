"""Routing: how many routers there are, what each knows, and which replicas tiers have to themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from sim.errors import did_you_mean
from sim.spec.base import Fraction, PositiveInt, Seconds, Spec

if TYPE_CHECKING:
    from sim.spec.fleet import Pool
    from sim.spec.visit import Visit

Router = Literal["round_robin", "least_outstanding", "power_of_two", "session_affinity", "prefix_affinity", "least_kv"]
MAX_ROUTERS = 1_000
MAX_INDEX_BLOCKS = 1 << 24
MAX_INDEX_ENTRIES = 1 << 28
"""Entries of the indices of all routers together: at 32 bytes each, 8 GiB."""


class Routing(Spec):
    """What routers go by. Each knows what it sent and what came back, and nothing of what the others sent.

    docs/routing.md has the rules.
    """

    num_routers: Annotated[PositiveInt, Field(le=MAX_ROUTERS)] = 1
    """Routers side by side. Default 1."""
    spread: Literal["request", "conversation"] = "request"
    """What comes by one router, drawn by its hash: each request by itself, or all of a conversation. Default request:
    a balancer before them that knows nothing of conversations."""
    state_interval_s: Seconds = Field(default=0.05, alias="state_interval")
    """Age at which a router reads the engines' gauges (KV use) again [s]; between, it goes by what it read. Default
    50 ms: --refresh-metrics-interval of the Gateway API inference extension."""
    gauges: Literal["corrected", "as_read"] = "corrected"
    """corrected: least_kv adds the prompts that the router itself sent since it read them. as_read: it does not, so
    that all go to one replica until they are read again. Default corrected."""
    prefix_index: Literal["hash", "routed"] = "hash"
    """What prefix_affinity goes by. hash: the prompt's leading `prefix_token_count` tokens choose a replica. routed:
    the router remembers what it sent where, and takes the replica with most of the prompt's beginning. Default hash."""
    prefix_index_blocks: Annotated[PositiveInt, Field(le=MAX_INDEX_BLOCKS)] = 31_250
    """How much a router remembers of each replica [blocks of 16 tokens]; what was used last stays. Default 31250: the
    Gateway API inference extension's lruCapacityPerServer (500,000 tokens)."""
    min_match_frac: Fraction = 0.3
    """Share of a prompt that a replica must have been sent before, to be chosen for that; else the visit goes to the
    better of two. Default 0.3: the SGLang router's cache_threshold."""


def rules_of(router: str, pools: Mapping[str, Pool]) -> set[str]:
    """The rules by which replicas are chosen."""
    return {pool.router or router for pool in pools.values()}


def routing_problems(
    router: str, routing: Routing, placement: str, pools: Mapping[str, Pool]
) -> Iterator[tuple[str, str]]:
    """Yield settings of routers that nothing reads, and replicas that cannot be reserved."""
    default = Routing()
    rules = rules_of(router, pools)
    readers: dict[str, tuple[bool, str]] = {
        "state_interval_s": ("least_kv" in rules, "router: least_kv"),
        "gauges": ("least_kv" in rules, "router: least_kv"),
        "prefix_index": ("prefix_affinity" in rules, "router: prefix_affinity"),
        "prefix_index_blocks": (routing.prefix_index == "routed", "prefix_index: routed"),
        "min_match_frac": (routing.prefix_index == "routed", "prefix_index: routed"),
        "spread": (routing.num_routers > 1, "several routers"),
    }
    for name, (is_read, reader) in readers.items():
        if getattr(routing, name) != getattr(default, name) and not is_read:
            yield f"routing.{name.removesuffix('_s')}", f"only read with {reader}; remove it"
    for name, pool in pools.items():
        if pool.reserved and placement != "partitioned":
            yield f"pools.{name}.reserved", "only read with placement: partitioned"
        if (total := sum(pool.reserved.values())) > pool.replicas:
            yield f"pools.{name}.reserved", f"{total} replicas are reserved, and the pool has {pool.replicas}"
    if placement == "partitioned" and not any(pool.reserved for pool in pools.values()):
        yield "placement", "partitioned, and no pool has replicas `reserved` for a tier"


def index_problems(
    router: str, pools: Mapping[str, Pool], routing: Routing, num_replicas: int
) -> Iterator[tuple[str, str]]:
    """Yield indices that no memory holds, of routers before so many replicas in all."""
    if "prefix_affinity" not in rules_of(router, pools) or routing.prefix_index != "routed":
        return
    each = routing.num_routers * num_replicas
    if each * routing.prefix_index_blocks > MAX_INDEX_ENTRIES:
        where = f"{routing.num_routers} routers with {num_replicas} replicas"
        most = f"at most {MAX_INDEX_ENTRIES // each}" if each <= MAX_INDEX_ENTRIES else "fewer of those"
        yield "routing.prefix_index_blocks", f"too many for {where}: give {most}, got {routing.prefix_index_blocks}"


def reserved_problems(
    pools: Mapping[str, Pool], paths: Mapping[str, Sequence[Visit]], tiers: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield replicas reserved for nobody, and tiers for which a pool has none left."""
    for name, pool in pools.items():
        for tier in pool.reserved:
            if tier not in tiers:
                yield f"fleet.pools.{name}.reserved", f"no tier of that name: {tier}. {did_you_mean(tier, tiers)}"
        if pool.reserved and sum(pool.reserved.values()) == pool.replicas:
            for tier_name, tier in tiers.items():
                visits = paths.get(tier.path, ())
                if tier_name not in pool.reserved and any(visit.pool == name for visit in visits):
                    why = f"all {pool.replicas} replicas are reserved for others, and tier {tier_name} comes here too"
                    yield f"fleet.pools.{name}.reserved", why
