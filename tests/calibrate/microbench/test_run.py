"""`tokenfleet microbench`: the dry run where torch is installed, its absence where it is not."""

import importlib.util
import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from sim.calibrate.microbench.folder import read
from sim.calibrate.microbench.plan import SECTIONS
from sim.cli import app

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed (the extra `calibrate`); `.ci/run --all` plays this where it is",
)


@pytest.fixture
def tokenfleet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner(env={"NO_COLOR": "1"}).invoke(app, ["microbench", *arguments])


def test_without_torch_it_says_what_to_install(tokenfleet, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    done = tokenfleet("--out", "mine")
    assert done.exit_code == 2
    assert "pip install 'tokenfleet[calibrate]'" in done.stderr
    assert not (tmp_path / "mine").exists()


def test_an_unknown_device_is_refused(tokenfleet):
    done = tokenfleet("--device", "tpu")
    assert done.exit_code == 2
    assert "Allowed: cuda, cpu" in done.stderr


def test_neither_the_command_nor_its_plan_loads_torch():
    code = "import sys, sim.cli, sim.calibrate.microbench.run; print(sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(f"'{name}'" not in loaded for name in ("torch", "pynvml", "numpy", "pandas", "pydantic"))


@needs_torch
def test_the_dry_run_plays_every_section(tokenfleet, tmp_path):
    done = tokenfleet("--device", "cpu", "--out", "mine", "--json")
    assert done.exit_code == 0, done.stderr
    found = read(tmp_path / "mine")
    counts = json.loads(done.stdout)
    assert counts["measured"] == len(found.measured) >= 18
    assert [line.partition(":")[0] for line in done.stderr.splitlines()[1:]] == list(SECTIONS)
    assert {row.point.operator for row in found.measured} == {
        *("gemm", "prefill_attention", "decode_attention", "add", "rms_norm", "silu_and_mul"),
        *("copy", "launch", "all_reduce"),
    }
    graphs = [row.note for row in found.rows if row.status == "skipped"]
    assert graphs == ["a processor has neither CUDA graphs nor events"] * 3
    known = found.provenance
    assert known["complete"]
    assert {"date", "torch", "cuda", "python", "command", "limits", "seconds", "tokenfleet"} <= set(known)
    assert "--device cpu" in known["command"]

    again = tokenfleet("--device", "cpu", "--out", "mine")
    assert again.exit_code == 2
    assert "never overwritten" in again.stderr


@needs_torch
def test_only_some_sections(tokenfleet, tmp_path):
    done = tokenfleet("--device", "cpu", "--out", "mine", "--only", "gemm,copy", "--seed", "3")
    assert done.exit_code == 0, done.stderr
    assert {row.point.operator for row in read(tmp_path / "mine").rows} == {"gemm", "copy"}


@needs_torch
def test_no_gpu_says_so(tokenfleet):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = tokenfleet("--out", "mine")
    assert done.exit_code == 2
    assert "sees no GPU" in done.stderr
