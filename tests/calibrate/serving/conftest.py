"""Rows of measurements made by hand."""

from pathlib import Path

import numpy as np
import pytest

from sim.calibrate.serving.basis import basis_of
from sim.calibrate.serving.library import Library
from sim.calibrate.serving.play import Player, compile_setup, records_of
from sim.calibrate.serving.rows import COLUMNS, Point, read_table
from sim.calibrate.serving.scenarios import plan_of
from sim.calibrate.serving.setup import make_setup
from sim.calibrate.serving.steps import read_steps

TABLE = Path(__file__).parent / "rows.csv"
"""Made up: a row or two of each kind of load and bed."""

VLLM = {
    "source": "somebody's", "date": "2026", "engine": "vLLM", "version": "0.15.1", "model": "Llama-3.1-8B-Instruct",
    "precision": "bf16", "gpu": "H100-SXM-80GB", "tp": "1", "pp": "1", "isl": "512", "osl": "16",
    "load": "concurrency=1", "notes": "", "group_id": "g1", "tier": "A",
}  # fmt: skip


@pytest.fixture(scope="session")
def library() -> Library:
    return Library()


@pytest.fixture(scope="session")
def player(library) -> Player:
    return Player(library)


@pytest.fixture(scope="session")
def table():
    return read_table(TABLE)


@pytest.fixture
def point():
    """A point of the default bed of vLLM, with what differs."""

    def make(**changes) -> Point:
        return Point(**(VLLM | changes))

    return make


@pytest.fixture
def write(tmp_path):
    """Write a table of rows; each gives what differs from an ordinary one."""

    def make(*rows: dict[str, str], columns=COLUMNS) -> Path:
        ordinary = {name: VLLM.get(name, "") for name in COLUMNS} | {
            "concurrency_or_rate": "concurrency=1", "metric": "ttft_mean", "value": "20", "unit": "ms",
        }  # fmt: skip
        path = tmp_path / "measured.csv"
        lines = [",".join(columns), *(",".join((ordinary | row)[name] for name in columns) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
        return path

    return make


COEFFICIENTS = {
    "gemm_scale.bf16": 1.05, "gemm_compute_extra.bf16": 0.08, "decode_attention_scale.bf16": 1.1,
    "prefill_attention_scale": 1.2, "elementwise_passes": 10.0, "layer_s": 1e-5, "prefill_layer_s": 6e-6,
    "step_s": 4e-4, "sequence_s": 1.5e-5, "first_token_s": 8e-3,
}  # fmt: skip
"""Values of the coefficients of a dense model on one GPU, all above 0."""


@pytest.fixture
def basis_for(library, point):
    """Return the setup of a point, and its profile by coefficient."""

    def make(values=None, **changes):
        setup = make_setup(point(**changes), library=library)
        chosen = COEFFICIENTS if values is None else values
        engine = library.engine(setup.pool.engine, setup.gpu).with_values(chosen)
        basis = basis_of(lambda one: compile_setup(setup, one, library=library), engine, tuple(chosen))
        return setup, engine, basis

    return make


@pytest.fixture
def played():
    """Play a setup with its log of steps on: plan, records, steps."""

    def play(setup, profile):
        plan, log = plan_of(setup, profile), []
        records = records_of(setup, profile, plan, log.append)
        return plan, records, read_steps(np.concatenate(log), records.rows)

    return play
