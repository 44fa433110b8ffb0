"""Every format: written and read again it is the same, its sample is read as it stands, its shape tells it."""

import gzip
import json
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_reading import AT_A_RATE, BASICS, SAMPLES, same, texts, whole

from sim.errors import TraceError
from sim.spec.trace import TraceFormat
from sim.traffic.traces import (
    FORMATS,
    MAX_TOKENS,
    Options,
    Report,
    TraceBlock,
    files,
    format_of,
    read_trace,
    write_trace,
)
from sim.traffic.traces.array import items

UNTIMED = ("sharegpt", "vllm_custom")


KEYS = (
    "timestamp", "input_length", "output_length", "hash_ids", "conversations", "from", "value", "tokens", "prompt",
    "output_tokens", "start_time", "end_time", "info", "input_tokens", "error", "shared_prefix_length",
)  # fmt: skip
words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"], exclude_characters=","), max_size=4)
# Whole tens of nanoseconds within two years: what every timed format holds.
rows = st.lists(
    st.tuples(
        st.integers(0, 2 * 365 * 86400 * 10**8).map(lambda tick: tick * 10),
        st.integers(1, MAX_TOKENS),
        st.integers(1, MAX_TOKENS),
        words,
        words,
        st.integers(0, 10**9).map(lambda number: number / 1000),
        st.lists(st.integers(0, 2**63 - 1), max_size=3),
        st.integers(0, MAX_TOKENS),
    ),
    min_size=1,
    max_size=30,
    unique_by=lambda row: row[:3],
).map(lambda drawn: sorted(drawn, key=lambda row: row[0]))


def block_of(drawn):
    time_ns, prompt, output, session, model, elapsed_s, ids, shared = zip(*drawn, strict=True)
    prefix = texts(*(str(len(name)) if name else "" for name in session))
    return TraceBlock(
        np.array(time_ns),
        np.array(prompt),
        np.array(output),
        hash_ids=list(ids) if any(ids) else [],
        session=texts(*session),
        user=texts(*model),
        turn=np.arange(len(drawn)) - 1,
        elapsed_s=np.array(elapsed_s),
        model=texts(*model),
        tier=texts(*model),
        language=texts(*session),
        use_case=texts(*model),
        prefix=prefix,
        prefix_tokens=np.where(prefix == "", 0, np.minimum(shared, prompt)),
    )


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in UNTIMED])
@pytest.mark.parametrize("ending", ["", ".gz"])
@settings(deadline=None, max_examples=40)
@given(drawn=rows, cut=st.integers(0, 30), chunk_bytes=st.integers(1, 3000))
def test_what_is_written_is_read_again(name, ending, drawn, cut, chunk_bytes):
    block, kind = block_of(drawn), FORMATS[name]
    if name == "parquet":
        # A float holds nanoseconds for 97 days from the first request on.
        block.time_ns = block.time_ns[0] + (block.time_ns - block.time_ns[0]) // 8
    if name == "inference_perf":
        block = block.take(slice(None))
        empty = block.prefix_tokens == 0
        block.prefix[empty], block.prefix_tokens[block.prefix == ""] = "", 0
    if name == "inference_perf_requests":
        block.elapsed_s = np.round(block.elapsed_s, 2)  # the end, too, is a time in seconds
    parts = [block.take(slice(cut)), block.take(slice(cut, None))]
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK_BYTES", chunk_bytes)
        ending *= name != "parquet"
        path = Path(folder) / f"trace{ending}"
        written = write_trace(path, (part for part in parts if len(part)), name)
        assert written.num_rows == len(block)
        assert set(written.lost) == set(block.optional) - set(kind.holds)
        found = whole(path, name, Options(time_unit=kind.unit))
        assert format_of(path).name == ("mooncake" if name == "timed_trace" else name)
        held = [column for column in kind.holds if column != "elapsed_s"]
        same(found, block, (*BASICS, *held))
        if "elapsed_s" in kind.holds:
            np.testing.assert_allclose(found.elapsed_s, block.elapsed_s, atol=2e-8)
        assert set(found.optional) <= set(kind.holds)
        again = write_trace(Path(folder) / f"again{ending}", [found], name)
        assert again.num_rows == len(block)


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=4), min_size=1)
)
def test_conversations_are_read_again(lengths):
    rows = []
    for number, turns in enumerate(lengths, 1):
        history = 0
        for turn, (new, output) in enumerate(turns):
            rows.append((history + new, output, f"c#{number}", turn))
            history += new + output
    prompt, output, session, turn = zip(*rows, strict=True)
    block = TraceBlock(
        np.zeros(len(rows), dtype=np.int64),
        np.array(prompt),
        np.array(output),
        session=texts(*session),
        turn=np.array(turn),
        prefix=texts(*session),
        prefix_tokens=np.array(prompt),
    )
    with TemporaryDirectory() as folder:
        for name in UNTIMED:
            path = Path(folder) / name
            write_trace(path, [block], name)
            assert format_of(path).name == name
            found = whole(path, name)
            key = np.array(prompt) * 1000 + np.array(output)
            order = np.lexsort((found.output_tokens, found.prompt_tokens))
            assert np.array_equal(np.sort(key), (found.prompt_tokens * 1000 + found.output_tokens)[order])
            if name == "sharegpt":
                back = sorted(zip(found.session, found.turn.tolist(), found.prompt_tokens.tolist(), strict=True))
                assert back == sorted(zip(session, turn, prompt, strict=True))
                same(found, found, ("prefix_tokens", "prompt_tokens"))
                assert np.array_equal(found.prefix_tokens, found.prompt_tokens)


def test_every_format_may_stand_in_a_scenario():
    assert set(get_args(TraceFormat)) == {"auto", *FORMATS}


def test_text_counts_by_its_characters_where_nothing_else_is_said(tmp_path):
    conversations = [
        {"id": "x", "conversations": [{"from": "gpt", "value": "a greeting"}]},
        {
            "id": "x",
            "conversations": [
                {"from": "system", "value": "s" * 40},
                {"from": "human", "value": "h" * 20},
                {"from": "gpt", "value": "g" * 8},
                {"from": "human", "value": ""},
                {"from": "gpt", "value": "g" * 400, "tokens": 7},
            ],
        },
    ]
    options = Options(rate_per_s=1.0, chars_per_token=4.0, turn_gap_s=30.0)
    for text in (json.dumps(conversations, indent=1), "\n".join(map(json.dumps, conversations))):
        path = tmp_path / "share.json"
        path.write_text(text)
        found = whole(path, options=options)
        assert found.prompt_tokens.tolist() == [15, 15 + 2 + 1]
        assert found.output_tokens.tolist() == [2, 7]
        assert found.session.tolist() == ["x#2", "x#2"]
        assert found.turn.tolist() == [0, 1]
        assert found.time_ns.tolist() == [0, 30 * 10**9]
    path = tmp_path / "custom.jsonl"
    path.write_text('{"prompt": "12345678", "output_tokens": 3}\n')
    assert format_of(path).name == "vllm_custom"
    assert whole(path, options=options).prompt_tokens.tolist() == [2]


def test_a_file_without_times_needs_a_rate(tmp_path):
    path = tmp_path / "lengths.csv"
    path.write_text("num_prefill_tokens,num_decode_tokens,pd_ratio\n" + "10,20,0.5\n" * 5000)
    with pytest.raises(TraceError, match=r"lengths.csv  a vidur file without times: say at which rate"):
        list(read_trace(path))
    found = whole(path, options=Options(rate_per_s=20.0))
    assert found.time_ns[0] == 0
    # 4999 exponential gaps: five standard errors, so false once in two million seeds.
    assert np.mean(np.diff(found.time_ns)) / 1e9 == pytest.approx(1 / 20, rel=5 / np.sqrt(4999))
    assert np.array_equal(found.time_ns, whole(path, options=Options(rate_per_s=20.0)).time_ns)


def test_timed_rows_of_conversations_do_not_depend_on_chunks(tmp_path, monkeypatch):
    conversation = {"conversations": [{"from": who, "value": "x", "tokens": 3} for who in ("human", "gpt") * 3]}
    path = tmp_path / "many.json"
    path.write_text(json.dumps([conversation] * 400))
    expected = whole(path)
    assert np.all(np.diff(expected.time_ns) >= 0)
    by_session = {}
    for name, turn, time_ns in zip(expected.session, expected.turn.tolist(), expected.time_ns.tolist(), strict=True):
        by_session.setdefault(name, {})[turn] = time_ns
    assert all(np.diff([times[k] for k in range(3)]).tolist() == [5 * 10**9] * 2 for times in by_session.values())
    monkeypatch.setattr("sim.traffic.traces.array.BATCH_ROWS", 7)
    monkeypatch.setattr(files, "CHUNK_BYTES", 50)
    same(whole(path), expected, (*BASICS, "session", "turn"))


@given(
    values=st.lists(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)),
    indent=st.sampled_from([None, 1]),
    chunk_bytes=st.integers(1, 40),
)
def test_an_array_is_read_item_by_item(values, indent, chunk_bytes):
    values = [{"value": value} for value in values]
    text = json.dumps(values, indent=indent, ensure_ascii=False)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK_BYTES", chunk_bytes)
        path = Path(folder) / "array"
        path.write_bytes(text.encode("utf-8", "surrogatepass") if text.isascii() else text.encode("utf-8", "replace"))
        found = list(items(path, Report()))
        assert len(found) == len(values)
        assert [item.number for item in found] == list(range(1, len(values) + 1))
        for item in found:
            assert text.split("\n")[item.line - 1].lstrip(" [").startswith("{") or indent is None


def test_shapes_are_named_where_none_fits(tmp_path):
    path = tmp_path / "what"
    path.write_text("a,b,c\n1,2,3\n")
    with pytest.raises(TraceError) as caught:
        list(read_trace(path))
    assert f"{path}:1  looks like no trace" in str(caught.value)
    assert all(f"{name}: {kind.shape}" in str(caught.value) for name, kind in FORMATS.items())
    with pytest.raises(TraceError, match=r'"azur" is no trace format. Did you mean azure\?'):
        list(read_trace(path, "azur"))


@pytest.mark.parametrize("name", FORMATS)
def test_a_trace_that_cannot_be_written_leaves_nothing(tmp_path, name):
    def broken():
        yield TraceBlock(np.array([0]), np.array([1]), np.array([1]))
        raise TraceError("enough")

    with pytest.raises(TraceError, match="enough"):
        write_trace(tmp_path / "trace", broken(), name)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TraceError, match="cannot be written: No such file or directory"):
        write_trace(tmp_path / "absent" / "trace", [], name)


def test_what_a_format_cannot_say_is_refused(tmp_path):
    early = TraceBlock(np.array([-1]), np.array([1]), np.array([1]))
    for name in ("azure", "burstgpt", "mooncake", "vidur", "servegen", "inference_perf"):
        with pytest.raises(TraceError, match="times must be from"):
            write_trace(tmp_path / "trace", [early], name)
    with pytest.raises(TraceError, match="parquet is compressed within"):
        write_trace(tmp_path / "trace.gz", [early], "parquet")
    comma = TraceBlock(np.array([1]), np.array([1]), np.array([1]), model=texts("a,b"))
    with pytest.raises(TraceError, match='model "a,b" of row 1 cannot stand in a table'):
        write_trace(tmp_path / "trace", [comma], "burstgpt")
    two = [TraceBlock(np.array([1]), np.array([1]), np.array([1]), [[1]], size) for size in (16, 512)]
    with pytest.raises(TraceError, match="hash ids of 16 and of 512 tokens cannot share a file"):
        write_trace(tmp_path / "trace", two, "parquet")


@pytest.mark.parametrize("name", ["auto", *FORMATS])
@settings(deadline=None, max_examples=60)
@given(
    content=st.one_of(
        st.binary(max_size=120),
        st.text(max_size=80).map(lambda text: text.encode("utf-8", "ignore")),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=8),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
    ),
    repair=st.booleans(),
    sample=st.sampled_from(sorted(path.name for path in SAMPLES.iterdir())),
)
def test_any_content_is_read_or_refused(name, content, repair, sample):
    good = (SAMPLES / sample).read_bytes()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        for data in (content, good + content, gzip.compress(good)[:-9] + content):
            path.write_bytes(data)
            report = Report(repair=repair)
            num_rows, refused = 0, ""
            try:
                num_rows = sum(map(len, read_trace(path, name, AT_A_RATE, report)))
            except TraceError as error:
                refused = str(error)
            assert str(path) in refused or num_rows == report.num_kept >= 1
            if not refused:
                assert report.num_rows == num_rows + report.num_dropped + report.left_out.total()


def many(num_blocks, num_rows=20_000):
    """A generated trace, of which one block is held at a time."""
    for number in range(num_blocks):
        at = number * num_rows + np.arange(num_rows)
        yield TraceBlock(at * 1_000_000, 1 + at % 1000, 1 + at % 77, [[int(k), int(k) + 1] for k in at % 5000])


@pytest.mark.parametrize("name", ["azure", "mooncake", "parquet", "vllm_custom", "inference_perf_requests"])
def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch, name):
    monkeypatch.setattr(files, "CHUNK_BYTES", 1 << 14)
    monkeypatch.setattr("sim.traffic.traces.sharegpt.FILLER", "a ")
    monkeypatch.setattr("sim.traffic.traces.vllm.FILLER", "a")
    monkeypatch.setattr("sim.traffic.traces.array.BATCH_ROWS", 100)
    monkeypatch.setattr("sim.traffic.traces.order.WINDOW_ROWS", 500)
    monkeypatch.setattr("sim.traffic.traces.parquet.ROW_GROUP_ROWS", 1000)
    peaks, sizes = {}, {}
    for num_blocks in (3, 15):
        path = tmp_path / f"{name}{num_blocks}{'.gz' * (name != 'parquet')}"
        write_trace(path, many(1, 10), name)  # what is imported does not count
        list(read_trace(path, name, Options(rate_per_s=1e6)))
        tracemalloc.start()
        write_trace(path, many(num_blocks, 1000), name)
        peaks["write", num_blocks] = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        num_rows = sum(len(block) for block in read_trace(path, name, Options(rate_per_s=1e6, time_unit="s")))
        peaks["read", num_blocks] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        sizes[num_blocks] = path.stat().st_size
        assert num_rows == num_blocks * 1000
    assert sizes[15] > 3 * sizes[3]
    for way in ("write", "read"):
        assert peaks[way, 15] < 1.2 * peaks[way, 3], peaks


def test_a_parquet_file_of_another_program_is_read(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "plain.parquet"
    columns = {"prompt_tokens": pa.array([3, 4], pa.int32()), "arrived_s": [0.5, 1.0], "output_tokens": [1, 2]}
    pq.write_table(pa.table(columns | {"session": [None, "s"], "other": [1, 2]}), path)
    found = whole(path)
    assert found.time_ns.tolist() == [500_000_000, 10**9]
    assert found.session.tolist() == ["", "s"]
    assert found.optional == ["session"]
    for name, wrong, said in (
        ("prompt_tokens", [0, 4], ":1  prompt_tokens must be a whole number from 1 on, got 0"),
        ("prompt_tokens", [3, None], ":2  prompt_tokens must be a whole number from 1 on, got None"),
        ("output_tokens", [1, 2**40], ":2  output_tokens must be at most 10,000,000, got"),
        ("arrived_s", [float("nan"), 1.0], ":1  arrived_s must be a time"),
        ("arrived_s", [2.0, 1.0], ":2  the time goes back by 1 s"),
        ("arrived_s", ["soon", "later"], "cannot be read: "),
        ("prefix_tokens", [9, 0], ":1  prefix_tokens must not exceed prompt_tokens, got 9"),
        ("turn", [0, -7], ":2  turn must not be negative, got -7"),
        ("hash_ids", [[1], [-2]], ":2  hash_ids must be whole numbers from 0 on"),
    ):
        pq.write_table(pa.table(columns | {name: wrong}), path)
        with pytest.raises(TraceError) as caught:
            whole(path)
        assert said in str(caught.value)
    pq.write_table(pa.table({"prompt_tokens": [1]}), path)
    with pytest.raises(TraceError, match="arrived_s, output_tokens missing"):
        whole(path)
    pq.write_table(pa.table(columns).replace_schema_metadata({"tokenfleet_trace": "2"}), path)
    with pytest.raises(TraceError, match="a trace of version 2; this program reads up to 1"):
        whole(path)
    path.write_bytes(path.read_bytes()[:-20] + b"PAR1")
    with pytest.raises(TraceError, match="cannot be read"):
        whole(path)


def test_gzip_files_are_the_same_bytes_every_time(tmp_path):
    for name in ("a.gz", "b.gz"):
        write_trace(tmp_path / name, many(1, 50), "mooncake")
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()).count(b"\n") == 50
