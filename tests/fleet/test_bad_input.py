"""What a user can get wrong: each mistake is one clear message and exit code 2; nothing is simulated or written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sim.cli import app

LOAD = """\
model: llama-3.1-8b
hardware: h100-sxm-80gb
horizon: 1 min
traffic:
  kind: open_loop
  rate_per_s: 4
  input_sequence_length: 256
  output_sequence_length: 16
fleet:
  pools:
    main: {replicas: 1}
"""
REPLAY = """\
model: llama-3.1-8b
hardware: h100-sxm-80gb
traffic: {kind: trace, format: azure, path: trace.csv}
fleet: {pools: {main: {replicas: 1}}}
"""
HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
ROW = "2023-11-16 08:15:46.1234500,250,41\n"


def contents(folder):
    """Every file and folder below, with its bytes."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Run a scenario that is wrong in a folder of such files; return what was said, line by line."""
    monkeypatch.chdir(tmp_path)

    def run(files, *arguments):
        for name, content in files.items():
            Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        before = contents(tmp_path)
        result = CliRunner().invoke(app, ["run", *arguments])
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        assert contents(tmp_path) == before
        return result.stderr.splitlines()

    return run


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("model: llama-3.1-8b", "modle: llama-3.1-8b", "load.yaml:1  modle: unknown field. Did you mean model?"),
        ("rate_per_s: 4", "rate_per_sec: 4", "rate_per_sec: unknown field. Did you mean rate_per_s?"),
        ("horizon: 1 min", "horizon: 1 GB", 'load.yaml:3  horizon: "1 GB" is an amount of data; expected a time'),
        ("rate_per_s: 4", "rate_per_s: 4 s", 'load.yaml:6  traffic.rate_per_s: "4 s" is a time; expected a rate'),
        ("rate_per_s: 4", "rate_per_s: -4", "load.yaml:6  traffic.rate_per_s: must be > 0, got -4"),
        ("rate_per_s: 4", "rate_per_s: .nan", "load.yaml:6  traffic.rate_per_s: "),
        ("length: 256", "length: .nan", "load.yaml:7  traffic.input_sequence_length: "),
        ("length: 256", "length: -1", "load.yaml:7  traffic.input_sequence_length: "),
        ("replicas: 1", "replicas: 0", "load.yaml:11  fleet.pools.main.replicas: must be > 0, got 0"),
        (
            "replicas: 1",
            "tensor_parallel_size: 3",
            "fleet.pools.main.tensor_parallel_size: must divide the 32 attention heads of llama-3.1-8b, got 3",
        ),
        ("replicas: 1", "max_model_len: 1000000", "main.max_model_len: must be 1 to 131072, the context length"),
        ("replicas: 1", "num_gpu_blocks_override: 1", "fleet.pools.main.num_gpu_blocks_override: must be >= 2, got 1"),
        (
            "replicas: 1",
            "replicas: 1, pipeline_parallel_size: 2, async_scheduling: true",
            "fleet.pools.main.async_scheduling: must be false where pipeline_parallel_size is 2: as many steps",
        ),
        (
            "replicas: 1",
            "batch_policy: prefill_first, speculative_config: {method: ngram, num_speculative_tokens: 3}",
            "fleet.pools.main.batch_policy: must be vllm_v1 where speculative_config is given, got prefill_first",
        ),
        (
            "replicas: 1",
            "pipeline_parallel_size: 2, speculative_config: {method: ngram, num_speculative_tokens: 3}",
            "fleet.pools.main.speculative_config: needs one pipeline stage, got 2",
        ),
        ("model: llama-3.1-8b", "model: llama-3.1-8", "no entry llama-3.1-8 in models. Did you mean llama-3.1-8b?"),
        ("hardware: h100", "hardware: h10", "Did you mean h100-sxm-80gb?"),
        ("kind: open_loop", "kind: open", "load.yaml:5  traffic.kind: "),
    ],
)
def test_a_wrong_scenario(refused, old, new, said):
    assert LOAD.count(old) == 1
    lines = refused({"load.yaml": LOAD.replace(old, new)}, "load.yaml")
    assert len([line for line in lines if said in line]) == 1, lines


def test_each_mistake_has_its_own_line(refused):
    wrong = LOAD.replace("model:", "modle:").replace("1 min", "1 GB").replace("rate_per_s: 4", "rate_per_s: -4")
    lines = refused({"load.yaml": wrong}, "load.yaml")
    assert len(lines) > 2
    for line, path in ((1, "modle"), (3, "horizon"), (6, "traffic.rate_per_s")):
        assert sum(f"load.yaml:{line}  {path}: " in said for said in lines) == 1


def test_a_model_that_does_not_fit_says_by_how_much_and_what_would(refused):
    (line,) = refused({"load.yaml": LOAD.replace("3.1-8b", "3.1-70b")}, "load.yaml")
    assert "llama-3.1-70b (bf16) does not fit 1 x h100-sxm-80gb: a GPU would hold 141.1 GB of weights" in line
    assert "It is short of 66.4 GB a GPU. Try tensor_parallel_size=4 or weights=" in line


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        ("", f"trace.csv:1  expected the header {HEADER.strip()}, got nothing"),
        (HEADER, "trace.csv  the trace has no requests"),
        ("time,prompt,answer\n", "trace.csv:1  expected the header"),
        (HEADER + ROW + "2023-11-16 08:15:47.1", "trace.csv:3  expected 3 values, got 1; is the row cut off?"),
        (HEADER + ROW + ROW.replace(":46", ":45"), "trace.csv:3  the time goes back by 1 s; sort the trace by time"),
        (HEADER + ROW.replace("250", "NaN"), "trace.csv:2  ContextTokens must be a whole number from 1 on, got NaN"),
        (HEADER + ROW.replace("41", "nan"), "trace.csv:2  GeneratedTokens must be a whole number from 1 on, got nan"),
        (HEADER + ROW.replace("41", "0"), "trace.csv:2  GeneratedTokens must be a whole number from 1 on, got 0"),
        (HEADER + ROW.replace("2023-11-16", "soon"), "trace.csv:2  TIMESTAMP must be a UTC time"),
        (b"\xff\xfe\x00", "not UTF-8 text: byte 0xff"),
        (b"\x1f\x8b\x08\x00cut", "trace.csv  the gzip file is damaged or cut off"),
    ],
)
def test_a_wrong_trace(refused, trace, said):
    line, *more = refused({"replay.yaml": REPLAY, "trace.csv": trace}, "replay.yaml")
    assert said in line
    # Rows that can be repaired are told so, once.
    assert ["repair: true" in each for each in more] == [True] * len(more)
    assert len(more) <= 1


def test_a_trace_without_lengths_names_them(refused):
    trace = '{"timestamp": 0, "input_length": NaN, "output_length": 3}\n{"timestamp": 1, "input_length": 3}\n'
    arguments = ("replay.yaml", "--set", "traffic.format=mooncake")
    lines = refused({"replay.yaml": REPLAY, "trace.csv": trace}, *arguments)
    assert "trace.csv:1  input_length must be a whole number from 1 on, got NaN" in lines[0]
    assert "trace.csv:2  output_length is missing" in lines[1]


def test_a_trace_that_is_not_there_or_is_a_folder(refused, tmp_path):
    (line,) = refused({"replay.yaml": REPLAY}, "replay.yaml")
    assert "trace.csv  cannot be read: No such file or directory" in line
    (tmp_path / "trace.csv").mkdir()
    (line,) = refused({}, "replay.yaml")
    assert "trace.csv  cannot be read: Is a directory" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.yaml"], "absent.yaml  cannot be read: No such file or directory"),
        (["."], "no entry . in scenarios"),
        (["./"], "./  cannot be read: Is a directory"),
        (["meridian-2"], "no entry meridian-2 in scenarios. Did you mean meridian-1?"),
        (["load.yaml", "--override", "fast"], "load.yaml  no override of that name: fast"),
        (["load.yaml", "--set", "fleet.pools.man.replicas=2"], "fleet.pools.man"),
        (["load.yaml", "--set", "fleet.pools.main.replicas=two"], "fleet.pools.main.replicas"),
        (["azure-conv-2023"], "traffic.path: missing"),
        (["bytes.yaml"], "bytes.yaml:1  not UTF-8 text"),
        (["open.yaml"], "open.yaml:1"),
    ],
)
def test_a_scenario_or_a_change_that_is_not_there(refused, arguments, said):
    files = {"load.yaml": LOAD, "bytes.yaml": b"\xff\xfe\x00", "open.yaml": "tiers: {free: ["}
    (line,) = refused(files, *arguments)
    assert said in line


@pytest.mark.parametrize("out", ["taken", "taken/below"])
def test_a_folder_that_cannot_be_written(refused, out):
    (line,) = refused({"load.yaml": LOAD, "taken": "a file in the folder's place"}, "load.yaml", "--out", out)
    assert f"{out}  cannot write there: " in line
    assert "--out" in line


def test_the_command_itself_ends_with_2_and_says_so_on_standard_error(tmp_path, repository):
    (tmp_path / "load.yaml").write_text(LOAD.replace("rate_per_s: 4", "rate_per_s: -4"))
    command = [sys.executable, "-m", "sim", "run", "load.yaml"]
    env = os.environ | {"PYTHONPATH": str(repository)}
    ended = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "SpecError: load.yaml:6  traffic.rate_per_s: must be > 0, got -4\n"
    assert [path.name for path in tmp_path.iterdir()] == ["load.yaml"]
