"""A measurement folder as entries of a user's catalogue: GPU, kernels, board and engine under one name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sim import catalog
from sim.calibrate.microbench.ceilings import ENTRIES, entry_of, with_ceilings
from sim.calibrate.microbench.fits import Fits, fit
from sim.calibrate.microbench.folder import Measurements
from sim.cost.calibration import load_kernels
from sim.cost.residual import Residual, pack, unpack
from sim.errors import SpecError
from sim.spec.hardware import GpuSpec
from sim.spec.kernels import KernelSpec
from sim.spec.text import write_text

if TYPE_CHECKING:
    from sim.calibrate.operators.scores import Score

FITTED: Final = ("gemm", "decode_attention", "prefill_attention", "all_reduce")
"""Fields of a kernels entry that microbenchmarks can fill."""


@dataclass(frozen=True)
class Entries:
    """What is written: files by their path in a catalogue, and the scores of the fits."""

    gpu: GpuSpec
    kernels: KernelSpec
    files: Mapping[str, bytes]
    scores: tuple[Score, ...]
    kept: tuple[str, ...]
    """What was not measured and stays as in the entry it was made from."""


def entries(
    measurements: Measurements, *, name: str, like: str | None = None, family: str = "vllm", engine: str = "vllm"
) -> Entries:
    """Return the entries of a measured GPU.

    Parameters
    ----------
    measurements : of a GPU
    name : of the new GPU in the catalogue
    like : entry that gives what was not measured; None: that of the device's own name
    family : framework family whose kernels are replaced
    engine : engine whose overheads are taken over

    Raises
    ------
    SpecError
        A dry run; a device that the catalogue does not have and no `like`; no operator with points enough; a name
        that the catalogue has already.
    """
    device = str(measurements.provenance.get("gpu"))
    base = like if like is not None and measurements.provenance.get("num_gpus") else entry_of(measurements)
    if name in catalog.list_entries("hardware"):
        raise SpecError(f"--name: the catalogue has {name} already. Give the measured GPU a name of its own")
    gpu = with_ceilings(catalog.load_gpu(base), measurements, name)
    before = load_kernels(base, family).spec
    fits = fit(measurements, gpu)
    tables = f"{family}-{name}.npz"
    kernels, kept = _kernels(before, fits, measurements, {"name": f"{family}-{name}", "gpu": name, "tables": tables})
    own = ENTRIES.get(device) == base
    carried: dict[str, Any] = {
        "name": name,
        "like": base,
        "status": "extrapolated",
        "notes": [f"As {base}: microbenchmarks do not see it."],
    }
    whose = "with other kernels" if own else "another device"
    checked = "`tokenfleet import` and `tokenfleet validate` check them on a benchmark of your own."
    overheads: dict[str, Any] = {
        "name": f"{engine}-{name}",
        "like": f"{engine}-{base}",
        "gpu": name,
        "status": "extrapolated",
        "errors": {},
        "evidence": None,
        "notes": [f"Overheads of {engine} on {base}, {whose}. {checked}"],
    }
    folder = "hardware_profiles"
    files = {
        f"{folder}/gpus/{name}.yaml": gpu.to_yaml().encode(),
        f"{folder}/kernels/{family}-{name}.yaml": write_text(
            kernels.model_dump(mode="json", exclude_defaults=True)
        ).encode(),
        f"{folder}/kernels/{tables}": _tables(before, kernels, fits),
        f"{folder}/boards/{name}.yaml": write_text(carried).encode(),
        f"{folder}/engines/{engine}-{name}.yaml": write_text(overheads).encode(),
    }
    return Entries(gpu, kernels, files, fits.scores, kept)


def _kernels(
    before: KernelSpec, fits: Fits, measurements: Measurements, names: Mapping[str, str]
) -> tuple[KernelSpec, tuple[str, ...]]:
    """Return the kernels with what was fitted in place of what was, and the names of what stays."""
    changes: dict[str, Any] = dict(names) | {"like": None, "status": "calibrated", "source": measurements.source}
    changes["version"] = f"torch {measurements.provenance.get('torch')}"
    kept = [f"experts {precision}" for precision in before.experts]
    for field in FITTED:
        old, new = getattr(before, field), getattr(fits, field)
        changes[field] = old | new
        kept += [f"{field} {key}" for key in old if key not in new]
    seconds = measurements.provenance.get("total_s")
    changes["notes"] = (
        f"Measured with PyTorch's kernels, not with those of {before.family}.",
        f"Not measured, as in {before.name}: {', '.join(kept)}.",
        f"{len(measurements.measured)} points in {seconds} s; clocks and power are in the folder's rows.",
    )
    return before.model_copy(update=changes), tuple(kept)


def _tables(before: KernelSpec, after: KernelSpec, fits: Fits) -> bytes:
    """Return the file of tables: those fitted, and those of what stays."""
    old: dict[str, Residual] = {}
    arrays: dict[str, Any] = {}
    if before.tables:
        old, arrays = unpack(catalog.read_binary(f"hardware_profiles/kernels/{before.tables}"))
    fits_after: list[Any] = list(after.experts.values())
    for field in FITTED:
        fits_after += getattr(after, field).values()
    named = {one.table for one in fits_after}
    kept = {name: table for name, table in old.items() if name.removesuffix(".by_shape") in named}
    return pack(kept | fits.tables, arrays)


def write(made: Entries, folder: Path) -> list[Path]:
    """Write entries into a catalogue's folder, new or not; raises SpecError where one of the files exists."""
    paths = [folder / name for name in made.files]
    SpecError.raise_if(
        f"{path}: exists already; entries are never overwritten. Give another --name or --out"
        for path in paths
        if path.exists()
    )
    for path, data in zip(paths, made.files.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return paths
