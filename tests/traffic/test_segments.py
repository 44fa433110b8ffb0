"""What a trace says of its prompts' text becomes segments, which stay with their rows on every way."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.traffic import ARRIVAL, BUCKET, SEGMENT, Chunk, build, merge, rows
from sim.traffic.replay import segments_of
from sim.traffic.traces import files


def by_row(chunks):
    """[(key, tokens), ...] of each row."""
    found = []
    for arrivals, segments in chunks:
        assert segments.dtype == SEGMENT
        assert arrivals["num_segments"].sum() == len(segments)
        pairs, at = [(int(s["key"]), int(s["tokens"])) for s in segments], 0
        for count in arrivals["num_segments"].tolist():
            found.append(pairs[at : at + count])
            at += count
    return found


# (hash_ids, prompt): just enough ids, one too few, too many, none.
REQUESTS = [([1, 2], 1000), ([1, 2, 3], 1536), ([1, 9], 1100), ([9, 9], 513), ([1, 2, 3], 512), ([], 700), ([0], 900)]
TOKENS = [[512, 488], [512, 512, 512], [512, 512, 76], [512, 1], [512], [], [512, 388]]


@pytest.fixture
def source(tmp_path, scenario):
    path = tmp_path / "trace.jsonl"
    rows = [
        {"timestamp": n, "input_length": tokens, "output_length": 3, "hash_ids": ids}
        for n, (ids, tokens) in enumerate(REQUESTS)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    traffic = {"kind": "trace", "format": "mooncake", "path": str(path), "tier": "plus"}
    return build(scenario(traffic=traffic, run_in=0))


def test_a_segment_for_each_id_and_one_for_the_rest(source):
    found = by_row(source.chunks())
    assert [[tokens for _, tokens in row] for row in found] == TOKENS
    keys = [[key for key, _ in row] for row in found]
    # Equal keys where ids are equal, and nowhere else; the rest of a prompt is like nothing else.
    names = [name for n, (ids, _) in enumerate(REQUESTS) for name in [*ids, f"rest of {n}"][: len(TOKENS[n])]]
    flat = [key for row in keys for key in row]
    assert len(set(zip(names, flat, strict=True))) == len(set(names)) == len(set(flat))


@pytest.mark.parametrize(("name", "where", "size"), [("CHUNK_BYTES", files, 100), ("MAX_CHUNK_ROWS", rows, 3)])
def test_segments_do_not_depend_on_how_the_file_is_cut(source, monkeypatch, name, where, size):
    expected = by_row(source.chunks())
    monkeypatch.setattr(where, name, size)
    chunks = list(source.chunks())
    assert len(chunks) > 1
    assert by_row(chunks) == expected


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 2**63 - 1), max_size=4), st.integers(1, 2600)), min_size=1, max_size=6)
)
def test_segments_add_up_to_the_prompt(requests):
    ids, tokens = zip(*requests, strict=True)
    counts, segments = segments_of(list(ids), np.array(tokens), np.arange(len(ids)))
    for row_ids, prompt, part in zip(ids, tokens, np.split(segments, np.cumsum(counts)[:-1]), strict=True):
        assert part["tokens"].sum() == (prompt if row_ids else 0)
        assert np.all(part["tokens"] > 0)
        assert np.all(part["tokens"][: len(row_ids)] <= 512)


class Given:
    """A source of given chunks."""

    classes = ("any",)
    buckets = np.zeros(0, dtype=BUCKET)
    languages = ("all",)

    def __init__(self, chunks):
        self.given = chunks

    def chunks(self):
        yield from self.given


@given(st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=9), min_size=2, max_size=3))
def test_merged_rows_keep_their_segments(drawn):
    sources, expected = [], []
    for number, rows_drawn in enumerate(drawn):
        chunks = []
        for n, (t_s, count) in enumerate(sorted(rows_drawn)):
            row, segments = np.zeros(1, ARRIVAL), np.zeros(count, SEGMENT)
            row["t_s"], row["num_segments"] = t_s, count
            segments["key"], segments["tokens"] = 100 * number + n, 1 + np.arange(count)
            chunks.append(Chunk(row, segments))
            expected.append((t_s, [(100 * number + n, k + 1) for k in range(count)]))
        sources.append(Given(chunks))
    expected.sort(key=lambda item: item[0])
    chunks = list(merge(sources).chunks())
    assert [t_s for chunk in chunks for t_s in chunk.rows["t_s"]] == [t_s for t_s, _ in expected]
    assert by_row(chunks) == [row for _, row in expected]
