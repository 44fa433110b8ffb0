"""Bad traces: refused with the row and the reason, or repaired when asked, with a count of what was changed."""

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.errors import TraceError
from sim.traffic import build
from sim.traffic.traces import MAX_TOKENS, Report, files, joined, read_trace, write_trace
from sim.traffic.traces.repair import DROPS, KINDS

HEADERS = {
    "azure": "TIMESTAMP,ContextTokens,GeneratedTokens",
    "burstgpt": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
    "vidur": "arrived_at,num_prefill_tokens,num_decode_tokens",
    "servegen": "request_id,timestamp,input_tokens,output_tokens",
}
START = np.datetime64("2023-11-16T18:00:00", "ns")


def line_of(name, number, tick, prompt, output):
    """A request as a line; a tick is 12.345 ms, so no whole millisecond."""
    seconds = f"{tick * 12345 // 10**6}.{tick * 12345 % 10**6:06d}"
    stamp = str(START + np.timedelta64(tick * 12345, "us")).replace("T", " ")
    ids = list(range(min(prompt // 512 + 1, 20)))
    return {
        "azure": f"{stamp},{prompt},{output}",
        "burstgpt": f"{seconds},GPT-4,{prompt},{output},{prompt + output},API log",
        "vidur": f"{seconds},{prompt},{output}",
        "servegen": f"{number},{seconds},{prompt},{output}",
        "mooncake": json.dumps(
            {"timestamp": tick * 12.345, "input_length": prompt, "output_length": output, "hash_ids": ids}
        ),
        "inference_perf": json.dumps(
            {
                "timestamp": float(seconds),
                "shared_prefix_length": 1,
                "tail_input_length": prompt,
                "output_length": output,
            }
        ),
    }[name]


LINES = [*HEADERS, "mooncake", "inference_perf"]
rows = st.lists(
    st.tuples(st.integers(0, 10**5), st.integers(2, 9000), st.integers(1, 900)), min_size=3, max_size=30, unique=True
).map(sorted)


def content(name, drawn, head=True):
    lines = [line_of(name, number, *row) for number, row in enumerate(drawn)]
    return [HEADERS[name], *lines] if head and name in HEADERS else lines


def read(path, name, report=None):
    return joined(list(read_trace(path, name, report=report)))


def meaning(block):
    return list(zip(block.time_ns.tolist(), block.prompt_tokens.tolist(), block.output_tokens.tolist(), strict=True))


def damaged(kind, name, lines, at):
    """(bytes of the damaged file, line that is wrong or None, part of the message, kind of the repair or None)."""
    lines = list(lines)
    here = lines[at]
    text = None
    says, repair, wrong = "", None, at + 1
    if kind == "crlf":
        text, wrong = "\r\n".join(lines) + "\r\n", None
    elif kind == "bom":
        text, wrong = "\ufeff" + "\n".join(lines), None
    elif kind == "trailing blanks":
        text, wrong = "\n".join(lines) + "\n\n \n", None
    elif kind == "gzip":
        return gzip.compress("\n".join(lines).encode()), None, "", None
    elif kind == "blank":
        lines.insert(at, "  ")
        says, repair = "blank line", "blank"
    elif kind == "cut off":
        lines[at] = here[: len(here) // 2] if name in {"mooncake", "inference_perf"} else here.rpartition(",")[0]
        says, repair = "is the row cut off?", "row"
    elif kind == "garbage":
        lines[at] = "%$" + here[2:].replace(",", ";")
        says, repair = "", "row"
    elif kind == "latin-1":
        data = "\n".join(lines).encode().split(b"\n")
        data[at] = data[at][:-1] + b"\xe9" + data[at][-1:]
        return b"\n".join(data), wrong, "not UTF-8 text: byte 0xe9", "bytes"
    elif kind == "utf-16":
        return "\n".join(lines).encode("utf-16"), 1, "as in UTF-16", "recoded"
    assert text is not None or kind not in {"crlf", "bom", "trailing blanks"}
    return (text or "\n".join(lines) + "\n").encode(), wrong, says, repair


HARMLESS = ("crlf", "bom", "trailing blanks", "gzip")
HARMFUL = ("blank", "cut off", "garbage", "latin-1", "utf-16")


@pytest.mark.parametrize("name", LINES)
@settings(deadline=None, max_examples=50)
@given(
    drawn=rows,
    kind=st.sampled_from(HARMLESS + HARMFUL),
    place=st.integers(0, 10**6),
    chunk_bytes=st.integers(1, 3000),
)
def test_damage_is_refused_at_its_row_or_changes_nothing(name, drawn, kind, place, chunk_bytes):
    head = int(name in HEADERS)
    good = content(name, drawn)
    at = head + place % (len(good) - head - 1)
    data, wrong, says, repair = damaged(kind, name, good, at)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK_BYTES", chunk_bytes)
        path = Path(folder) / "trace"
        path.write_text("\n".join(good))
        expected = meaning(read(path, name))
        path.write_bytes(data)
        if wrong is None:
            report = Report()
            assert meaning(read(path, name, report)) == expected
            assert report.num_changes == 0
            return
        with pytest.raises(TraceError) as caught:
            read(path, name)
        first = str(caught.value).splitlines()[0]
        assert first.startswith(f"{path}:{wrong}  ")
        assert says in first
        report = Report(repair=True)
        found = meaning(read(path, name, report))
        assert report.counts[repair] > 0
        assert report.num_rows == report.num_kept + report.num_dropped
        assert len(found) == report.num_kept
        missing = list(expected)
        for row in found:
            missing.remove(row)
        assert len(missing) == report.num_dropped <= 1
        assert KINDS[repair] in str(report)
        again(folder, found, name, path)


def again(folder, found, name, path):
    """What was repaired needs no repair."""
    report = Report(repair=True)
    second = Path(folder) / "second"
    write_trace(second, list(read_trace(path, name, report=Report(repair=True))), name)
    assert meaning(read(second, name, report)) == found
    assert report.num_changes == 0
    assert str(report) == "nothing changed"


values = st.sampled_from(["-5", "0", str(MAX_TOKENS + 1), "1e3", "3.5", "NaN", "", "x", "99999999999999999999"])


@pytest.mark.parametrize("name", ["azure", "burstgpt", "vidur", "servegen"])
@settings(deadline=None, max_examples=50)
@given(drawn=rows, places=st.dictionaries(st.integers(0, 29), values, min_size=1, max_size=29))
def test_wrong_lengths_are_named_all_of_them(name, drawn, places):
    lines = content(name, drawn)
    column = {"azure": 1, "burstgpt": 2, "vidur": 1, "servegen": 2}[name]
    wrong = set()
    for place, value in places.items():
        at = 1 + place % len(drawn)
        cells = lines[at].split(",")
        cells[column] = value
        lines[at] = ",".join(cells)
        wrong.add(at + 1)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        path.write_text("\n".join(lines))
        with pytest.raises(TraceError) as caught:
            read(path, name)
        said = str(caught.value).splitlines()
        assert [line.split("  ")[0] for line in said] == [f"{path}:{line}" for line in sorted(wrong)[:20]]
        assert all("must be" in line for line in said)
        report = Report(repair=True)
        if len(wrong) == len(drawn):
            with pytest.raises(TraceError, match="the trace has no requests"):
                read(path, name, report)
            return
        found = read(path, name, report)
        assert len(found) == len(drawn) - len(wrong)
        assert report.counts["length"] + report.counts["row"] == len(wrong) == report.num_changes
        assert min(report.first_line.values()) == min(wrong)


@settings(deadline=None, max_examples=50)
@given(drawn=rows, order=st.randoms(use_true_random=False), repeats=st.lists(st.integers(0, 29), max_size=5))
def test_rows_out_of_order_and_repeated_are_put_right(drawn, order, repeats):
    lines = content("azure", drawn, head=False)
    mixed = lines + [lines[at % len(lines)] for at in repeats]
    order.shuffle(mixed)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        path.write_text("\n".join([HEADERS["azure"], *lines]))
        expected = meaning(read(path, "azure"))
        path.write_text("\n".join([HEADERS["azure"], *mixed]))
        report = Report(repair=True)
        found = read(path, "azure", report)
        assert meaning(found) == expected or len({row[0] for row in expected}) < len(expected)
        assert sorted(meaning(found)) == sorted(expected)
        stamps = [line.split(",")[0] for line in mixed]
        late = sum(stamp < max(stamps[: at + 1]) for at, stamp in enumerate(stamps))
        assert report.counts["duplicate"] == len(repeats)
        assert report.counts["order"] == late
        assert set(report.counts) <= {"duplicate", "order"}
        assert report.num_rows == len(mixed) == report.num_kept + report.num_dropped
        if repeats or late:
            with pytest.raises(TraceError) as caught:
                read(path, "azure")
            assert "the time goes back by" in str(caught.value) or "the row repeats an earlier one" in str(caught.value)
            again(folder, meaning(found), "azure", path)


def test_a_row_that_is_too_late_cannot_be_sorted_in(tmp_path, monkeypatch):
    monkeypatch.setattr("sim.traffic.traces.order.WINDOW_ROWS", 10)
    monkeypatch.setattr(files, "CHUNK_BYTES", 40)
    drawn = [(tick, 5, 5) for tick in range(1, 60)]
    lines = content("azure", drawn)
    path = tmp_path / "trace"
    path.write_text("\n".join([*lines[:10], lines[14], *lines[10:14], *lines[15:]]))
    report = Report(repair=True)
    assert len(read(path, "azure", report)) == 59
    assert report.counts == {"order": 4}
    path.write_text("\n".join([lines[0], *lines[2:], lines[1]]))
    with pytest.raises(TraceError, match=r":60  comes more than 10 rows late; sort the trace by time"):
        read(path, "azure", Report(repair=True))


@pytest.mark.parametrize("name", ["azure", "mooncake"])
@pytest.mark.parametrize("left", [0.3, 0.9, 0.999])
def test_what_is_left_of_a_gzip_file_is_kept(tmp_path, name, left):
    rng = np.random.default_rng(7)
    drawn = [(tick, int(prompt), 5) for tick, prompt in enumerate(rng.integers(2, 9000, 3000))]
    whole = "\n".join(content(name, drawn)) + "\n"
    packed = gzip.compress(whole.encode())
    path = tmp_path / "trace.gz"
    path.write_bytes(packed[: int(len(packed) * left)])
    with pytest.raises(TraceError) as caught:
        read(path, name)
    assert "the gzip file is damaged or cut off" in str(caught.value)
    line = int(str(caught.value).split(":")[1].split()[0])
    report = Report(repair=True)
    found = read(path, name, report)
    assert report.counts == {"cut_off": 1}
    assert len(found) == line - 1 - (name == "azure")
    assert meaning(read(path, "auto", Report(repair=True))) == meaning(found)  # its shape is told all the same
    path.write_bytes(packed)
    assert meaning(read(path, name))[: len(found)] == meaning(found)
    assert left * 0.5 < len(found) / 3000 <= 1.0


def test_an_array_that_ends_too_soon_is_kept_as_far_as_it_goes(tmp_path):
    talk = {"conversations": [{"from": "human", "value": "a" * 40}, {"from": "gpt", "value": "b" * 40}]}
    text = json.dumps([talk] * 5, indent=1)
    path = tmp_path / "trace"
    from sim.traffic.traces import Options

    options = Options(rate_per_s=1.0)
    path.write_text(text[:-60])
    with pytest.raises(TraceError, match=r"item 5 is no JSON: .*; is the file cut off"):
        list(read_trace(path, "sharegpt", options))
    report = Report(repair=True)
    assert sum(map(len, read_trace(path, "sharegpt", options, report))) == 4
    assert report.counts == {"cut_off": 1}
    wrong = [talk, {"conversations": 5}, 7, {"conversations": [{"from": "gpt"}]}, talk]
    path.write_text("[" + ",\n".join(map(json.dumps, wrong)) + "]")
    with pytest.raises(TraceError) as caught:
        list(read_trace(path, "sharegpt", options))
    said = str(caught.value).splitlines()
    assert said == [
        f"{path}:2  item 2: conversations must be a list, got 5",
        f"{path}:3  item 3: expected a JSON object, got 7",
        f"{path}:4  item 4: value is missing; the row has from",
    ]
    report = Report(repair=True)
    assert sum(map(len, read_trace(path, "sharegpt", options, report))) == 2
    assert (report.counts["row"], report.num_rows, report.num_kept) == (3, 5, 2)
    path.write_bytes(text.encode()[:100] + b"\xe9" + text.encode()[100:])
    with pytest.raises(TraceError, match="not UTF-8 text: byte 0xe9"):
        list(read_trace(path, "sharegpt", options))
    report = Report(repair=True)
    assert sum(map(len, read_trace(path, "sharegpt", options, report))) == 5
    assert report.counts == {"bytes": 1}


def test_missing_columns_are_named(tmp_path):
    path = tmp_path / "trace"
    path.write_text("TIMESTAMP,ContextTokens\n2023-11-16 18:00:00,5\n")
    expected = f'{path}:1  expected the header {HEADERS["azure"]}, got "TIMESTAMP,ContextTokens"'
    for report in (Report(), Report(repair=True)):
        with pytest.raises(TraceError) as caught:
            read(path, "azure", report)
        assert str(caught.value) == f"{expected}; GeneratedTokens missing"


def test_columns_stand_in_any_order_and_others_are_passed_over(tmp_path):
    path = tmp_path / "trace"
    path.write_text(
        "note,GeneratedTokens, TIMESTAMP ,ContextTokens\nhi,7,2023-11-16 18:00:00.5,5\n,8,2023-11-16 18:00:01,6\n"
    )
    found = read(path, "auto")
    assert meaning(found)[0][1:] == (5, 7)
    assert np.diff(found.time_ns).tolist() == [500_000_000]


def test_the_two_ways_of_reading_agree(tmp_path, monkeypatch):
    """The fast way gives what the careful one does, on whatever it takes."""
    from sim.traffic.traces import table

    cells = ["1", "007", " 5 ", "+5", "5.0", "1e1", "", "10000000", "10000001", "0x5", "1_0", "\u0661"]
    times = ["0", "0.5", "1e-05", ".5", "5.", "1e3", "-0", "1e300", "inf", "nan", "1_0", " 7 ", "0.000000015"]
    stamps = [
        "2023-11-16 18:00:00", "2023-11-16T18:00:00.123456789", "2023-11-16 18:00:00.1234567891", "2023-11-16",
        "2023-11-16 18:00", "1969-12-31 23:59:59", "2200-01-01 00:00:00", "2023-11-16 18:00:00Z",
        " 2023-11-16 18:00:00",
        "2023-11-16 18:00:00+00:00", "2023-11-16 18:00:00+01:00", "2024-02-30 00:00:00", "9999-01-01 00:00:00",
    ]  # fmt: skip
    cases = [("vidur", f"{time},{cell},3") for time in times for cell in cells]
    cases += [("azure", f"{stamp},4,3") for stamp in stamps]
    cases += [("burstgpt", f"1,{model},4,3,7,log") for model in ("GPT-4", " GPT-4 ", "", '"a"', "\u00e9")]
    path = tmp_path / "trace"

    def outcome(name):
        try:
            block = read(path, name)
        except TraceError as error:
            return str(error)
        return meaning(block), block.column("model").tolist()

    took = []
    vectorised = table._vectorised

    def watched(*arguments):
        fast = vectorised(*arguments)

        def reader(data):
            took.append(fast(data))
            return took[-1]

        return reader

    for name, line in cases:
        path.write_text(f"{HEADERS[name]}\n{line}\n", encoding="utf-8")
        with monkeypatch.context() as patch:
            patch.setattr(table, "_vectorised", watched)
            fast = outcome(name)
        with monkeypatch.context() as patch:
            patch.setattr(table, "_vectorised", lambda *_: lambda _: None)
            assert outcome(name) == fast, line
    assert len(took) == len(cases)
    assert 20 < sum(found is not None for found in took) < len(cases) - 20


def test_a_scenario_asks_for_repair_and_is_told_what_was_done(scenario, tmp_path):
    path = tmp_path / "trace"
    lines = content("azure", [(1, 5, 5), (2, 6, 6), (3, 7, 7)])
    path.write_text("\n".join([lines[0], lines[2], lines[1], "x,1,1", lines[3]]))
    traffic = {"kind": "trace", "path": str(path), "tier": "plus"}
    with pytest.raises(TraceError):
        build(scenario(traffic=traffic, run_in=0))
    source = build(scenario(traffic=traffic | {"repair": True}, run_in=0))
    said = source.describe()["inputs"]["trace"]
    assert said["repairs"] == {"time": 1, "order": 1}
    ((chunk, _),) = source.chunks()
    assert chunk["user_tokens"].tolist() == [5, 6, 7]


def test_every_kind_of_repair_has_words():
    assert set(DROPS) < set(KINDS)
