"""Machine: what runs where, everything that a step time depends on."""

from __future__ import annotations

from dataclasses import dataclass

from sim.cost.kernels import DecodeKernel, Kernels, PrefillKernel
from sim.cost.memory import Layout
from sim.cost.precision import Precisions
from sim.spec.engine import EngineSpec
from sim.spec.hardware import GpuSpec
from sim.spec.model import ModelSpec


@dataclass(frozen=True)
class Machine:
    """What runs where: everything that a step time depends on."""

    model: ModelSpec
    gpu: GpuSpec
    kernels: Kernels
    engine: EngineSpec
    precisions: Precisions
    layout: Layout
    eager: bool = False
    """Attention writes its scores to memory and reads them back."""
    use_cache: bool = True
    """Keys and values are kept from step to step; False: every step computes the whole sequence again."""

    @property
    def attention(self) -> tuple[DecodeKernel, PrefillKernel]:
        """Attention kernels for the precision of the cache."""
        kv = self.precisions.kv
        return self.kernels.decode_attention[kv], self.kernels.prefill_attention[kv]

    @property
    def num_gpus(self) -> int:
        """GPUs of one replica."""
        return self.layout.num_gpus
