"""Rows of measurements made by hand."""

from pathlib import Path

import pytest

from sim.calibrate.serving.library import Library
from sim.calibrate.serving.play import Player
from sim.calibrate.serving.rows import COLUMNS, Point, read_table

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
