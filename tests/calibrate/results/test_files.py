"""Each tool's file gives the values that its definitions say, under our names and in our units."""

import json
from pathlib import Path

import pytest

from sim.calibrate.results.files import read_files
from sim.errors import SpecError

DATA = Path(__file__).parent / "data"


def read(name):
    return read_files([DATA / name])


def changed(tmp_path, name, change):
    """A sample with something changed."""
    data = json.loads((DATA / name).read_text())
    change(data)
    path = tmp_path / name
    path.write_text(json.dumps(data))
    return path


def test_vllm():
    (found,) = read("vllm.json")
    assert (found.engine, found.model, found.date) == ("vLLM", "meta-llama/Llama-3.1-8B-Instruct", "2026-03-14")
    assert (found.input_tokens, found.output_tokens, found.load) == (1024.0, 128.0, "concurrency=16")
    assert found.values == {
        "ttft_mean": 150.0,
        "ttft_p50": 140.0,
        "ttft_p90": 190.0,
        "ttft_p99": 240.0,
        "tpot_mean": 36.0,
        "tpot_p50": 35.5,
        "tpot_p90": 38.0,
        "tpot_p99.9": 41.0,
        "itl_mean": 36.0,
        "itl_p50": 20.0,
        "itl_p99": 160.0,
        "e2e_mean": 4722.0,
        "e2e_p50": 4650.0,
        "e2e_p99": 5450.0,
        "output_throughput": 409.6,
        "request_throughput": 3.2,
        "total_throughput": 3686.4,
    }
    assert found.notes == []


@pytest.mark.parametrize(
    ("asked", "load", "note"),
    [
        ({"max_concurrency": None}, "inf rate (all 200 prompts at once)", None),
        ({"max_concurrency": 200}, "inf rate (all 200 prompts at once)", None),
        ({"request_rate": 2.5, "max_concurrency": None}, "rate=2.5 req/s", None),
        ({"request_rate": 2.5}, "rate=2.5 req/s", "max_concurrency=16"),
        ({"request_rate": 2.5, "burstiness": 0.5, "max_concurrency": None}, "rate=2.5 req/s", "burstiness=0.5"),
        ({"request_rate": "trace", "max_concurrency": None}, None, "request_rate=trace"),
    ],
)
def test_vllm_load(tmp_path, asked, load, note):
    (found,) = read_files([changed(tmp_path, "vllm.json", lambda data: data.update(asked))])
    assert found.load == load
    assert found.notes == ([note] if note else [])


def test_vllm_notes_failures_and_spread_of_lengths(tmp_path):
    more = {"failed": 4, "input_lens": [100, 2000], "output_lens": [128, 128]}
    (found,) = read_files([changed(tmp_path, "vllm.json", lambda data: data.update(more))])
    assert found.notes == ["failed=4", "isl 100 to 2000"]


def test_gaps_between_chunks_are_no_gaps_between_tokens(tmp_path):
    path = changed(tmp_path, "vllm.json", lambda data: data.update(spec_decode_acceptance_rate=0.7))
    (found,) = read_files([path])
    assert not any(name.startswith("itl") for name in found.values)
    assert "tpot_mean" in found.values
    assert "speculative" in found.notes[0]


def test_sglang_one_a_line():
    by_load = {one.load: one for one in read("sglang.jsonl")}
    assert list(by_load) == ["rate=4 req/s", "concurrency=32", "inf rate (all 100 prompts at once)"]
    found = by_load["concurrency=32"]
    assert (found.engine, found.version, found.model, found.tensor_parallel_size) == (
        "SGLang",
        "0.5.4",
        "Qwen/Qwen3-32B",
        2,
    )
    assert (found.input_tokens, found.output_tokens, found.line) == (512.0, 101.0, 2)
    assert found.values["e2e_mean"] == 2020.0
    assert found.values["itl_p95"] == 36.0
    assert found.values["total_throughput"] == 2452.0


def test_guidellm_each_strategy():
    found = read("guidellm.json")
    assert [one.load for one in found] == [
        "concurrency=1",
        "concurrency=8",
        "rate=1.5 req/s",
        "rate=0.75 req/s",
        "concurrency=256",
    ]
    assert found[1].notes == ["incomplete=8"]
    assert found[3].notes == ["requests at equal intervals"]
    values = found[0].values
    assert (values["ttft_mean"], values["ttft_p50"]) == (80.0, 72.0)
    assert (values["tpot_mean"], values["tpot_p99.9"]) == (16.0, pytest.approx(28.8))  # its inter-token latency
    assert values["e2e_mean"] == pytest.approx(3280.0)  # seconds in the file
    assert not any(name.startswith("itl") for name in values)  # it keeps no single gaps
    assert found[0].model == "meta-llama/Llama-3.1-70B-Instruct"


@pytest.mark.parametrize("name", ["aiperf.json", "aiperf.csv"])
def test_aiperf_calls_tpot_inter_token_latency(name):
    (found,) = read(name)
    assert (found.values["tpot_mean"], found.values["ttft_p50"], found.values["e2e_mean"]) == (10.0, 90.0, 3100.0)
    assert (found.values["output_throughput"], found.values["request_throughput"]) == (602.0, 2.0)
    assert (found.input_tokens, found.output_tokens, found.num_requests) == (300.0, 301.0, 64)


def test_aiperf_json_knows_its_load_and_chunks():
    (found,) = read("aiperf.json")
    assert (found.load, found.model, found.date) == ("concurrency=6", "Qwen/Qwen3-32B", "2026-05-02")
    assert found.values["itl_mean"] == 10.2
    (table,) = read("aiperf.csv")
    assert (table.load, table.model) == (None, None)


def test_aiperf_unit_counts(tmp_path):
    def in_seconds(data):
        data["time_to_first_token"] = {"unit": "s", "avg": 0.1}

    (found,) = read_files([changed(tmp_path, "aiperf.json", in_seconds)])
    assert found.values["ttft_mean"] == pytest.approx(100.0)


def test_genai_perf():
    (found,) = read("genai_perf.json")
    assert (found.tool, found.load, found.model) == ("genai-perf", "rate=5 req/s", "llama-3.1-8b")
    assert found.values["tpot_mean"] == 10.0


def test_inference_perf_is_in_seconds():
    (found,) = read("inference_perf.json")
    assert (found.load, found.input_tokens, found.output_tokens) == ("rate=5 req/s", 500.0, 101.0)
    assert found.values["ttft_mean"] == pytest.approx(100.0)
    assert found.values["tpot_p50"] == pytest.approx(19.0)
    assert found.values["itl_mean"] == pytest.approx(20.1)
    assert found.values["e2e_p99.9"] == pytest.approx(3360.0)
    assert found.notes == ["failed=3"]


def test_inference_perf_before_0_7_and_over_several_stages(tmp_path):
    def older(data):
        del data["benchmark_time_seconds"]
        del data["load_summary"]["requested_rate"], data["load_summary"]["achieved_rate"]
        successes = data["successes"]
        successes["prompt_len"] = successes.pop("prompt_tokens")["total"]
        successes["output_len"] = successes.pop("output_tokens")

    (found,) = read_files([changed(tmp_path, "inference_perf.json", older)])
    assert (found.load, found.input_tokens, found.output_tokens) == (None, 500.0, 101.0)


def test_inference_perf_with_totals_alone(tmp_path):
    def totals(data):
        data["successes"] |= {"prompt_tokens": {"total": 300000}, "output_tokens": {"total": 60600}}

    (found,) = read_files([changed(tmp_path, "inference_perf.json", totals)])
    assert (found.input_tokens, found.output_tokens) == (500.0, 101.0)


def test_tokens_counted_by_chunks_are_seen(tmp_path):
    def halve(data):
        for name in ("time_per_output_token", "inter_token_latency"):
            latency = data["successes"]["latency"][name]
            data["successes"]["latency"][name] = {key: value / 2 for key, value in latency.items()}

    (found,) = read_files([changed(tmp_path, "inference_perf.json", halve)])
    assert found.values["tpot_mean"] == pytest.approx((2100 - 100) / 100)
    assert not any(name.startswith("itl") for name in found.values)
    assert "DERIVED" in found.notes[-1]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "", "is empty"),
        ("a.json", "{", "is no JSON"),
        ("a.json", "[1, 2]", "no known tool"),
        ("a.json", '{"hello": 1}', "no known tool"),
        ("a.jsonl", '{"completed": 1, "mean_e2e_latency_ms": 1}\nnot json\n', "2  is no JSON"),
        ("a.json", '{"completed": 1, "model_id": "m", "request_throughput": 0.0}', "no measured latency"),
        ("a.json", '{"completed": 1, "model_id": 3, "request_throughput": "x"}', "model_id: expected a text, got 3"),
        ("a.json", '{"completed": 1, "model_id": "m", "request_throughput": "x"}', "expected a number, got 'x'"),
        ("a.json", '{"completed": 1, "model_id": "m", "request_throughput": 1, "ramp_up_strategy": "linear"}', "ramps"),
        ("a.json", '{"metadata": {"guidellm_version": "0.8"}, "benchmarks": 3}', "benchmarks: expected a list"),
        (
            "a.json",
            '{"metadata": {"guidellm_version": "0.8"}, "benchmarks": [{"metrics": {"request_latency": 3}}]}',
            "benchmarks[0].metrics.request_latency: expected an object, got 3",
        ),
        ("a.json", '{"aiperf_version": "1", "request_latency": {"unit": "days", "avg": 1}}', 'unit "days"'),
        ("a.json", '{"aiperf_version": "1", "was_cancelled": true}', "cancelled"),
        ("a.csv", "Metric,avg\nRequest Latency (ms),fast\n", '2  "fast" is no number'),
        ("a.json", '{"load_summary": {}, "successes": {"latency": []}}', "expected an object"),
    ],
)
def test_a_broken_file_says_what_is_wrong(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SpecError) as raised:
        read_files([path])
    assert message in str(raised.value)
    assert name in str(raised.value)


def test_all_broken_files_come_at_once(tmp_path):
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00\x01")
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(SpecError) as raised:
        read_files([tmp_path / "a.json", tmp_path / "b.json", DATA / "vllm.json", tmp_path / "c.json"])
    assert len(raised.value.problems) == 3
