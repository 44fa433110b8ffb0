"""Reading: tables of operator timings, from CSV files or from the package `aiconfigurator-core`, as the same rows."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sim.errors import Problem, SpecError

if TYPE_CHECKING:
    import pandas as pd

SYSTEMS: Final = {"a100-sxm-80gb": "a100_sxm", "h100-sxm-80gb": "h100_sxm", "h200-sxm-141gb": "h200_sxm"}
"""GPUs of the catalogue that were timed, and what the tables call them."""
FAMILIES: Final = ("vllm", "sglang", "trtllm")
OPERATORS: Final = {
    "gemm": ("gemm", "gemm_perf", "m n k gemm_dtype"),
    "context_attention": (
        "attention",
        "context_attention_perf",
        "batch_size isl num_heads num_key_value_heads head_dim window_size step attn_dtype kv_cache_dtype",
    ),
    "generation_attention": (
        "attention",
        "generation_attention_perf",
        "batch_size isl step num_heads num_key_value_heads head_dim window_size attn_dtype kv_cache_dtype",
    ),
    "moe": (
        "moe",
        "moe_perf",
        "moe_dtype num_tokens hidden_size inter_size topk num_experts moe_tp_size moe_ep_size distribution",
    ),
    "custom_allreduce": ("comm", "custom_allreduce_perf", "num_gpus message_size allreduce_dtype"),
    "nccl": ("comm", "nccl_perf", "op_name nccl_dtype num_gpus message_size"),
}
"""Folder and file of an operator in the package, and its columns beside framework, version, kernel and time."""
_FRAMEWORKS: Final = {"vllm": "vllm", "sglang": "sglang", "trtllm": "trtllm"}
PACKAGE: Final = "aiconfigurator_core"
PACKAGE_NAME: Final = "aiconfigurator"
"""What `--from` calls the installed package."""


@dataclass(frozen=True)
class Tables:
    """Where operator timings are read from: a folder of CSV files, or the package's folder."""

    folder: Path

    @property
    def is_package(self) -> bool:
        """The folder is that of the package `aiconfigurator-core`, not one of CSV files."""
        return (self.folder / "systems/data").is_dir()

    def rows(self, operator: str, gpu: str, family: str | None = None) -> pd.DataFrame:
        """Timings of one operator on one GPU, of the newest version that the family was timed with.

        Parameters
        ----------
        operator : one of `OPERATORS`
        gpu : a GPU of the catalogue
        family : vllm, sglang or trtllm; None for what has no family (NCCL)

        Returns
        -------
        columns of the operator, `version`, `kernel` and `time_s`; of NCCL message sizes of two bytes an element alone
        """
        everything = _read(self.folder, operator, self.is_package)
        rows = everything[everything["system"] == SYSTEMS[gpu]]
        if family is not None:
            rows = rows[rows["family"] == family]
        rows = rows[rows["version"] != ""]
        if operator == "moe":  # experts without a gate are another layer, timed by itself in other versions
            rows = rows[~rows["kernel"].str.contains("nongated")]
        if operator == "custom_allreduce":  # as inside a CUDA graph; TensorRT-LLM has the one way alone
            rows = rows[~rows["kernel"].str.contains("eager")]
        newest = max(rows["version"].unique(), key=version_key, default="")
        return rows[rows["version"] == newest].reset_index(drop=True)


def open_tables(source: str) -> Tables:
    """Return the tables in a folder, or those of the installed package for the name `aiconfigurator`.

    Raises
    ------
    SpecError
        There are no tables.
    """
    folder = Path(source)
    if source == PACKAGE_NAME:
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise SpecError(
                Problem("is not installed. Try: pip install 'tokenfleet[tables]'", path="aiconfigurator-core")
            )
        folder = Path(spec.origin).parent
    tables = Tables(folder)
    if not tables.is_package and _csv(folder, "gemm") is None:
        message = "holds no operator tables: neither aic_gemm.csv nor systems/data of aiconfigurator-core"
        raise SpecError(Problem(message, path=str(folder)))
    return tables


def medians(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return one row for each combination of the keys, with the median of its times."""
    return rows.groupby(keys)["time_s"].median().reset_index()


def version_key(version: str) -> tuple[int, ...]:
    """Return what sorts versions by age: their numbers; a release candidate comes before its release."""
    final, _, candidate = version.partition("rc")
    numbers = [int(number) for number in re.findall(r"\d+", final.split("+")[0].split(".dev")[0])]
    return (*numbers, *(0,) * (4 - len(numbers)), int(candidate or 10**6))


@cache
def _read(folder: Path, operator: str, is_package: bool) -> pd.DataFrame:
    """Return all timings of an operator, in the form that `Tables.rows` describes."""
    import pandas as pd

    kind, file, columns = OPERATORS[operator]
    parts = []
    if is_package:
        for system in SYSTEMS.values():
            found = sorted((folder / "systems/data" / system / kind).glob(f"*/*/{file}.parquet"))
            parts += [pd.read_parquet(path).assign(system=system) for path in found]
        rows = pd.concat(parts, ignore_index=True).rename(columns={"latency": "latency_ms"})
    else:
        csv = _csv(folder, operator)
        if csv is None:
            raise SpecError(Problem(f"no file aic_{operator}.csv", path=str(folder)))
        rows = pd.read_csv(csv, low_memory=False, dtype={"version": str})
    if operator == "nccl":  # the package says by which framework it was called; the kernels are the same
        rows["framework"] = ""
    rows["family"] = rows["framework"].str.lower()
    rows["kernel"] = rows.get("kernel_source", "NCCL")
    rows["version"] = rows["version"].fillna("").astype(str)
    rows["time_s"] = rows["latency_ms"] * 1e-3
    if "window_size" in rows:
        rows["window_size"] = rows["window_size"].fillna(0).astype(int)
    wanted = ["system", "family", "version", "kernel", *columns.split(), "time_s"]
    rows = rows[rows["time_s"] > 0][wanted]
    return rows.sort_values(wanted, ignore_index=True)


def _csv(folder: Path, operator: str) -> Path | None:
    """Return the CSV file of an operator, compressed or not."""
    return next((p for p in (folder / f"aic_{operator}.csv", folder / f"aic_{operator}.csv.gz") if p.is_file()), None)
