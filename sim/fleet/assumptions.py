"""What a run assumes: its inputs one by one, each with where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sim import catalog, cost
from sim.spec import PopulationTraffic, Scenario
from sim.spec.base import Spec
from sim.spec.hardware import GpuSpec
from sim.spec.sourced import Sourced


def stated_inputs(scenario: Scenario) -> Iterator[dict[str, Any]]:
    """The traffic's and tiers' numbers, each with what its field says of where it comes from."""
    yield from fields_of(scenario.traffic, "traffic")
    for name, tier in scenario.tiers.items():
        yield from fields_of(tier, f"tiers.{name}")
    for name in scenario.fleet.pools:
        yield from fields_of(scenario.pool(name), f"fleet.pools.{name}")
    if any(visits[-1].kind == "decode" for visits in scenario.fleet.paths.values()):
        yield from fields_of(scenario.fleet.kv_transfer, "fleet.kv_transfer")
    if isinstance(scenario.traffic, PopulationTraffic):
        workloads = {*scenario.traffic.workloads, *(part.workload for part in scenario.traffic.programs.values())}
        for name in sorted(workloads):
            workload = catalog.load_workload(name)
            for field in type(workload).model_fields:
                if (why := getattr(workload, f"{field}_justification", None)) is not None:
                    yield {"name": f"workloads.{name}.{field}", "value": plain(getattr(workload, field)), "source": why}


def fields_of(spec: Spec, prefix: str) -> Iterator[dict[str, Any]]:
    """The numbers of a spec, with its fields' descriptions; nested specs one by one."""
    for name, info in type(spec).model_fields.items():
        value = getattr(spec, name)
        inner = _named(value)
        if isinstance(value, Spec) and not hasattr(value, "distribution_type"):
            yield from fields_of(value, f"{prefix}.{name}")
        elif inner and all(isinstance(part, Spec) for part in inner.values()):
            for part_name, part in inner.items():
                yield from fields_of(part, f"{prefix}.{name}.{part_name}")
        elif value is not None and name != "kind":
            yield {"name": f"{prefix}.{name}", "value": plain(value), "source": info.description or ""}


def _named(value: Any) -> dict[str, Any]:
    """The parts of a mapping or list by name or position; nothing of any other value."""
    if isinstance(value, tuple):
        return {str(index): part for index, part in enumerate(value)}
    return dict(value) if isinstance(value, Mapping) else {}


def plain(value: Any) -> Any:
    """A value as it may stand in a table."""
    if isinstance(value, Mapping | tuple):
        return ", ".join(f"{key} {item}" for key, item in _named(value).items())
    if isinstance(value, Spec):
        given = {name: getattr(value, name) for name in type(value).model_fields}
        inner = {name: f"({plain(item)})" if isinstance(item, Spec) else plain(item) for name, item in given.items()}
        return ", ".join(f"{name} {item}" for name, item in inner.items() if given[name] is not None)
    return value


def pool_inputs(profiles: Mapping[str, cost.Profile], gpus: Mapping[str, GpuSpec]) -> Iterator[dict[str, Any]]:
    """Datasheet numbers of the GPUs and calibrations of the pools, with their sources."""
    for gpu in {gpu.name: gpu for gpu in gpus.values()}.values():
        for quantity in type(gpu).model_fields:
            value = getattr(gpu, quantity)
            if isinstance(value, Sourced):
                source = f"{value.kind}: {value.source}"
                yield {"name": f"{gpu.name}.{quantity}", "value": float(value), "source": source}
    for name, profile in profiles.items():
        calibration = profile.calibration
        for metric, error in calibration.errors.items():
            yield {
                "name": f"{name}: error of {metric}, {calibration.engine} {calibration.version} on {calibration.gpu}",
                "value": f"median {error.median_frac:.1%}, 90 % of points within {error.p90_frac:.1%}",
                "source": f"{calibration.status}: {calibration.source}",
            }
        for note in calibration.notes:
            yield {"name": f"{name}: calibration", "value": calibration.status, "source": note}
