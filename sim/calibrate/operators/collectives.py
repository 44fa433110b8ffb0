"""Collectives: the fits of all-reduce, all-gather and all-to-all inside a node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sim.calibrate.operators.forms import Chosen
from sim.calibrate.operators.grid import fit_residual
from sim.calibrate.operators.monotone import monotone_along
from sim.calibrate.operators.reading import medians
from sim.calibrate.operators.scores import HELD_FRAC, SEED, Score, error_of
from sim.cost.residual import Residual
from sim.cost.step_times import Floats
from sim.spec.evidence import FitError
from sim.spec.hardware import GpuSpec
from sim.spec.kernels import CollectiveFit

if TYPE_CHECKING:
    import pandas as pd

ELEMENT_BYTES: Final = 2
"""Bytes of an element: `message_size` counts elements of bf16 or half, not bytes."""
DTYPES: Final = {"allreduce_dtype": "bfloat16", "nccl_dtype": "half"}
SMOOTHNESS: Final = (0.01,)
SWITCH_WIDTH: Final = 0.01
"""Width in log2 of the step between two kernels."""
CUSTOM_BYTES: Final = {"vllm": 2.0**23}
"""Message from which a framework leaves its own all-reduce kernel for NCCL's, where it is documented: 8 MiB in vLLM
(vllm/distributed/device_communicators/custom_all_reduce.py, max_size)."""
DRAWS: Final = 20
"""Times that a share of the sizes is held out: there are some twenty of them, so one draw would be a lottery."""


def fit_collective(
    rows: pd.DataFrame,
    gpu: GpuSpec,
    operator: str,
    names: tuple[str, str],
    op_name: str | None = None,
    switch_bytes: float = 0.0,
) -> tuple[dict[int, CollectiveFit], dict[str, Residual], Score | None]:
    """Fit one collective for each number of GPUs: latency, bandwidth, table over message sizes.

    Parameters
    ----------
    rows : `Tables.rows("custom_allreduce" | "nccl", ...)`
    gpu : its link
    operator : what the score calls it
    names : family and version, for the score
    op_name : NCCL's name of the operation, where the rows hold several
    switch_bytes : message from which another kernel takes over, and neither side says anything of the other; 0: none
    """
    for column, dtype in DTYPES.items():
        if column in rows:
            rows = rows[rows[column] == dtype]
    if op_name is not None:
        rows = rows[rows["op_name"] == op_name]
    fits: dict[int, CollectiveFit] = {}
    tables: dict[str, Residual] = {}
    held, fitted, moved = [], [], []
    for size in sorted({int(number) for number in rows["num_gpus"]}):
        part = medians(rows[rows["num_gpus"] == size], ["message_size"])
        message = part["message_size"].to_numpy(dtype=np.float64) * ELEMENT_BYTES
        time_s = part["time_s"].to_numpy(dtype=np.float64)
        smooth_s = monotone_along(message, np.zeros(len(message), dtype=np.int64), time_s)
        everything = np.ones(len(message), dtype=bool)
        latency_s, bytes_per_s, table = _fit(message, smooth_s, everything, switch_bytes)
        moved.append((smooth_s, time_s))
        fitted.append((_predict(message, latency_s, bytes_per_s, table), time_s))
        own = []
        for draw in range(DRAWS):
            left = _left_out(len(message), SEED + draw)
            parts = _fit(message, smooth_s, ~left, switch_bytes)
            own.append((_predict(message[left], *parts), time_s[left]))
        held += own
        name = f"{operator.replace(' ', '_').replace('-', '_')}.{size}"
        tables[name] = table
        fits[size] = CollectiveFit(
            latency_s=float(f"{latency_s:.4g}"),
            bytes_per_s=float(f"{bytes_per_s:.4g}"),
            link_bytes_per_s=float(gpu.nvlink_bytes_per_s or gpu.pcie_bytes_per_s),
            table=name,
            error=_error([fitted[-1]]),
            held_out=_error(own),
        )
    if not fits:
        return fits, tables, None
    score = Score(
        gpu=gpu.name,
        family=names[0],
        version=names[1],
        operator=operator,
        precision="bf16",
        held_out=_error(held, f"{HELD_FRAC:.0%} of the message sizes, {DRAWS} draws"),
        fitted=_error(fitted),
        monotone=_error(moved),
    )
    return fits, tables, score


def _fit(message: Floats, time_s: Floats, chosen: Chosen, switch_bytes: float) -> tuple[float, float, Residual]:
    """Return latency [s], bandwidth [B/s] and table of some of the sizes.

    The latency is the time of the smallest message, the bandwidth that of the largest: the table holds what is between.
    Each side of a switch of kernels has a table of its own; they are joined at the switch.
    """
    m, t = message[chosen], time_s[chosen]
    latency_s = float(f"{t[0]:.4g}")
    bytes_per_s = float(f"{m[-1] / (t[-1] - latency_s):.4g}")
    ratio, at = np.log(t / (latency_s + m / bytes_per_s)), np.log2(m)
    if not (m[0] < switch_bytes < m[-1]):
        return latency_s, bytes_per_s, fit_residual([at], [at], ratio, SMOOTHNESS)
    switch = np.log2(switch_bytes)
    below, above = at < switch, at >= switch
    left = np.append(at[below], switch - SWITCH_WIDTH)
    right = np.union1d([switch], at[above])
    parts = [
        fit_residual([nodes], [at[side]], ratio[side], SMOOTHNESS) for nodes, side in ((left, below), (right, above))
    ]
    joined = Residual((np.concatenate([left, right]),), np.concatenate([part.values for part in parts]))  # noqa: PD011  (no pandas)
    return latency_s, bytes_per_s, joined


def _predict(message: Floats, latency_s: float, bytes_per_s: float, table: Residual) -> Floats:
    return (latency_s + message / bytes_per_s) * table.factor(np.log2(message))


def _left_out(number: int, seed: int) -> Chosen:
    """Return which sizes are held out; the smallest and largest stay."""
    chosen = np.random.default_rng(seed).permutation(np.arange(1, number - 1))[: round(HELD_FRAC * number)]
    return np.isin(np.arange(number), chosen)


def _error(pairs: list[tuple[Floats, Floats]], note: str = "") -> FitError:
    """Return the error over several (predicted, measured) pairs of arrays."""
    predicted, measured = (np.concatenate([pair[i] for pair in pairs]) for i in (0, 1))
    return error_of(predicted, measured, note)
