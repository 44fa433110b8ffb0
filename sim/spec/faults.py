"""What goes wrong with the replicas: random faults, scripted incidents, and what becomes of requests in flight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from sim.spec.base import (
    Key,
    NonNegativeInt,
    NonNegativeNumber,
    PositiveFraction,
    PositiveInt,
    PositiveNumber,
    PositiveSeconds,
    Seconds,
    Spec,
)
from sim.spec.distribution import TimeDistribution

TRAINING_EVENTS = {"gpu": 268, "node": 46, "link": 42, "software": 63}
"""Unexpected interruptions in 54 days of training on 16,384 H100 (Llama Team, "The Llama 3 Herd of Models",
arXiv:2407.21783, Table 5; 419 in all). gpu: faulty GPU 148, HBM3 72, SRAM 19, system processor 17, silent data
corruption 6, thermal 6. node: host maintenance 32, SSD 3, power supply 3, chassis 2, IO board 2, CPU 2, memory 2. link:
switch or cable 35, NIC 7. software: bug 54, NCCL watchdog 7, dependency 2."""
GPU_YEARS = 16_384 * 54 / 365.25
TRAINING_RATES = {kind: events / GPU_YEARS for kind, events in TRAINING_EVENTS.items()}
"""Faults per year and GPU in that training run. A serving fleet's may differ: no public figure is known to us."""
REPAIR_MEAN_S = {"gpu": 7_200.0, "node": 7_200.0, "link": 7_200.0, "software": 600.0}
"""Assumed: two hours to take a node out, test or replace it; ten minutes to restart an engine and load its weights."""


OnFailure = Literal["retry", "resume", "fail"]
"""What becomes of requests in flight at a replica that fails, or is taken back."""


class FaultKind(Spec):
    """One kind of random fault."""

    per_gpu_year: NonNegativeNumber
    """Faults per year and GPU. Times between them are exponential."""
    repair: TimeDistribution
    """From a fault until the replica serves again [s], reload of its weights included."""


class Incident(Spec):
    """Something that goes wrong at a set time."""

    at_s: Seconds = Field(alias="at")
    """When [s after the start of the measured time], such as 10 h."""
    do: Literal["kill", "slow", "take_kv", "watch"]
    """kill: replicas fail, and come back after `duration`. slow: their steps take `factor` times as long meanwhile (a
    hot GPU). take_kv: something else takes `kv_frac` of their KV blocks meanwhile, as far as they are free. watch:
    nothing is done, only the time to recover from then on is told (of a surge of traffic)."""
    pool: Key | None = None
    """Pool it happens to. Default: all, for a zone; else it must be given."""
    replicas: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] | None = None
    """Replicas it happens to, by number. Default: all of the pool."""
    node: NonNegativeInt | None = None
    """Node whose replicas it happens to."""
    zone: NonNegativeInt | None = None
    """Zone whose replicas it happens to."""
    duration_s: PositiveSeconds | None = Field(default=None, alias="duration")
    """How long it lasts [s]; take_kv needs it, since requests may wait for its end. Default: to the end of the run."""
    factor: PositiveNumber = 2.0
    """slow: how many times as long steps take. Default 2 (assumed)."""
    kv_frac: PositiveFraction = 1.0
    """take_kv: part of the KV blocks. Default 1: all that are free."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield targets that contradict each other, and fields of other incidents."""
        given = [name for name in ("replicas", "node", "zone") if getattr(self, name) is not None]
        if len(given) > 1:
            yield given[1], f"given beside {given[0]}; say one of replicas, node and zone"
        if self.pool is None and self.zone is None:
            yield "pool", "missing; only an incident of a zone may go without"
        if self.do != "slow" and self.factor != type(self).model_fields["factor"].default:
            yield "factor", f"not used by {self.do}; remove it"
        if self.do != "take_kv" and self.kv_frac != 1.0:
            yield "kv_frac", f"not used by {self.do}; remove it"
        if self.do == "take_kv" and self.duration_s is None:
            yield "duration", "missing; take_kv needs it: requests may wait for its end"
        if self.do == "watch" and (given or self.duration_s is not None):
            yield given[0] if given else "duration", "not used by watch; remove it"


class Faults(Spec):
    """Faults of replicas. Not together with a second tier of KV cache or answers split over two pools."""

    on_failure: OnFailure = "retry"
    """Requests in flight at a replica that fails. retry: they begin anew at another. resume: another computes what they
    were given so far, and goes on. fail: they end as failed. Default retry."""
    zones: PositiveInt = 1
    """Zones over which each pool's nodes are dealt in turn. Default 1."""
    rates: Literal["none", "training"] = "none"
    """Random faults. training: as in a published training run on 16,384 H100 (0.173 per year and GPU, all causes).
    Default none."""
    rate_scale: NonNegativeNumber = 1.0
    """Factor on those rates. Default 1."""
    gpu: FaultKind | None = None
    """Faults of a GPU or its memory: the replica fails. Default: as `rates`, repaired in 2 h (assumed)."""
    node: FaultKind | None = None
    """Faults of a node: all its replicas fail. Default: as `rates`, repaired in 2 h (assumed)."""
    link: FaultKind | None = None
    """Faults of a NIC, cable or switch: the replica fails. Default: as `rates`, repaired in 2 h (assumed)."""
    software: FaultKind | None = None
    """Crashes of an engine: the replica fails. Default: as `rates`, repaired in 10 min (assumed)."""
    incidents: tuple[Incident, ...] = ()
    """What goes wrong at set times. Default: nothing."""
    recovery_window_s: PositiveSeconds = Field(default=60.0, alias="recovery_window")
    """Requests in a pool and arrivals are compared over windows of this length [s]. Default 60 (assumed)."""
    recovery_margin: NonNegativeNumber = 0.25
    """A pool has recovered when requests spend at most this part more time in it than before. Default 0.25
    (assumed)."""

    def kinds(self) -> dict[str, FaultKind]:
        """Return the kinds of random fault that happen, by name."""
        found = {}
        for name, rate in TRAINING_RATES.items():
            kind = getattr(self, name)
            if kind is None and self.rates == "training":
                repair = TimeDistribution(distribution_type="exponential", mean=REPAIR_MEAN_S[name])
                kind = FaultKind(per_gpu_year=rate * self.rate_scale, repair=repair)
            if kind is not None and kind.per_gpu_year > 0.0:
                found[name] = kind
        return found


class Deploy(Spec):
    """A new version of what a pool serves with, brought to its replicas a few at a time."""

    at_s: Seconds = Field(alias="at")
    """When it begins [s after the start of the measured time]."""
    pool: Key
    """Pool it is for."""
    step_time_factor: PositiveNumber = 1.0
    """Step times of the new version over those of the pool as it is described. Default 1; 2: a bad one."""
    at_once: PositiveInt = 1
    """Replicas that change at the same time: each is drained, restarted, and serves again. Default 1."""
    restart: TimeDistribution = TimeDistribution(distribution_type="constant", mean=120.0)
    """From empty to serving again, load of the weights included [s]. Default 2 min (assumed)."""
    canary_frac: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of the replicas that change first, rounded up, and are watched before the others follow. Default 0: none."""
    bake_s: PositiveSeconds = Field(default=600.0, alias="bake")
    """How long they are watched [s]. Default 10 min (assumed)."""
    max_slowdown: PositiveNumber = 1.2
    """They go back to the old version if their mean step is more than so many times that of the others, and the deploy
    is over. Default 1.2 (assumed)."""


def fault_problems(
    pools: Mapping[str, Any], paths: Mapping[str, Any], faults: Faults | None, deploys: Sequence[Deploy]
) -> Iterator[tuple[str, str]]:
    """Yield faults and deploys of pools that are not there, and pools of which no replica may fail."""
    places: list[tuple[str, str | None, tuple[int, ...] | None]] = [
        (f"deploys.{n}", deploy.pool, ()) for n, deploy in enumerate(deploys)
    ]
    if faults is not None:
        places += [(f"faults.incidents.{n}", one.pool, one.replicas) for n, one in enumerate(faults.incidents)]
        for n, incident in enumerate(faults.incidents):
            if incident.zone is not None and incident.zone >= faults.zones:
                yield f"faults.incidents.{n}.zone", f"must be < zones ({faults.zones}), got {incident.zone}"
    for at, name, replicas in places:
        if name is None:
            continue
        if name not in pools:
            yield f"{at}.pool", f"no pool of that name: {name}; there are {', '.join(pools)}"
        elif replicas and max(replicas) >= pools[name].replicas:
            yield f"{at}.replicas", f"must be < replicas of pool {name} ({pools[name].replicas}), got {max(replicas)}"
    taken_back = any(pool.spot is not None and pool.spot.interruptions_per_hour > 0.0 for pool in pools.values())
    if faults is not None or deploys or taken_back:
        what = "faults or deploys" if faults is not None or deploys else "spot capacity that is taken back"
        for name, pool in pools.items():
            if pool.kv_offload is not None:
                yield f"pools.{name}.kv_offload", f"must be null where the fleet has {what}: not simulated together"
        for name, visits in paths.items():
            if any(visit.kind == "decode" for visit in visits):
                yield f"paths.{name}", f"must answer in one pool where the fleet has {what}"
