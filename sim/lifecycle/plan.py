"""A plan: a lifecycle with everything it names, and the numbers that all stages share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from sim import catalog
from sim.errors import Problem, SpecError, did_you_mean
from sim.lifecycle.architecture import shape
from sim.lifecycle.scaling import LAWS, LossLaw
from sim.lifecycle.shapes import Parameters, parameters
from sim.spec.hardware import GpuSpec
from sim.spec.lifecycle import Lifecycle
from sim.spec.model import ModelSpec
from sim.spec.ranged import Ranged, assumed, given
from sim.spec.sites import Site

HOUR_S: Final = 3600.0
MFU: Final[Mapping[str, Ranged]] = {
    "a100": given(
        0.40,
        "one value for the published GPU-hours of Llama 2 7B, 13B and 70B (model card), to 8 %: docs/lifecycle.md",
        "published",
        0.375,
        0.43,
    ),
    "h100": given(
        0.31,
        "one value for the published GPU-hours of Llama 3 70B, 3.1 405B and DeepSeek-V3, to 12 %: docs/lifecycle.md",
        "published",
        0.28,
        0.35,
    ),
    "h200": assumed(0.31, 0.28, 0.35, why="as the H100, the same die"),
}
"""Model FLOPs utilisation over all GPU-hours of a run, restarts included, of the peak in bf16, by family of GPU."""


@dataclass(frozen=True)
class Rented:
    """GPUs at work: what they do in an hour, and what it costs."""

    gpu: GpuSpec
    mfu: Ranged
    usd_per_gpu_hour: Ranged

    @property
    def peak_flops_per_s(self) -> float:
        """Peak of a GPU in bf16 [FLOP/s]."""
        return float(self.gpu.bf16_flops_per_s)

    def hours(self, flops: float, mfu: float) -> float:
        """Return the GPU-hours that a computation takes at a utilisation: C / (3600 peak MFU)."""
        return flops / (HOUR_S * self.peak_flops_per_s * mfu)

    def flops(self, hours: float, mfu: float) -> float:
        """Return the compute of so many GPU-hours at a utilisation [FLOP]."""
        return hours * HOUR_S * self.peak_flops_per_s * mfu


@dataclass(frozen=True)
class Plan:
    """A lifecycle, resolved."""

    spec: Lifecycle

    @cached_property
    def model(self) -> ModelSpec:
        """The model that its choices make."""
        return shape(self.spec.architecture, name=self.spec.name)

    @cached_property
    def counts(self) -> Parameters:
        """Its parameters."""
        return parameters(self.model)

    @property
    def compute_parameters(self) -> float:
        """N of 6 N D: all parameters of a dense model, those that a token visits of a mixture of experts."""
        return float(self.counts.active if self.model.is_moe else self.counts.total)

    @property
    def loss_parameters(self) -> Ranged:
        """N of the scaling law, which was fitted to dense models."""
        total = float(self.counts.total)
        if not self.model.is_moe:
            return given(total, f"{self.model.name}: counted from its shape", "published")
        active = float(self.counts.active)
        why = "a mixture of experts as a dense model of sqrt(active x total) parameters, between the two"
        return assumed(math.sqrt(active * total), active, total, why=why)

    @property
    def law(self) -> LossLaw:
        """The scaling law that decides."""
        return LAWS[self.spec.pretraining.coefficients]

    @cached_property
    def site(self) -> Site:
        """Where the GPUs stand."""
        return catalog.load_site(self.spec.site)

    @cached_property
    def pretraining(self) -> Rented:
        """GPUs of the pretraining run."""
        block = self.spec.pretraining
        return self._rented(block.hardware, block.mfu, block.usd_per_gpu_hour, "pretraining.mfu")

    @cached_property
    def alignment(self) -> Rented:
        """GPUs of everything after it."""
        block, before = self.spec.alignment, self.spec.pretraining
        is_same = block.hardware in (None, before.hardware)
        mfu = block.mfu or (before.mfu if is_same else None)
        price = before.usd_per_gpu_hour if is_same else None
        return self._rented(block.hardware or before.hardware, mfu, price, "alignment.mfu")

    def _rented(self, name: str, mfu: Ranged | None, price: Ranged | None, path: str) -> Rented:
        gpu = catalog.load_gpu(name)
        family = next((known for known in MFU if gpu.name.startswith(known)), None)
        if mfu is None and family is None:
            message = f"missing: nothing is published for {gpu.name}; known are {', '.join(MFU)}"
            raise SpecError(Problem(message, path=path))
        return Rented(gpu, mfu or MFU[str(family)], price or self._price(gpu.name, path))

    def _price(self, gpu: str, path: str) -> Ranged:
        book = catalog.load_prices(self.spec.prices)
        if gpu not in book.usd_per_gpu_hour:
            message = f'price book "{book.name}" has no {gpu}. {did_you_mean(gpu, book.usd_per_gpu_hour)}'
            if path.startswith("pretraining"):
                message += " Or give pretraining.usd_per_gpu_hour."
            raise SpecError(Problem(message, path=path.replace("mfu", "hardware")))
        price = book.price(gpu, self.spec.price_level)
        return given(float(price), price.source, price.kind, book.price(gpu, "low"), book.price(gpu, "high"))
