"""Readers of traces: exact on good files, precise about bad ones."""

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.errors import TraceError
from sim.traffic import build
from sim.traffic.traces import MAX_PROBLEMS, MAX_TOKENS, files, read_trace

# Synthetic samples: the formats are those of the public traces, the numbers are made up.
AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 08:15:46.1234500,250,40
2023-11-16 08:15:46.1234501,311,120
2023-11-16 08:15:50.9000000,1800,75
"""
MOONCAKE = """{"timestamp": 0, "input_length": 1000, "output_length": 7, "hash_ids": [1, 2]}
{"timestamp": 0, "input_length": 1500, "output_length": 9, "hash_ids": [1, 2, 3]}
{"timestamp": 3000.5, "input_length": 600, "output_length": 1, "hash_ids": [1, 9]}
"""
GOOD = {"azure": AZURE, "mooncake": MOONCAKE}


@pytest.fixture
def written(tmp_path):
    """A function that writes a file and returns its path."""

    def write(content, name="trace"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def blocks(path, trace_format):
    return list(read_trace(path, trace_format))


def times(path, trace_format):
    return np.concatenate([block.time_ns for block in blocks(path, trace_format)]).tolist()


def message(path, trace_format):
    with pytest.raises(TraceError) as caught:
        blocks(path, trace_format)
    return str(caught.value)


def test_azure_rows_are_read_to_the_last_digit(written):
    (block,) = blocks(written(AZURE), "azure")
    assert (block.time_ns - block.time_ns[0]).tolist() == [0, 100, 4_776_550_000]
    assert str(np.datetime64(int(block.time_ns[0]), "ns")) == "2023-11-16T08:15:46.123450000"
    assert block.prompt_tokens.tolist() == [250, 311, 1800]
    assert block.output_tokens.tolist() == [40, 120, 75]


def test_mooncake_rows_and_their_blocks_are_read(written):
    (block,) = blocks(written(MOONCAKE), "mooncake")
    assert block.time_ns.tolist() == [0, 0, 3_000_500_000]
    assert block.hash_ids == [[1, 2], [1, 2, 3], [1, 9]]


@pytest.mark.parametrize("trace_format", GOOD)
def test_other_line_ends_blank_lines_and_gzip_make_no_difference(written, trace_format):
    good = GOOD[trace_format]
    expected = times(written(good), trace_format)
    for same in (
        good.replace("\n", "\r\n"),
        good + "\n \n",
        good.rstrip("\n"),
        "\ufeff" + good,
        gzip.compress(good.encode()),
    ):
        assert times(written(same), trace_format) == expected


def test_iso_times_and_utc_marks_are_read(written):
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10T00:00:00.000500+00:00,2,3\n2024-05-10 00:00:01Z,2,3\n"
    (block,) = blocks(written(text), "azure")
    assert np.diff(block.time_ns).tolist() == [999_500_000]


AZURE_ROWS = {
    "2023-11-16 08:15:51,12": "expected 3 values, got 2; is the row cut off?",
    "2023-11-16 08:15:51,12,3,4": "expected 3 values, got 4",
    "": "expected a request, got a blank line",
    "2023-11-16 08:15:51,NaN,3": "ContextTokens must be a whole number from 1 on, got NaN",
    "2023-11-16 08:15:51,12,-3": "GeneratedTokens must be a whole number from 1 on, got -3",
    "2023-11-16 08:15:51,0,3": "ContextTokens must be a whole number from 1 on, got 0",
    "2023-11-16 08:15:51,12,1.5": "GeneratedTokens must be a whole number from 1 on, got 1.5",
    "2023-11-16 08:15:51,12,": "GeneratedTokens must be a whole number from 1 on, got nothing",
    "2023-11-16 08:15:51,99999999999,3": "got 99999999999",
    "yesterday,12,3": 'TIMESTAMP must be a UTC time such as 2023-11-16 08:00:00.1234500, got "yesterday"',
    "2023-11-16 08:15:51+02:00,12,3": "TIMESTAMP must be a UTC time",
    "2023-02-30 08:15:51,12,3": "TIMESTAMP must be a UTC time",
    "9999-01-01 00:00:00,12,3": "TIMESTAMP must be a UTC time",
    "2023-11-16 08:15:49,12,3": "the time goes back by 1.9 s; sort the trace by time",
}
MOONCAKE_ROWS = {
    '{"timestamp": 4000, "input_length": 5, "output_len': "not a JSON object",
    "[1, 2]": "expected a JSON object, got [1, 2]",
    '{"timestamp": 4000, "input_length": 5}': "output_length is missing; the row has timestamp, input_length",
    '{"timestamp": NaN, "input_length": 5, "output_length": 5}': "timestamp must be a time from 0 on [ms], got NaN",
    '{"timestamp": -1, "input_length": 5, "output_length": 5}': "timestamp must be a time from 0 on [ms], got -1",
    '{"timestamp": "5", "input_length": 5, "output_length": 5}': 'timestamp must be a time from 0 on [ms], got "5"',
    '{"timestamp": 4000, "input_length": 0, "output_length": 5}': "input_length must be a whole number from 1 on",
    '{"timestamp": 4000, "input_length": 5, "output_length": 2.5}': "output_length must be a whole number",
    '{"timestamp": 4000, "input_length": true, "output_length": 5}': "input_length must be a whole number",
    '{"timestamp": 4000, "input_length": 5, "output_length": null}': "output_length must be a whole number",
    '{"timestamp": 4000, "input_length": 5, "output_length": 5, "hash_ids": [1, "a"]}': "hash_ids must be a list",
    '{"timestamp": 4000, "input_length": 5, "output_length": 5, "hash_ids": [-1]}': "hash_ids must be a list",
    '{"timestamp": 2000, "input_length": 5, "output_length": 5}': "the time goes back by 1.0005 s",
}
WRONG = [("azure", *item) for item in AZURE_ROWS.items()] + [("mooncake", *item) for item in MOONCAKE_ROWS.items()]


@pytest.mark.parametrize(("trace_format", "row", "says"), WRONG)
def test_a_wrong_row_is_named_by_file_and_line(written, trace_format, row, says):
    good = GOOD[trace_format]
    # A good row follows, so that a blank one is seen to be in the middle.
    path = written(good + row + "\n" + good.splitlines()[-1] + "\n")
    problem, *_ = message(path, trace_format).splitlines()
    assert problem.startswith(f"{path}:{len(good.splitlines()) + 1}  ")
    assert says in problem


def test_all_wrong_rows_are_named_up_to_a_limit(written):
    path = written(AZURE + "x,1,1\n" * 3)
    assert [line.split("  ")[0] for line in message(path, "azure").splitlines()] == [f"{path}:{i}" for i in (5, 6, 7)]
    path = written(AZURE + "x,1,1\n" * 100)
    assert len(message(path, "azure").splitlines()) == MAX_PROBLEMS


def test_files_that_are_no_traces_are_refused(written, tmp_path):
    head = "TIMESTAMP,ContextTokens,GeneratedTokens"
    assert f"expected the header {head}, got nothing" in message(written(""), "azure")
    assert f'{head}, got "a,b,c"' in message(written("a,b,c\n1,2,3\n"), "azure")
    assert "the trace has no requests" in message(written(head + "\n"), "azure")
    assert "the trace has no requests" in message(written(""), "mooncake")
    assert "cannot be read: No such file or directory" in message(tmp_path / "absent", "azure")
    assert "cannot be read: Is a directory" in message(tmp_path, "azure")
    assert "not UTF-8 text: byte 0xff" in message(written(AZURE.encode() + b"\xff\xfe"), "azure")
    compressed = gzip.compress(AZURE.encode() * 50)
    assert "the gzip file is damaged or cut off" in message(written(compressed[:60]), "azure")
    assert "the gzip file is damaged or cut off" in message(written(compressed[:30] + b"\0" * 50), "azure")


@pytest.mark.parametrize("trace_format", GOOD)
@given(
    content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "ignore")))
)
def test_any_content_is_read_or_refused(trace_format, content):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        for whole in (content, GOOD[trace_format].encode() + content, gzip.compress(b"x")[:3] + content):
            path.write_bytes(whole)
            num_rows, refused = 0, ""
            try:
                num_rows = sum(len(block.time_ns) for block in blocks(path, trace_format))
            except TraceError as error:
                refused = str(error)
            assert num_rows >= 1 or str(path) in refused


lengths = st.integers(1, MAX_TOKENS)
rows = st.lists(st.tuples(st.integers(0, 10**6), lengths, lengths), min_size=1, max_size=20, unique=True).map(sorted)


@given(drawn=rows, chunk_bytes=st.integers(1, 200), bad=st.integers(0, 19), digits=st.sampled_from([0, 3, 7]))
def test_good_rows_come_back_and_one_bad_row_is_found(drawn, chunk_bytes, bad, digits):
    unit = 10 ** (9 - digits)
    start = np.datetime64("2023-11-16T18:00:00", "ns")
    azure = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for ticks, prompt, output in drawn:
        stamp = str(start + np.timedelta64(ticks * unit, "ns")).replace("T", " ")[: 20 + digits].rstrip(".")
        azure.append(f"{stamp},{prompt},{output}")
    keys = ("timestamp", "input_length", "output_length")
    mooncake = [json.dumps(dict(zip(keys, row, strict=True))) for row in drawn]
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK_BYTES", chunk_bytes)
        path = Path(folder) / "trace"
        for trace_format, lines, first, tick in (("azure", azure, 1, unit), ("mooncake", mooncake, 0, 10**6)):
            path.write_text("\n".join(lines))
            found = blocks(path, trace_format)
            time_ns = np.concatenate([block.time_ns for block in found])
            assert (np.diff(time_ns) // tick).tolist() == np.diff([row[0] for row in drawn]).tolist()
            assert np.concatenate([block.prompt_tokens for block in found]).tolist() == [row[1] for row in drawn]
            assert np.concatenate([block.output_tokens for block in found]).tolist() == [row[2] for row in drawn]
            at = first + bad % len(drawn)
            path.write_text("\n".join([*lines[:at], lines[at][:-3] + "-", *lines[at + 1 :]]))
            assert message(path, trace_format).splitlines()[0].startswith(f"{path}:{at + 1}  ")


def replayed(scenario, path, trace_format, **more):
    traffic = {"kind": "trace", "format": trace_format, "path": str(path), "tier": "plus", **more}
    return build(scenario(traffic=traffic, run_in=0))


def test_a_trace_is_replayed_as_it_was(scenario, written):
    source = replayed(scenario, written(AZURE), "azure", rate_scale=2.0)
    ((rows, segments),) = source.chunks()
    assert len(segments) == 0
    assert rows["t_s"].tolist() == [0.0, 5e-8, 2.388275]
    assert rows["user"].tolist() == [0, 1, 2]
    assert rows["user_tokens"].tolist() == [250, 311, 1800]
    assert rows["output_tokens"].tolist() == [40, 120, 75]
    assert rows["num_turns"].tolist() == [1, 1, 1]
    assert rows["bucket"].tolist() == [0, 0, 0]
    (traffic_class,) = source.classes
    assert (traffic_class.tier, traffic_class.prefix_tokens) == ("plus", 0)
    said = source.describe()
    assert (said["requests"], said["prompt_tokens"], said["output_tokens"]) == (3, 2361, 235)


def test_a_trace_ends_at_the_horizon(scenario, written):
    traffic = {"kind": "trace", "format": "mooncake", "path": str(written(MOONCAKE)), "tier": "free"}
    source = build(scenario(traffic=traffic, run_in=0, horizon="3 s"))
    assert [len(chunk.rows) for chunk in source.chunks()] == [2]
    said = source.describe()
    assert (said["requests"], said["prompt_tokens"]) == (2, 2500)
    assert said["inputs"]["trace"]["ideal_prefix_hit_frac"] == 1024 / 2500


def test_an_unlimited_cache_has_what_prompts_have_in_common(scenario, written):
    said = replayed(scenario, written(MOONCAKE), "mooncake").describe()
    # The second request has both blocks of the first (1000 tokens of its own), the third the first block.
    assert said["inputs"]["trace"]["ideal_prefix_hit_frac"] == (1024 + 512) / 3100


def test_a_wrong_trace_is_refused_before_the_run(scenario, written):
    with pytest.raises(TraceError, match=":5  expected 3 values"):
        replayed(scenario, written(AZURE + "1,2\n"), "azure")


# Totals of the public files (rows, prompt tokens, output tokens), counted with awk.
PUBLIC = {
    "azure2023/AzureLLMInferenceTrace_conv.csv": ("azure", 19_366, 22_361_870, 4_088_665),
    "azure2023/AzureLLMInferenceTrace_code.csv": ("azure", 8819, 18_059_974, 245_896),
    "mooncake/conversation_trace.jsonl": ("mooncake", 12_031, 144_793_823, 4_122_048),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_traces(scenario, shared, name):
    trace_format, num_rows, prompt_tokens, output_tokens = PUBLIC[name]
    source = replayed(scenario, shared / "data" / "traces" / name, trace_format)
    rows = np.concatenate([chunk.rows for chunk in source.chunks()])
    said = source.describe()
    assert len(rows) == said["requests"] == num_rows
    assert rows["user_tokens"].sum() == said["prompt_tokens"] == prompt_tokens
    assert rows["output_tokens"].sum() == said["output_tokens"] == output_tokens
    if trace_format == "mooncake":
        # The trace's own 37.4 %; its authors report 40 % (Qin et al., FAST 2025).
        assert said["inputs"]["trace"]["ideal_prefix_hit_frac"] == pytest.approx(0.374, abs=0.001)
