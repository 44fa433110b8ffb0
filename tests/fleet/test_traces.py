"""Replayed traces: every request of the file comes in, at its time and with its tokens, and comes to one ending.

The sums are taken here straight from the files. The two public traces are not part of the checkout; without them, the
small ones in data/ stand in.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from recorder import Recorder

import sim
from sim.metrics.records import COMPLETED, ENDINGS, IN_FLIGHT, REFUSED

DATA = Path(__file__).parent / "data"
PUBLIC = {
    "azure-conv-2023": "azure2023/AzureLLMInferenceTrace_conv.csv",
    "mooncake-conversation": "mooncake/conversation_trace.jsonl",
}
SMALL = {"azure-conv-2023": "azure.csv", "mooncake-conversation": "mooncake.jsonl"}
NUM_REQUESTS = {"azure-conv-2023": 19_366, "mooncake-conversation": 12_031}


@dataclass
class Rows:
    """A trace as read here: times since the first request [ns], prompts, answers."""

    ns: np.ndarray
    prompt: np.ndarray
    output: np.ndarray


def read_azure(path):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    ns = np.array([row["TIMESTAMP"].removesuffix("+00:00") for row in rows], dtype="datetime64[ns]").astype(np.int64)
    return Rows(
        ns - ns[0], *(np.array([int(row[name]) for row in rows]) for name in ("ContextTokens", "GeneratedTokens"))
    )


def read_mooncake(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    ns = np.array([row["timestamp"] for row in rows]) * 1_000_000
    return Rows(ns - ns[0], *(np.array([row[name] for row in rows]) for name in ("input_length", "output_length")))


READERS = {"azure-conv-2023": read_azure, "mooncake-conversation": read_mooncake}


def found(name, size, shared):
    """The file of a trace; skips where a public one is absent."""
    path = DATA / SMALL[name] if size == "small" else shared / "data" / "traces" / PUBLIC[name]
    if not path.is_file():
        pytest.skip(f"needs the public trace {path.name}")
    return path


@pytest.fixture(scope="module", params=["small", "public"])
def size(request):
    return request.param


@pytest.fixture(scope="module", params=sorted(READERS))
def replay(request, size):
    """A trace as read here, and played: (name, rows, recorder)."""
    shared = request.getfixturevalue("shared") if size == "public" else None
    path = found(request.param, size, shared)
    scenario = sim.load(request.param, set={"traffic.path": str(path)})
    return request.param, READERS[request.param](path), Recorder(scenario)


def test_every_request_comes_in_at_its_time_with_its_tokens(replay, size):
    name, rows, recorder = replay
    records = np.sort(recorder.records, order="user")
    if size == "public":
        assert len(rows.ns) == NUM_REQUESTS[name]
    assert np.array_equal(records["user"], np.arange(len(rows.ns)))
    assert np.array_equal(records["arrived_s"], rows.ns / 1e9)
    assert np.array_equal(records["prompt_tokens"], rows.prompt)
    assert np.array_equal(records["requested_tokens"], rows.output)


def test_in_is_completed_and_the_other_endings(replay):
    _, rows, recorder = replay
    found, longest = recorder.result["sim"]["endings"], recorder.built.profiles["main"].max_model_len
    too_long = rows.prompt + rows.output > longest
    assert found["num_requests"] == recorder.result["num_prompts"] == len(rows.ns)
    assert sum(found[f"num_{ending}"] for ending in ENDINGS) == len(rows.ns)
    assert found["num_refused"] == recorder.result["failed"] == np.count_nonzero(too_long)
    assert found["num_completed"] == recorder.result["completed"] == np.count_nonzero(~too_long)


def test_tokens_are_the_sums_of_the_file(replay):
    _, rows, recorder = replay
    answered = rows.prompt + rows.output <= recorder.built.profiles["main"].max_model_len
    assert recorder.result["total_input_tokens"] == rows.prompt[answered].sum()
    assert recorder.result["total_output_tokens"] == rows.output[answered].sum()
    assert recorder.records["prompt_tokens"].sum() == rows.prompt.sum()
    expected = recorder.result["sim"]["expected"]
    assert (expected["requests"], expected["prompt_tokens"], expected["output_tokens"]) == (
        len(rows.ns), rows.prompt.sum(), rows.output.sum(),
    )  # fmt: skip


def test_the_run_ends_with_its_last_answer(replay):
    _, rows, recorder = replay
    assert recorder.result["duration"] == np.nanmax(recorder.records["end_s"])
    assert recorder.result["duration"] > rows.ns[-1] / 1e9


def test_the_azure_trace_is_answered_in_full(shared):
    rows = read_azure(found("azure-conv-2023", "public", shared))
    path = str(found("azure-conv-2023", "public", shared))
    result = sim.run(sim.load("azure-conv-2023", set={"traffic.path": path})).result
    assert result["completed"] == 19_366
    assert (result["total_input_tokens"], result["total_output_tokens"]) == (rows.prompt.sum(), rows.output.sum())


@pytest.mark.parametrize("name", sorted(READERS))
@pytest.mark.parametrize("rate_scale", [0.5, 2.0, 3.0])
def test_rate_scale_plays_the_same_requests_faster(name, rate_scale):
    path = DATA / SMALL[name]
    rows = READERS[name](path)
    recorder = Recorder(sim.load(name, set={"traffic.path": str(path), "traffic.rate_scale": rate_scale}))
    records = np.sort(recorder.records, order="user")
    # Times stay whole nanoseconds.
    assert np.array_equal(records["arrived_s"], np.rint(rows.ns / rate_scale) / 1e9)
    assert np.array_equal(records["prompt_tokens"], rows.prompt)
    assert np.array_equal(records["requested_tokens"], rows.output)


def test_the_override_double_is_a_rate_scale_of_two():
    path = {"traffic.path": str(DATA / "azure.csv")}
    double = sim.load("azure-conv-2023", override=["double"], set=path)
    assert double.digest == sim.load("azure-conv-2023", set=path | {"traffic.rate_scale": 2}).digest
    assert sim.run(double).result["num_prompts"] == 60


def test_what_comes_after_the_horizon_is_left_out():
    path = DATA / "azure.csv"
    rows = read_azure(path)
    horizon_s = rows.ns[20] / 1e9  # so request 20 is the first that is too late
    changes = {"traffic.path": str(path), "horizon": float(horizon_s)}
    result = sim.run(sim.load("azure-conv-2023", set=changes)).result
    assert (result["num_prompts"], result["completed"]) == (20, 20)
    assert result["sim"]["expected"]["prompt_tokens"] == rows.prompt[:20].sum()


def test_a_run_in_is_played_and_not_measured():
    path = DATA / "azure.csv"
    rows = read_azure(path)
    run_in_s = float(rows.ns[30] / 1e9)
    recorder = Recorder(sim.load("azure-conv-2023", set={"traffic.path": str(path), "run_in": run_in_s}))
    assert len(recorder.records) == 60
    assert recorder.result["num_prompts"] == np.count_nonzero(rows.ns >= rows.ns[30]) == 30
    assert recorder.result["total_output_tokens"] == rows.output[30:].sum()


def test_without_drain_what_is_not_done_is_in_flight():
    path = DATA / "azure.csv"
    rows = read_azure(path)
    changes = {"traffic.path": str(path), "horizon": float(rows.ns[40] / 1e9), "drain": False}
    recorder = Recorder(sim.load("azure-conv-2023", set=changes))
    endings = np.bincount(recorder.records["ending"], minlength=len(ENDINGS))
    assert endings[COMPLETED] + endings[IN_FLIGHT] == 40
    assert min(endings[COMPLETED], endings[IN_FLIGHT]) > 0
    assert recorder.result["duration"] == changes["horizon"]


def test_a_request_longer_than_the_context_is_refused_and_counted():
    path = {"traffic.path": str(DATA / "mooncake.jsonl")}
    recorder = Recorder(sim.load("mooncake-conversation", set=path))
    refused = recorder.records[recorder.records["ending"] == REFUSED]
    assert refused["prompt_tokens"].tolist() == [140_000]
    assert refused["output_tokens"].tolist() == [0]
