"""From a scenario to all that its run needs: compiled profiles, the plane's World, traffic, names for metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sim import catalog, cost, traffic
from sim.errors import CapacityError, Problem, SpecError
from sim.fleet.assumptions import pool_inputs, stated_inputs
from sim.fleet.companions import has_companions
from sim.fleet.host_tiers import host_tier, host_tier_problems
from sim.fleet.mishaps import may_fail, with_versions
from sim.fleet.money import contracts_of, money_facts, money_inputs, pool_price, price_of, safety_features, site_of
from sim.fleet.promises import gateway_of, told
from sim.fleet.regions import regions_of
from sim.fleet.routers import routing_of
from sim.fleet.scaling.starts import start_inputs
from sim.fleet.split import split_problems
from sim.fleet.visits import make_paths, visit_inputs
from sim.metrics.groups import ClassFacts, Groups, PoolFacts, TierFacts
from sim.plane.building_work import has_work
from sim.plane.world import Pool, World
from sim.spec import PopulationTraffic, Scenario, Tier
from sim.spec.companions import before_check
from sim.spec.fleet import Pool as PoolSpec
from sim.spec.hardware import GpuSpec
from sim.spec.sourced import Sourced
from sim.traffic.arrivals import TrafficClass
from sim.traffic.replay import Replay
from sim.traffic.synthetic import OpenLoop


@dataclass(frozen=True)
class Built:
    """A scenario, ready to run."""

    scenario: Scenario
    world: World
    source: traffic.Source
    profiles: Mapping[str, cost.Profile]
    """Profile of each pool."""
    groups: Groups
    assumptions: list[dict[str, Any]]
    """Inputs with their sources: name, value, unit, source."""

    @property
    def calibration(self) -> dict[str, Any]:
        """Engine calibration of each pool, fit for JSON."""
        return {name: profile.calibration.to_dict() for name, profile in self.profiles.items()}


@dataclass(frozen=True)
class Pools:
    """What the pools of a scenario are made of, by name."""

    profiles: dict[str, cost.Profile] = field(default_factory=dict)
    gpus: dict[str, GpuSpec] = field(default_factory=dict)
    prices: dict[str, Sourced] = field(default_factory=dict)
    """USD per GPU-hour."""


def build(scenario: Scenario, pools: Pools | None = None) -> Built:
    """Compile a scenario, or take its pools as they were compiled already.

    Raises
    ------
    SpecError
        Everything that is wrong with the pools, at once; or with the traffic.
    CapacityError
        A model that does not fit.
    """
    pools = pools or compile_pools(scenario)
    profiles, prices = pools.profiles, pools.prices
    SpecError.raise_if(split_problems(scenario, profiles))
    source = traffic.build(with_context_limits(scenario, profiles))
    world = make_world(scenario, source, pools)
    return Built(
        scenario=scenario,
        world=world,
        source=source,
        profiles=profiles,
        groups=make_groups(scenario, source, profiles, prices, world),
        assumptions=[
            *stated_inputs(scenario),
            *visit_inputs(scenario),
            *pool_inputs(profiles, pools.gpus),
            *money_inputs(scenario, prices),
            *start_inputs(scenario, profiles),
        ],
    )


def compile_pools(scenario: Scenario) -> Pools:
    """Compile the pools of a scenario; raises as `build` does."""
    problems: list[Problem] = []
    others: list[CapacityError] = []
    pools = Pools()
    for name in scenario.fleet.pools:
        try:
            gpu = pools.gpus[name] = catalog.load_gpu(str(scenario.pool(name).hardware))
            pool = scenario.pool(name)
            pools.profiles[name] = cost.compile_pool(pool, catalog.load_model(str(pool.model)), gpu)
            pools.prices[name] = pool_price(scenario, name)
            SpecError.raise_if([*block_problems(pool), *host_tier_problems(pool, pools.profiles[name])])
        except SpecError as error:
            problems += [
                Problem(p.message, p.file, p.line, f"fleet.pools.{name}" + (f".{p.path}" if p.path else ""))
                for p in error.problems
            ]
        except CapacityError as error:
            others.append(error)
    unfit = [problem for error in others for problem in error.problems]
    if unfit and not problems:
        raise CapacityError(*unfit)
    SpecError.raise_if([*problems, *unfit])
    return pools


def block_problems(pool: PoolSpec) -> Iterator[Problem]:
    """Yield what is wrong with the number of KV-cache blocks."""
    if pool.num_gpu_blocks_override == 1:
        message = "must be >= 2, got 1: the first block is vLLM's null block, which holds no request"
        yield Problem(message, path="num_gpu_blocks_override")


def with_context_limits(scenario: Scenario, profiles: Mapping[str, cost.Profile]) -> Scenario:
    """A scenario whose tiers all limit the context, by default to what the answering pool takes.

    So old turns are dropped from a long conversation; a single request that is too long is refused all the same.
    """
    tiers = {
        name: tier
        if tier.max_context_tokens
        else tier.model_copy(update={"max_context_tokens": answered_tokens(scenario, tier, profiles)})
        for name, tier in scenario.tiers.items()
    }
    return scenario.model_copy(update={"tiers": tiers})


def answered_tokens(scenario: Scenario, tier: Tier, profiles: Mapping[str, cost.Profile]) -> int:
    """Longest prompt plus answer that the answering pools of a tier take [tokens]."""
    paths = [tier.path]
    if tier.user_limit is not None and tier.user_limit.fall_back is not None:
        paths.append(tier.user_limit.fall_back)
    visits = [visit for path in paths for visit in scenario.fleet.paths[path]]
    return min(profiles[str(visit.pool)].max_model_len for visit in visits if visit.kind not in ("classify", "delay"))


def make_world(
    scenario: Scenario,
    source: traffic.Source,
    compiled: Pools,
) -> World:
    """The plane's input."""
    pools = []
    for name, profile in compiled.profiles.items():
        pool = scenario.pool(name)
        pools.append(
            Pool(
                name=name,
                step_times=profile.speculation.step_times if profile.speculation else profile.step_times,
                num_replicas=pool.replicas,
                num_gpu_blocks=pool.num_gpu_blocks_override or profile.num_gpu_blocks,
                max_replicas=pool.max_replicas or pool.replicas,
                max_num_seqs=profile.max_num_seqs,
                max_num_batched_tokens=profile.max_num_batched_tokens,
                block_size=profile.block_size,
                max_model_len=profile.max_model_len,
                watermark=pool.watermark,
                scheduler_reserve_full_isl=pool.scheduler_reserve_full_isl,
                enable_chunked_prefill=pool.enable_chunked_prefill,
                enable_prefix_caching=pool.enable_prefix_caching,
                scheduling_policy=pool.scheduling_policy,
                batch_policy=pool.batch_policy,
                async_scheduling=pool.schedules_ahead,
                **speculation_and_stages(profile),
                long_prefill_token_threshold=pool.long_prefill_token_threshold,
                long_prefill_token_threshold_adaptive=pool.long_prefill_token_threshold_adaptive,
                prefill_schedule_interval=pool.prefill_schedule_interval,
                max_num_active_seqs=pool.max_num_active_seqs or 0,
                usd_per_replica_s=float(compiled.prices[name]) * profile.num_gpus / 3600.0,
                frontend_s=profile.frontend_s,
                kv_bytes_per_token=profile.kv_bytes_per_token,
                gateway=gateway_of(pool, profile),
                kv_offload=host_tier(pool, profile, compiled.gpus[name]),
                reserved=pool.reserved,
                regions=pool.regions,
                router=pool.router or "",
            )
        )
    paths, checks = make_paths(scenario, source.languages, compiled.profiles, compiled.gpus)
    return World(
        pools=[with_versions(pool, scenario) for pool in pools],
        paths=paths,
        checks=checks,
        classes=source.classes,
        **told_of_requests(scenario, source),
        router=scenario.fleet.router,
        balance_abs_threshold=scenario.fleet.balance_abs_threshold,
        balance_rel_threshold=scenario.fleet.balance_rel_threshold,
        prefix_token_count=scenario.fleet.prefix_token_count,
        routing=routing_of(scenario.fleet.routing),
        regions=regions_of(scenario),
        itl_groups=rows_by_tier(source.classes),
        seed=scenario.seed,
        start_s=0.0 - scenario.run_in_s,
        horizon_s=scenario.horizon_s,
        has_faults=may_fail(scenario),
        has_segments=isinstance(source, Replay) or (isinstance(source, OpenLoop) and source.num_prompts is not None),
    )


def told_of_requests(scenario: Scenario, source: traffic.Source) -> dict[str, Any]:
    """What the plane is told of tiers' promises, and of what it must keep of requests besides."""
    known = told(scenario, source)
    return known | {"has_extras": known["has_extras"] or has_companions(scenario)}


def rows_by_tier(classes: Sequence[TrafficClass]) -> list[int]:
    """Histogram row of each class: one for each tier that has any, since gaps are told by tier."""
    tiers = list(dict.fromkeys(kind.tier for kind in classes))
    return [tiers.index(kind.tier) for kind in classes]


def speculation_and_stages(profile: cost.Profile) -> dict[str, Any]:
    """What a pool of the World is told where steps draft tokens, or pass through several stages."""
    stages, speculation = profile.pipeline_parallel_size, profile.speculation
    told: dict[str, Any] = {}
    if stages > 1:
        told |= {"pipeline_parallel_size": stages, "stage_times": profile.stage_times}
    if speculation is not None:
        told["accept_frac"] = tuple(speculation.accept_frac.tolist())
        told["num_lookahead_tokens"] = speculation.num_lookahead_tokens
    return told


def make_groups(
    scenario: Scenario,
    source: traffic.Source,
    profiles: Mapping[str, cost.Profile],
    prices: Mapping[str, Sourced],
    world: World,
) -> Groups:
    """The names and limits behind the codes in records."""
    people = {kind.tier for kind in source.classes if not kind.is_program}
    users = scenario.traffic.monthly_users if isinstance(scenario.traffic, PopulationTraffic) else 0
    return Groups(
        classes=tuple(
            ClassFacts(kind.name, kind.tier, kind.is_program, row, kind.length_factor)
            for kind, row in zip(source.classes, rows_by_tier(source.classes), strict=True)
        ),
        tiers=tuple(
            TierFacts(
                name, scenario.slo_of(name), users * tier.user_frac if name in people else None, price_of(tier.price)
            )
            for name, tier in scenario.tiers.items()
        ),
        languages=source.languages,
        pools=tuple(
            PoolFacts(
                name,
                profile.model,
                profile.hardware,
                profile.num_gpus,
                float(prices[name]),
                contracts_of(scenario, name),
                site_of(scenario, name),
                profile.num_active_parameters,
            )
            for name, profile in profiles.items()
        ),
        has_flags=world.has_extras or has_work(world),
        safety=safety_features(scenario),
        **money_facts(scenario, world.accounts),
        has_transfers=any(before_check(visits)[-1].kind == "decode" for visits in scenario.fleet.paths.values()),
    )
