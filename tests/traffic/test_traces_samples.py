"""Files of every format: small ones of our own, read as they stand; public ones, where they are at hand."""

import numpy as np
import pytest
from trace_reading import BASICS, SAMPLES, same, whole

from sim.errors import TraceError
from sim.traffic.traces import Options, Report, checks, format_of, read_trace, write_trace

# Our own small samples, by hand: (prompts, answers, gaps between arrivals in ms).
GOLDEN = {
    "azure2023.csv": ("azure", [250, 311, 1800], [40, 120, 75], [0.0001, 2500]),
    "azure2024.csv": ("azure", [3100, 1250, 90], [4, 11, 17], [1999.5, 0.025]),
    "burstgpt.csv": ("burstgpt", [510, 990], [33, 204], [45_000]),
    "burstgpt3.csv": ("burstgpt", [820, 44, 52], [410, 21, 9], [51_000, 500]),
    "mooncake.jsonl": ("mooncake", [1000, 1500, 600], [7, 9, 1], [0, 3000.5]),
    "servegen.csv": ("servegen", [310, 5100], [95, 1600], [123.456]),
    "vidur.csv": ("vidur", [250, 311], [40, 120], [2500.1]),
    "inference_perf.jsonl": ("inference_perf", [250, 250, 450], [150, 150, 20], [10, 1500]),
    "per_request_lifecycle_metrics.json": ("inference_perf_requests", [12, 30], [5, 8], [250]),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_samples_are_read_as_they_stand(name):
    kind, prompt, output, gaps_ms = GOLDEN[name]
    assert format_of(SAMPLES / name).name == kind
    found = whole(SAMPLES / name)
    assert found.prompt_tokens.tolist() == prompt
    assert found.output_tokens.tolist() == output
    np.testing.assert_allclose(np.diff(found.time_ns) / 1e6, gaps_ms, atol=1e-8)


def test_burstgpt_tells_sessions_and_leaves_failures_out():
    report = Report()
    found = whole(SAMPLES / "burstgpt3.csv", report=report)
    assert found.session.tolist() == ["a-1", "a-1", ""]
    assert found.elapsed_s[:2].tolist() == [43.0, 2.5]
    assert np.isnan(found.elapsed_s[2])
    assert found.model.tolist() == ["GPT-4", "ChatGPT", "ChatGPT"]
    assert found.use_case.tolist() == ["Conversation log", "Conversation log", "API log"]
    assert dict(report.left_out) == {"failed requests (no response tokens)": 1}
    assert (report.num_rows, report.num_kept, report.num_changes) == (4, 3, 0)
    assert "1 failed requests (no response tokens) left out" in str(report)


def test_inference_perf_tells_prefixes_and_leaves_failures_out():
    found = whole(SAMPLES / "inference_perf.jsonl")
    assert found.prefix.tolist() == ["1", "1", ""]
    assert found.prefix_tokens.tolist() == [200, 200, 0]
    report = Report()
    # The report is in the order in which answers ended.
    found = whole(SAMPLES / "per_request_lifecycle_metrics.json", report=report)
    np.testing.assert_allclose(found.elapsed_s, [3.0, 0.5])
    assert report.left_out.total() == 1


# Totals of the public files (rows, prompt tokens, output tokens), counted with awk.
PUBLIC = {
    "azure2023/AzureLLMInferenceTrace_conv.csv": ("azure", 19_366, 22_361_870, 4_088_665),
    "azure2023/AzureLLMInferenceTrace_code.csv": ("azure", 8819, 18_059_974, 245_896),
    "mooncake/conversation_trace.jsonl": ("mooncake", 12_031, 144_793_823, 4_122_048),
    "vidur/splitwise_conv.csv": ("vidur", 19_366, 22_361_870, 4_088_665),
    "vidur/splitwise_code.csv": ("vidur", 8819, 18_059_974, 245_896),
    "vidur/arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv": ("vidur", 28_257, 73_131_321, 8_234_948),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_traces_are_told_and_read_whole(shared, tmp_path, name):
    path = shared / "data" / "traces" / name
    kind, *totals = PUBLIC[name]
    assert format_of(path).name == kind
    found = whole(path)
    assert [len(found), found.prompt_tokens.sum(), found.output_tokens.sum()] == totals
    # Any other timed format holds it as well.
    for other in ("parquet", "azure", "mooncake", "vidur"):
        write_trace(tmp_path / other, [found], other)
        again = whole(tmp_path / other)
        same(again, found, BASICS[1:])
        begin_ns = found.time_ns[0] if kind == "azure" and other in {"mooncake", "vidur"} else 0
        assert np.array_equal(again.time_ns, found.time_ns - begin_ns)
        if kind == "mooncake" and other == "parquet":
            assert again.hash_ids == found.hash_ids


def test_vidur_and_azure_tell_the_same_requests(shared):
    folder = shared / "data" / "traces"
    azure = whole(folder / "azure2023/AzureLLMInferenceTrace_conv.csv")
    vidur = whole(folder / "vidur/splitwise_conv.csv")
    same(azure, vidur, BASICS[1:])
    assert np.abs(azure.time_ns - azure.time_ns[0] - vidur.time_ns).max() < 1000


SECONDS = [(f"{n * 0.3:.1f}", n % 50 + 1) for n in range(3000)]


@pytest.mark.parametrize(
    ("name", "line", "factor", "said"),
    [
        ("mooncake", '{{"timestamp": {t}, "input_length": {n}, "output_length": 5}}', 1, "a second is too many"),
        ("burstgpt", "{t},m,{n},5,9,log", 1000 * 3600, "years; are they in a smaller unit"),
        ("vidur", "{t},{n},5", 1000 * 3600, "years; are they in a smaller unit"),
    ],
)
def test_a_unit_that_cannot_be_is_refused(tmp_path, name, line, factor, said):
    header = {"burstgpt": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"}
    header["vidur"] = "arrived_at,num_prefill_tokens,num_decode_tokens\n"
    path = tmp_path / "trace"
    rows = [line.format(t=float(t) * factor, n=n) for t, n in SECONDS]
    path.write_text(header.get(name, "") + "\n".join(rows) + "\n")
    for report in (Report(), Report(repair=True)):
        with pytest.raises(TraceError, match=said) as caught:
            list(read_trace(path, name, report=report))
        assert f"{path}:{len(rows) + (name in header)}  " in str(caught.value)
        assert "Say the unit, such as --set traffic.time_unit=s (s, ms or us)" in str(caught.value)
    found = whole(path, name, Options(time_unit="s"))
    assert np.ptp(found.time_ns) == pytest.approx(0.3 * 2999 * factor * 1e9)


def test_equal_rows_at_one_tick_are_requests_unless_most_are(tmp_path):
    row = '{{"timestamp": {}, "input_length": {}, "output_length": 5, "hash_ids": [1]}}\n'
    path = tmp_path / "trace"
    path.write_text("".join(row.format(n // 2 * 3000, 7) for n in range(checks.MIN_ROWS_DOUBLED - 2)))
    assert len(whole(path)) == checks.MIN_ROWS_DOUBLED - 2
    path.write_text("".join(row.format(n // 3 * 3000, 7) for n in range(300)))
    with pytest.raises(TraceError, match=r":2  the row repeats an earlier one, time and all"):
        whole(path)
    assert len(whole(path, report=Report(repair=True))) == 100
