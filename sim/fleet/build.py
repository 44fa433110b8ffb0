"""From a scenario to all that its run needs: compiled profiles, the plane's World, traffic, names for metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sim import catalog, cost, traffic
from sim.errors import Problem, SpecError, TokenfleetError
from sim.metrics.groups import ClassFacts, Groups, PoolFacts, TierFacts
from sim.plane.world import Bucket, Pool, Visit, World
from sim.spec import PopulationTraffic, Scenario
from sim.spec.base import Spec
from sim.spec.fleet import Pool as PoolSpec
from sim.spec.hardware import GpuSpec, Sourced

LANGUAGES = ("all",)
"""Languages of the traffic; so far it is not told apart."""


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
        return {
            name: {
                "engine": profile.calibration.engine,
                "version": profile.calibration.version,
                "gpu": profile.calibration.gpu,
                "status": profile.calibration.status,
                "errors": {
                    metric: {"median_frac": error.median_frac, "p90_frac": error.p90_frac}
                    for metric, error in profile.calibration.errors.items()
                },
                "source": profile.calibration.source,
                "notes": list(profile.calibration.notes),
            }
            for name, profile in self.profiles.items()
        }


def build(scenario: Scenario) -> Built:
    """Compile a scenario.

    Raises
    ------
    SpecError
        Everything that is wrong with the pools, at once; or with the traffic.
    CapacityError
        A model that does not fit.
    """
    problems: list[Problem] = []
    profiles: dict[str, cost.Profile] = {}
    gpus: dict[str, GpuSpec] = {}
    prices: dict[str, Sourced] = {}
    others: list[TokenfleetError] = []
    for name in scenario.fleet.pools:
        try:
            gpus[name] = catalog.load_gpu(str(scenario.pool(name).hardware))
            profiles[name] = compile_pool(scenario, name, gpus[name])
            prices[name] = gpu_price(scenario, name, gpus[name])
            SpecError.raise_if(block_problems(scenario.pool(name)))
        except SpecError as error:
            problems += [
                Problem(p.message, p.file, p.line, f"fleet.pools.{name}" + (f".{p.path}" if p.path else ""))
                for p in error.problems
            ]
        except TokenfleetError as error:
            others.append(error)
    SpecError.raise_if(problems)
    if others:
        raise others[0]
    source = traffic.build(with_context_limits(scenario, profiles))
    return Built(
        scenario=scenario,
        world=make_world(scenario, source, profiles, prices),
        source=source,
        profiles=profiles,
        groups=make_groups(scenario, source, profiles, prices),
        assumptions=[*stated_inputs(scenario), *pool_inputs(profiles, gpus, prices)],
    )


def compile_pool(scenario: Scenario, name: str, gpu: GpuSpec) -> cost.Profile:
    """The profile of a pool's replicas."""
    pool = scenario.pool(name)
    return cost.compile(
        catalog.load_model(str(pool.model)),
        gpu,
        tensor_parallel_size=pool.tensor_parallel_size,
        pipeline_parallel_size=pool.pipeline_parallel_size,
        expert_parallel_size=pool.expert_parallel_size,
        weights=pool.weights,
        activations=pool.activations,
        kv=pool.kv_cache_dtype,
        max_model_len=pool.max_model_len,
        max_num_seqs=pool.max_num_seqs,
        max_num_batched_tokens=pool.max_num_batched_tokens,
        block_size=pool.block_size,
        gpu_memory_utilization=pool.gpu_memory_utilization,
        engine=pool.engine,
    )


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
        else tier.model_copy(
            update={"max_context_tokens": profiles[scenario.fleet.paths[tier.path][-1].pool].max_model_len}
        )
        for name, tier in scenario.tiers.items()
    }
    return scenario.model_copy(update={"tiers": tiers})


def gpu_price(scenario: Scenario, name: str, gpu: GpuSpec) -> Sourced:
    """What an hour of one of a pool's GPUs costs [USD]."""
    given = scenario.pool(name).usd_per_gpu_hour
    if given is not None:
        return Sourced(given, f"fleet.pools.{name}.usd_per_gpu_hour of the scenario", "assumed")
    return catalog.load_prices(scenario.prices).price(gpu.name)


def make_world(
    scenario: Scenario,
    source: traffic.Source,
    profiles: Mapping[str, cost.Profile],
    prices: Mapping[str, Sourced],
) -> World:
    """The plane's input."""
    names = list(profiles)
    pools = []
    for name, profile in profiles.items():
        pool = scenario.pool(name)
        pools.append(
            Pool(
                name=name,
                step_times=profile.step_times,
                num_replicas=pool.replicas,
                num_gpu_blocks=pool.num_gpu_blocks_override or profile.num_gpu_blocks,
                max_replicas=pool.max_replicas or pool.replicas,
                max_num_seqs=pool.max_num_seqs,
                max_num_batched_tokens=pool.max_num_batched_tokens,
                block_size=pool.block_size,
                max_model_len=profile.max_model_len,
                watermark=pool.watermark,
                scheduler_reserve_full_isl=pool.scheduler_reserve_full_isl,
                enable_chunked_prefill=pool.enable_chunked_prefill,
                enable_prefix_caching=pool.enable_prefix_caching,
                scheduling_policy=pool.scheduling_policy,
                usd_per_replica_s=float(prices[name]) * profile.num_gpus / 3600.0,
                frontend_s=profile.frontend_s,
            )
        )
    paths = {
        name: tuple(
            Visit(names.index(visit.pool), visit.kind, visit.prompt, visit.template_tokens, visit.block_frac)
            for visit in visits
        )
        for name, visits in scenario.fleet.paths.items()
    }
    return World(
        pools=pools,
        paths=paths,
        classes=source.classes,
        buckets=[Bucket(float(row["rate_per_s"]), float(row["capacity"])) for row in source.buckets],
        router=scenario.fleet.router,
        seed=scenario.seed,
        start_s=0.0 - scenario.run_in_s,
        horizon_s=scenario.horizon_s,
    )


def make_groups(
    scenario: Scenario,
    source: traffic.Source,
    profiles: Mapping[str, cost.Profile],
    prices: Mapping[str, Sourced],
) -> Groups:
    """The names and limits behind the codes in records."""
    people = {kind.tier for kind in source.classes if not kind.is_program}
    users = scenario.traffic.monthly_users if isinstance(scenario.traffic, PopulationTraffic) else 0
    return Groups(
        classes=tuple(ClassFacts(kind.name, kind.tier, kind.is_program) for kind in source.classes),
        tiers=tuple(
            TierFacts(name, scenario.slo_of(name), users * tier.user_frac if name in people else None)
            for name, tier in scenario.tiers.items()
        ),
        languages=LANGUAGES,
        pools=tuple(
            PoolFacts(name, profile.model, profile.hardware, profile.num_gpus, float(prices[name]))
            for name, profile in profiles.items()
        ),
    )


# ------------------------------------------------------------------ what the run assumes


def stated_inputs(scenario: Scenario) -> Iterator[dict[str, Any]]:
    """The traffic's and tiers' numbers, each with what its field says of where it comes from."""
    yield from fields_of(scenario.traffic, "traffic")
    for name, tier in scenario.tiers.items():
        yield from fields_of(tier, f"tiers.{name}")
    for name in scenario.fleet.pools:
        yield from fields_of(scenario.pool(name), f"fleet.pools.{name}")
    if isinstance(scenario.traffic, PopulationTraffic):
        workloads = {scenario.traffic.workload}
        workloads |= {part.workload for part in (scenario.traffic.api, scenario.traffic.agents) if part is not None}
        for name in sorted(workloads):
            workload = catalog.load_workload(name)
            for field in type(workload).model_fields:
                if (why := getattr(workload, f"{field}_justification", None)) is not None:
                    yield {"name": f"workloads.{name}.{field}", "value": plain(getattr(workload, field)), "source": why}


def fields_of(spec: Spec, prefix: str) -> Iterator[dict[str, Any]]:
    """The numbers of a spec, with its fields' descriptions; nested specs one by one."""
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        if isinstance(value, Spec) and not hasattr(value, "distribution_type"):
            yield from fields_of(value, f"{prefix}.{name}")
        elif value is not None and name != "kind":
            yield {"name": f"{prefix}.{name}", "value": plain(value), "source": field.description or ""}


def plain(value: Any) -> Any:
    """A value as it may stand in a table."""
    if isinstance(value, Spec):
        given = value.model_dump(exclude_none=True)
        return ", ".join(f"{key} {item}" for key, item in given.items())
    return value


def pool_inputs(
    profiles: Mapping[str, cost.Profile], gpus: Mapping[str, GpuSpec], prices: Mapping[str, Sourced]
) -> Iterator[dict[str, Any]]:
    """Prices, datasheet numbers and calibrations of the pools, with their sources."""
    for name, profile in profiles.items():
        price = prices[name]
        yield {
            "name": f"{name}: price of {profile.hardware}", "value": float(price), "unit": "USD/GPU-h",
            "source": f"{price.kind}: {price.source}",
        }  # fmt: skip
        for field in type(gpus[name]).model_fields:
            value = getattr(gpus[name], field)
            if isinstance(value, Sourced):
                yield {
                    "name": f"{profile.hardware}.{field}",
                    "value": float(value),
                    "source": f"{value.kind}: {value.source}",
                }
        calibration = profile.calibration
        for metric, error in calibration.errors.items():
            yield {
                "name": f"{name}: error of {metric}, {calibration.engine} {calibration.version} on {calibration.gpu}",
                "value": f"median {error.median_frac:.1%}, 90 % of points within {error.p90_frac:.1%}",
                "source": f"{calibration.status}: {calibration.source}",
            }
        for note in calibration.notes:
            yield {"name": f"{name}: calibration", "value": calibration.status, "source": note}
