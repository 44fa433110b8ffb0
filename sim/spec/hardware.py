"""GpuSpec and PriceBook: what a GPU can do at most and what it costs, every number with its source."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeAlias, cast, get_args

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from sim import units
from sim.errors import Problem, SpecError, did_you_mean
from sim.spec.base import Spec, Text
from sim.spec.text import read_text

Kind: TypeAlias = Literal["datasheet", "measured", "published", "assumed"]
"""How a number earned its place: by the maker, by an instrument, by a dated page, or not yet."""
UNSOURCED: Final = "assumed: given without a source"


class Sourced(float):
    """A number that remembers where it comes from; in arithmetic it is a plain float."""

    FIELDS: ClassVar = ("value", "source", "kind", "note")
    source: str
    """Document, repository or measurement that the number was read from."""
    kind: Kind
    """How the number earned its place."""
    note: str
    """What a reader must know to use it; empty where there is nothing to say."""

    def __new__(cls, value: float, source: str = UNSOURCED, kind: Kind = "assumed", note: str = "") -> Self:
        """Return `value` with where it comes from."""
        number = super().__new__(cls, value)
        number.source, number.kind, number.note = source, kind, note
        return number

    def to_dict(self) -> dict[str, Any]:
        """Return value, source, kind and (if any) note, as they are written in YAML."""
        data = {"value": float(self), "source": self.source, "kind": self.kind, "note": self.note}
        return {name: item for name, item in data.items() if item != ""}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        writer = core_schema.plain_serializer_function_ser_schema(Sourced.to_dict)
        return core_schema.is_instance_schema(cls, serialization=writer)


_EXAMPLE: Final = "{value: 3.35 TB/s, source: where it was read, kind: datasheet}"


def _sourced(unit: str) -> BeforeValidator:
    """Return the validator of a positive number in `unit` with its source."""

    def read(value: Any) -> Any:
        if isinstance(value, Sourced):
            return value
        entry = value if isinstance(value, Mapping) else {"value": value, "kind": "assumed"}
        unknown = [name for name in entry if name not in Sourced.FIELDS]
        faults = [f"unknown field {name}. {did_you_mean(name, Sourced.FIELDS)}" for name in unknown]
        faults += [f"{name} is missing" for name in ("value", "kind") if name not in entry]
        kind, source = entry.get("kind"), str(entry.get("source") or "")
        if "kind" in entry and kind not in get_args(Kind):
            faults.append(f'kind: "{kind}" is not allowed. Allowed: {", ".join(get_args(Kind))}')
        if not source and kind != "assumed":
            faults.append("source is missing: say where the number was read, or kind: assumed")
        number = 0.0
        try:
            number = units.parse(entry.get("value", 1.0), unit)
        except ValueError as error:
            faults.append(str(error))
        else:
            faults += [f"value must be > 0, got {number:g}"] if number <= 0 else []
        if faults:
            raise ValueError(f"{'; '.join(faults)}. Write {_EXAMPLE}")
        return Sourced(number, source or UNSOURCED, cast("Kind", kind), str(entry.get("note") or ""))

    return BeforeValidator(read)


_Count = Annotated[Sourced, _sourced("1")]
_Flops = Annotated[Sourced, _sourced("FLOP/s")]
_Bytes = Annotated[Sourced, _sourced("B")]
_BytesPerSecond = Annotated[Sourced, _sourced("B/s")]
_Watts = Annotated[Sourced, _sourced("W")]
_Usd = Annotated[Sourced, _sourced("USD/h")]

PRECISIONS: Final = {
    "bf16": "bf16_flops_per_s",
    "fp16": "bf16_flops_per_s",
    "fp8": "fp8_flops_per_s",
    "int8": "int8_flops_per_s",
}
"""Precision of a matrix product -> the field that holds its peak (fp16 and bf16 share theirs)."""


class GpuSpec(Spec):
    """One GPU model in its usual node: ceilings and capacities, no efficiencies."""

    name: Text
    """Name in the catalogue, e.g. `h100-sxm-80gb`."""
    vendor: Text
    """Who makes it."""
    sm_version: _Count
    """CUDA compute capability times ten, e.g. 90."""
    num_sms: _Count
    """Streaming multiprocessors."""
    bf16_flops_per_s: _Flops
    """Peak dense bf16 (and fp16) tensor throughput [FLOP/s]."""
    fp8_flops_per_s: _Flops | None = None
    """Peak dense fp8 tensor throughput [FLOP/s]; None: the tensor cores have no fp8."""
    int8_flops_per_s: _Flops | None = None
    """Peak dense int8 tensor throughput [FLOP/s, one operation counted as one]."""
    hbm_bytes: _Bytes
    """Memory that the device reports as its total when a process uses it [B]."""
    nominal_hbm_bytes: _Bytes
    """Memory on the label [B]."""
    memory_bandwidth_bytes_per_s: _BytesPerSecond
    """Peak memory bandwidth [B/s]."""
    l2_bytes: _Bytes
    """Level-2 cache [B]."""
    tdp_w: _Watts
    """Board power limit [W]."""
    idle_w: _Watts
    """Board power with a model loaded and nothing to do [W]."""
    nvlink_bytes_per_s: _BytesPerSecond | None = None
    """NVLink bandwidth of one GPU in one direction [B/s]; None: peers talk over PCIe."""
    pcie_bytes_per_s: _BytesPerSecond
    """PCIe bandwidth in one direction [B/s]."""
    internode_bytes_per_s: _BytesPerSecond
    """Network bandwidth between nodes for each GPU in one direction [B/s]."""
    gpus_per_node: _Count
    """GPUs in one node."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield the rules between fields that are broken."""
        if self.hbm_bytes > self.nominal_hbm_bytes * 1.1:
            yield "hbm_bytes", "the device cannot report more than the label says (10 % for GB and GiB allowed)"
        if self.idle_w >= self.tdp_w:
            yield "idle_w", f"must be below tdp_w = {self.tdp_w:g} W, got {self.idle_w:g} W"

    def peak_flops_per_s(self, precision: str) -> Sourced:
        """Return the peak dense throughput of matrix products in a precision.

        Parameters
        ----------
        precision
            One of `PRECISIONS`: bf16, fp16, fp8, int8.

        Returns
        -------
        Sourced
            Peak throughput [FLOP/s].

        Raises
        ------
        SpecError
            The precision is unknown, or this GPU does not compute in it.
        """
        has = [name for name, field in PRECISIONS.items() if getattr(self, field) is not None]
        peak = getattr(self, PRECISIONS[precision]) if precision in PRECISIONS else None
        if peak is None:
            raise SpecError(f"{self.name} does not compute in {precision}; it has {', '.join(has)}")
        return cast("Sourced", peak)


class PriceRange(Spec):
    """What one GPU rents for: a low, a middle and a high price."""

    low: _Usd
    """Cheap offer [USD per GPU-hour]."""
    mid: _Usd
    """Price to plan with [USD per GPU-hour]."""
    high: _Usd
    """Dear offer [USD per GPU-hour]."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield the rules between fields that are broken."""
        if not self.low <= self.mid <= self.high:
            yield "", f"low <= mid <= high must hold, got {self.low:g}, {self.mid:g}, {self.high:g}"


class PriceBook(Spec):
    """Rental prices of GPUs at one date."""

    name: Text
    """Name that a scenario's `prices` gives, e.g. `2026`."""
    date: Text
    """When the prices were seen, e.g. `2026-05`."""
    note: Text = ""
    """How low, mid and high were chosen."""
    usd_per_gpu_hour: dict[str, PriceRange] = Field(min_length=1)
    """Prices by GPU name [USD per GPU-hour]."""

    def price(self, gpu: str, level: Literal["low", "mid", "high"] = "mid") -> Sourced:
        """Return the price of a GPU.

        Parameters
        ----------
        gpu
            Name of the GPU in the catalogue.
        level
            Which of the three prices.

        Returns
        -------
        Sourced
            Price [USD per GPU-hour].

        Raises
        ------
        SpecError
            The book has no price for this GPU.
        """
        if gpu not in self.usd_per_gpu_hour:
            hint = did_you_mean(gpu, self.usd_per_gpu_hour)
            raise SpecError(f'price book "{self.name}": no {gpu}. {hint} Or give the pool its usd_per_gpu_hour.')
        return cast("Sourced", getattr(self.usd_per_gpu_hour[gpu], level))


def read_gpu(text: str, filename: str | None = None) -> GpuSpec:
    """Return the GPU that a YAML text describes; raises SpecError with every problem and its line."""
    return GpuSpec.from_yaml(text, filename)


def read_prices(text: str, filename: str | None = None) -> dict[str, PriceBook]:
    """Return the price books of a YAML text by name; raises SpecError with every problem and its line."""
    document = read_text(text, filename)
    if not isinstance(document.data, dict):
        raise SpecError(Problem("expected named price books (name: then indented lines)", filename, 1))
    problems: list[Problem] = []
    books: dict[str, PriceBook] = {}
    for name in document.data:
        part = document.at((name,))
        if isinstance(part.data, dict):
            part.data.setdefault("name", name)
        try:
            books[name] = PriceBook.from_document(part)
        except SpecError as error:
            problems += [dataclasses.replace(problem, path=f"{name}.{problem.path}") for problem in error.problems]
    SpecError.raise_if(problems)
    return books
