"""Kernels: the fitted kernels of a framework family on a GPU, coefficients and tables together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from sim.cost.residual import FLAT, Residual
from sim.spec.hardware import GpuSpec
from sim.spec.kernels import (
    BoardSpec,
    CollectiveFit,
    DecodeAttentionFit,
    ExpertFit,
    GemmFit,
    KernelSpec,
    PowerFit,
    PrefillAttentionFit,
)

ExpertShape: TypeAlias = tuple[int, int, int, int]
"""Hidden size, expert width, experts a token visits, experts of a layer."""


@dataclass(frozen=True, eq=False)
class GemmKernel:
    """Matrix products of one precision."""

    precision: str
    fit: GemmFit
    residual: Residual = FLAT
    """Over log2 of rows, width and depth; `FLAT` where there is no table."""


@dataclass(frozen=True, eq=False)
class ExpertKernel:
    """Routed experts of one precision."""

    precision: str
    fit: ExpertFit
    residual: Residual = FLAT
    """Over log2 of tokens an expert, weights an expert on a GPU, and experts on a GPU."""
    by_shape: dict[ExpertShape, Residual] = field(default_factory=dict)
    """Over log2 of tokens, tensor-parallel and expert-parallel size, for the shapes that were timed themselves."""


@dataclass(frozen=True, eq=False)
class DecodeKernel:
    """Decode attention on a cache of one precision."""

    precision: str
    fit: DecodeAttentionFit
    residual: Residual = FLAT
    """Over log2 of sequences x key-value heads, context, query heads a key-value head, and head_dim."""


@dataclass(frozen=True, eq=False)
class PrefillKernel:
    """Prefill attention on a cache of one precision."""

    precision: str
    fit: PrefillAttentionFit
    residual: Residual = FLAT
    """Over log2 of sequences x query heads, prompt length, query heads a key-value head, and head_dim."""


@dataclass(frozen=True, eq=False)
class Collective:
    """One collective among a number of GPUs."""

    fit: CollectiveFit
    residual: Residual = FLAT
    """Over log2 of the message's bytes."""


@dataclass(frozen=True, eq=False)
class Kernels:
    """All kernels of a family on a GPU, and what is fitted for the GPU itself."""

    spec: KernelSpec
    board: BoardSpec
    timed_on: GpuSpec
    """GPU on which the kernels were timed: to its ceilings the tables belong."""
    gemm: dict[str, GemmKernel]
    experts: dict[str, ExpertKernel]
    decode_attention: dict[str, DecodeKernel]
    prefill_attention: dict[str, PrefillKernel]
    all_reduce: dict[int, Collective]
    all_to_all: dict[int, Collective]
    all_gather: dict[int, Collective]

    @property
    def name(self) -> str:
        """Name in the catalogue."""
        return self.spec.name

    @property
    def power(self) -> PowerFit:
        """Electrical power by use."""
        return self.board.power

    @property
    def link_frac(self) -> float:
        """Share of the link bandwidth that point-to-point transfers reach [1]."""
        return self.board.link_frac

    @property
    def link_latency_s(self) -> float:
        """Latency of a point-to-point transfer [s]."""
        return self.board.link_latency_s
