"""How a replica comes: time until its GPUs are there and its model is loaded, spares kept ready, spot capacity."""

from __future__ import annotations

from collections.abc import Iterator

from sim.spec.base import Fraction, NonNegativeNumber, PositiveInt, Seconds, Spec
from sim.spec.distribution import TimeDistribution
from sim.spec.faults import OnFailure


class Startup(Spec):
    """From the order for a replica to its first request; paid from the order on, as clouds bill booting machines."""

    provisioning: TimeDistribution = TimeDistribution(distribution_type="lognormal", mean=120, standard_deviation=30)
    """Time until the GPUs are there: machine, drivers, image [s]. Default: mean 120 s, deviation 30 s, *assumed*, as
    BLIS does (github.com/inference-sim); published accounts of GPU nodes go from 1 to 10 minutes."""
    load: TimeDistribution | None = None
    """Time from then until the engine serves: weights read, kernels ready [s]. Default: what the size of the weights
    and the engine say by hardware_profiles/model_load.yaml, fitted to 280 published loads."""


class WarmPool(Spec):
    """Replicas that are loaded and paid but take no requests, ready to serve at once."""

    replicas: PositiveInt
    """How many are kept. One that is put to work is replaced by a new one."""
    wake: TimeDistribution = TimeDistribution(distribution_type="uniform", min=0.3, max=2.6)
    """Time until one takes requests [s]. Default: 0.3 to 2.6 s, what vLLM takes to wake from sleep mode level 1,
    weights in host memory (vLLM blog, 2025-10-26)."""


class Spot(Spec):
    """Capacity that the cloud may take back."""

    on_demand_base: PositiveInt = 1
    """Replicas of the pool that are not spot: those with the lowest numbers. Default 1."""
    interruptions_per_hour: NonNegativeNumber = 0.1
    """How often one spot replica is taken back, per hour that it has its GPUs. Default 0.1, *assumed*: lives of spot
    GPUs go from minutes to days (github.com/skypilot-org/spot-traces)."""
    together_frac: Fraction = 0.0
    """Share of the spot replicas that one interruption takes, each with this probability; the rate of each stays as it
    is. Default 0: each goes by itself, which clouds' interruptions of one type in one zone do not."""
    notice_s: Seconds = 120.0
    """Time from the notice to the end [s]; the replica takes no new requests in it. Default 120 s: AWS EC2's. Google
    Cloud and Azure give 30 s."""
    on_failure: OnFailure = "retry"
    """Requests that are still at the replica at the end of the notice. retry: they begin anew at another. resume:
    another computes what they were given so far, and goes on. fail: they end as failed. Default retry."""
    wait: TimeDistribution = TimeDistribution(distribution_type="constant", mean=0)
    """Time until an order for spot capacity is accepted, before its provisioning [s]; nothing is paid in it. Default
    0."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield interruptions together where there are none."""
        if self.together_frac > 0.0 and self.interruptions_per_hour == 0.0:
            yield "together_frac", "needs interruptions_per_hour above 0, got 0: nobody is interrupted; remove it"
