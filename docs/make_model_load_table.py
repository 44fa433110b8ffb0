# ruff: noqa: INP001  (a script, in no package)
"""Writes hardware_profiles/model_load.yaml: how long engines took to load a model, and a form fitted to it.

Run `python docs/make_model_load_table.py FACTS.csv` with AccelMark's load times (columns gpu, n, model, prec, tp, fw,
ver, load_s, path); the package has the table, not the file.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

SOURCE = "github:FreedomIntelligence/AccelMark@5797fc42: results/community/*/result.json, model_load_seconds"
WEIGHTS_GB = {
    ("Qwen2.5-0.5B-Instruct", "BF16"): 0.99,
    ("Llama-3.1-8B-Instruct", "BF16"): 16.06,
    ("Meta-Llama-3-8B-Instruct", "BF16"): 16.06,
    ("Meta-Llama-3.1-8B-Instruct-FP8", "FP8"): 9.08,
    ("Meta-Llama-3.1-8B-Instruct-quantized.w8a8", "W8A8"): 9.08,
    ("Meta-Llama-3.1-8B-Instruct-quantized.w8a16", "W8A16"): 9.08,
    ("Meta-Llama-3.1-8B-Instruct-quantized.w4a16", "W4A16"): 5.70,
    ("Meta-Llama-3-70B-Instruct", "BF16"): 141.1,
    ("Mixtral-8x7B-Instruct-v0.1", "BF16"): 93.4,
}
"""Size of the checkpoints' weight files [GB]: parameters x bytes, embedding and head of quantized ones in bf16."""
REFERENCE = "vllm 0.7.3"
HEAD = """\
# How long engines take to load a model: the time from starting the engine until it serves, weights read and kernels
# ready. Made by docs/make_model_load_table.py; do not edit. Each row of `cells` sums up runs of one machine, model and
# version.
#
# seconds = engine_factor x (base_s + s_per_gb x weights [GB of a whole replica] + several_gpus_s if it has several
# GPUs) is the median; machines differ by a factor of spread machine_log_sd, runs of one machine by run_log_sd (both
# lognormal). A machine's factor is that of its storage more than of its GPU: measure your own and give it as
# `startup.load`.
"""


def read(path: Path) -> dict[tuple[str, ...], list[float]]:
    """Load times [s] by GPU, model, precision, number of GPUs and engine."""
    found: dict[tuple[str, ...], list[float]] = {}
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            gpu, model = row["gpu"].removeprefix("NVIDIA "), row["model"].split("/")[1]
            engine = f"{row['fw'].lower()} {row['ver'].split('+')[0]}"
            found.setdefault((gpu, model, row["prec"], row["n"], engine), []).append(float(row["load_s"]))
    return dict(sorted(found.items()))


def fit(cells: dict[tuple[str, ...], list[float]]) -> dict[str, object]:
    """The form's coefficients: least squares of log seconds over all runs, machines' factors at geometric mean 1."""
    rows = [(key, seconds) for key, runs in cells.items() for seconds in runs]
    machines = sorted({key[0] for key, _ in rows})
    engines = [REFERENCE, *sorted({key[4] for key, _ in rows} - {REFERENCE})]
    gigabytes = np.array([WEIGHTS_GB[key[1], key[2]] for key, _ in rows])
    several = np.array([float(key[3] != "1") for key, _ in rows])
    machine = np.array([machines.index(key[0]) for key, _ in rows])
    engine = np.array([engines.index(key[4]) for key, _ in rows])
    seconds = np.log([value for _, value in rows])
    free = len(machines) - 1

    def misfit(x: NDArray[np.float64]) -> NDArray[np.float64]:
        effects = np.append(x[3 : 3 + free], -x[3 : 3 + free].sum())
        factors = np.concatenate([[0.0], x[3 + free :]])
        median = np.log(np.maximum(x[0] + x[1] * gigabytes + x[2] * several, 1e-3))
        return np.asarray(median + effects[machine] + factors[engine] - seconds)

    start = np.concatenate([[40.0, 1.0, 10.0], np.zeros(free + len(engines) - 1)])
    found = least_squares(misfit, start, x_scale=np.maximum(np.abs(start), 0.1))
    x = found.x
    effects = np.append(x[3 : 3 + free], -x[3 : 3 + free].sum())
    factors = np.exp(np.concatenate([[0.0], x[3 + free :]]))
    return {
        "base_s": round(float(x[0]), 1),
        "s_per_gb": round(float(x[1]), 3),
        "several_gpus_s": round(float(x[2]), 1),
        "machine_log_sd": round(float(np.std(effects, ddof=1)), 3),
        "run_log_sd": round(float(np.sqrt(2.0 * found.cost / (len(rows) - len(x)))), 3),
        "machine_factor": {name: round(float(np.exp(e)), 3) for name, e in zip(machines, effects, strict=True)},
        "engine_factor": {name: round(float(f), 3) for name, f in zip(engines, factors, strict=True)},
    }


def page(cells: dict[tuple[str, ...], list[float]]) -> str:
    """The file."""
    lines = [HEAD, f"source: {SOURCE!r}".replace("'", '"')]
    for name, value in fit(cells).items():
        if isinstance(value, dict):
            lines += [f"{name}:", *(f"  {key}: {number}" for key, number in value.items())]
        else:
            lines.append(f"{name}: {value}")
    lines.append("cells:")
    for (gpu, model, precision, n, engine), runs in cells.items():
        told = f"gpu: {gpu}, model: {model}, precision: {precision}, num_gpus: {n}, engine: {engine}"
        low, middle, high = min(runs), float(np.median(runs)), max(runs)
        times = f"num_runs: {len(runs)}, min_s: {low:g}, median_s: {middle:g}, max_s: {high:g}"
        lines.append(f"  - {{{told}, weights_gb: {WEIGHTS_GB[model, precision]}, {times}}}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    target = Path(__file__).parents[1] / "hardware_profiles" / "model_load.yaml"
    target.write_text(page(read(Path(sys.argv[1]))), encoding="utf-8")
