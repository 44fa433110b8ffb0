"""Operations on traces: each is what its words say, however the trace is cut into blocks."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_cache import reuse

from sim.errors import SpecError, TraceError
from sim.traffic import build
from sim.traffic.reuse import Unlimited
from sim.traffic.traces import Options, TraceBlock, joined, read_trace, write_trace
from sim.traffic.traces import operations as do

S = 10**9


def texts(values):
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def trace(times_s, sessions=None, ids=None, tokens=None):
    times_ns = np.array([round(time * S) for time in times_s], dtype=np.int64)
    numbers = np.arange(1, len(times_ns) + 1) if tokens is None else np.array(tokens)
    block = TraceBlock(times_ns, numbers, numbers + 1, hash_ids=ids or [])
    if sessions is not None:
        block.session = texts(sessions)
    return block


def pieces(block, cuts):
    """The same trace in blocks."""
    edges = sorted({0, len(block), *(cut % (len(block) + 1) for cut in cuts)})
    return [block.take(slice(a, b)) for a, b in pairwise(edges)]


def seen(blocks):
    blocks = list(blocks)
    if not blocks:
        return []
    block = joined(blocks)
    return list(zip(block.time_ns.tolist(), block.prompt_tokens.tolist(), strict=True))


times = st.lists(st.integers(0, 100), min_size=1, max_size=25).map(sorted)
cuts = st.lists(st.integers(0, 25), max_size=4)


@given(times, cuts, st.integers(0, 110), st.integers(1, 110))
def test_cut_keeps_a_window_that_begins_at_zero(at_s, cut, from_s, width_s):
    expected = [((t - from_s) * S, n) for n, t in enumerate(at_s, 1) if from_s <= t < from_s + width_s]
    assert seen(do.cut(pieces(trace(at_s), cut), from_s, from_s + width_s)) == expected
    rest = [((t - from_s) * S, n) for n, t in enumerate(at_s, 1) if from_s <= t]
    assert seen(do.cut(pieces(trace(at_s), cut), from_s, float("inf"))) == rest


def test_cut_reads_no_further_than_it_must():
    def endless():
        yield trace([0, 1])
        yield trace([2, 5])
        raise AssertionError

    assert [row[0] for row in seen(do.cut(endless(), 1, 3))] == [0, S]


@given(times, cuts, st.integers(1, 64))
def test_scale_and_shift_and_relative(at_s, cut, rate):
    blocks = pieces(trace(at_s), cut)
    assert seen(do.scale(blocks, rate / 8)) == [(round(t * S * 8 / rate), n) for n, t in enumerate(at_s, 1)]
    assert seen(do.scale(do.scale(blocks, 8.0), 0.125)) == seen(blocks)
    assert seen(do.shift(blocks, 2.5)) == [(t * S + 2_500_000_000, n) for n, t in enumerate(at_s, 1)]
    assert seen(do.shift(do.shift(blocks, 3.0), -3.0)) == seen(blocks)
    assert seen(do.relative(do.shift(blocks, 7.0))) == seen(do.relative(blocks))
    assert seen(do.relative(blocks))[0][0] == 0


@given(times, cuts, st.floats(0.01, 1.0), st.floats(0.01, 1.0), st.integers(0, 9))
def test_thin_keeps_more_of_the_same_and_does_not_depend_on_blocks(at_s, cut, one, other, seed):
    small, large = sorted((one, other))
    block = trace(at_s)
    kept = seen(do.thin([block], large, seed))
    assert kept == seen(do.thin(pieces(block, cut), large, seed))
    assert set(seen(do.thin([block], small, seed))) <= set(kept)
    assert seen(do.thin([block], 1.0, seed)) == seen([block])


def test_thin_keeps_sessions_together():
    names = [f"s{n % 500}" if n % 5 else "" for n in range(20_000)]
    kept = joined(list(do.thin(pieces(trace(range(20_000), names), range(0, 20_000, 999)), 0.3, 1)))
    whole = {name: names.count(name) for name in set(names)}
    found = {name: int(np.sum(kept.session == name)) for name in set(kept.session)}
    assert all(found[name] == whole[name] for name in found if name)
    # 400 sessions and 4000 requests without one: four standard errors, false once in 16,000 seeds.
    assert len(found) - 1 == pytest.approx(0.3 * 400, abs=4 * np.sqrt(0.21 * 400))
    assert found[""] == pytest.approx(0.3 * 4000, abs=4 * np.sqrt(0.21 * 4000))


@given(st.lists(times, min_size=1, max_size=3), cuts, st.integers(0, 9))
def test_splice_plays_one_after_the_other(traces, cut, gap_s):
    expected, begin = [], traces[0][0]
    for at_s in traces:
        expected += [(begin + t - at_s[0], n) for n, t in enumerate(at_s, 1)]
        begin = expected[-1][0] + gap_s
    found = seen(do.splice(*(pieces(trace(at_s), cut) for at_s in traces), gap_s=gap_s))
    assert found == [(t * S, n) for t, n in expected]


@given(st.lists(times, min_size=1, max_size=3), st.lists(cuts, min_size=3, max_size=3))
def test_merge_plays_them_at_the_same_time(traces, cut):
    expected = sorted((t * S, k, n) for k, at_s in enumerate(traces) for n, t in enumerate(at_s, 1))
    found = seen(do.merge(*(pieces(trace(at_s), part) for at_s, part in zip(traces, cut, strict=False))))
    assert found == [(t, n) for t, _, n in expected]


def test_other_traces_mean_something_else_by_their_names():
    one = trace([0, 1], ["a", "b"], [[1], [1, 2]])
    for blocks in (do.splice([one], [one], gap_s=1.0), do.merge([one], [one])):
        both = joined(list(blocks))
        assert len(both) == 4
        assert len(set(both.session)) == 4
        flat = [ids[0] for ids in both.hash_ids]
        assert sorted(flat.count(key) for key in set(flat)) == [2, 2]
        assert all(0 <= key < 2**63 for ids in both.hash_ids for key in ids)


def test_hash_ids_of_two_sizes_cannot_be_merged():
    one, other = trace([0], ids=[[1]]), trace([0], ids=[[1]])
    other.block_tokens = 16
    with pytest.raises(TraceError, match="hash ids of 16 and 512 tokens cannot be merged"):
        list(do.merge([one], [other]))
    assert [block.block_tokens for block in do.splice([one], [other])] == [512, 16]


@pytest.fixture
def written(tmp_path):
    def write(block, name="trace"):
        write_trace(tmp_path / name, [block], "parquet")
        return str(tmp_path / name)

    return write


def arrivals(scenario, path, *operations, **more):
    traffic = {"kind": "trace", "path": path, "tier": "plus", "operations": list(operations), **more}
    source = build(scenario(traffic=traffic, run_in=0))
    chunks = list(source.chunks())
    found = [(float(t), int(n)) for chunk in chunks for t, n in chunk.rows[["t_s", "user_tokens"]].tolist()]
    assert source.describe()["requests"] == len(found)
    return found


def test_a_scenario_names_operations(scenario, written):
    path = written(trace([100, 101, 103, 106, 110]))
    other = written(trace([7, 9], tokens=[50, 60]), "other")
    play = [
        ([], [(0, 1), (1, 2), (3, 3), (6, 4), (10, 5)]),
        ([{"do": "cut", "from": "1 s", "to": "10 s"}], [(0, 2), (2, 3), (5, 4)]),
        ([{"do": "cut", "from": 2}], [(1, 3), (4, 4), (8, 5)]),
        ([{"do": "cut", "to": 3}, {"do": "shift", "by": "1 min"}], [(60, 1), (61, 2)]),
        ([{"do": "scale", "rate": 2}, {"do": "cut", "to": 3}], [(0, 1), (0.5, 2), (1.5, 3)]),
        (
            [{"do": "cut", "to": 3}, {"do": "splice", "path": other, "gap": "10 s"}],
            [(0, 1), (1, 2), (11, 50), (13, 60)],
        ),
        ([{"do": "cut", "to": 3}, {"do": "merge", "path": other}], [(0, 1), (0, 50), (1, 2), (2, 60)]),
        ([{"do": "thin", "frac": 1}], [(0, 1), (1, 2), (3, 3), (6, 4), (10, 5)]),
    ]
    for operations, expected in play:
        assert arrivals(scenario, path, *operations) == expected
    assert arrivals(scenario, path, {"do": "cut", "from": 1}, rate_scale=2) == [(0, 2), (1, 3), (2.5, 4), (4.5, 5)]


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        ({"do": "cut", "frac": 0.5}, "operations.0.frac: not part of cut, which takes from, to"),
        ({"do": "thin"}, "operations.0.frac: missing; thin needs it"),
        ({"do": "splice", "gap": 3}, "operations.0.path: missing; splice needs it"),
        ({"do": "cut", "from": 5, "to": 5}, "operations.0.to: must be after from (5 s), got 5 s"),
        ({"do": "thin", "frac": 1.5}, "frac: must be"),
        ({"do": "fold"}, "operations.0.do: "),
    ],
)
def test_a_wrong_operation_is_refused(scenario, operation, says):
    with pytest.raises(SpecError) as caught:
        scenario(traffic={"kind": "trace", "path": "x", "tier": "plus", "operations": [operation]}, run_in=0)
    assert says in str(caught.value)


def test_a_file_without_times_is_replayed_at_a_rate(scenario, tmp_path):
    path = tmp_path / "lengths.csv"
    path.write_text("num_prefill_tokens,num_decode_tokens\n" + "10,20\n" * 50)
    found = arrivals(scenario, str(path), rate_per_s=2)
    assert len(found) == 50
    assert found == arrivals(scenario, str(path), rate_per_s=2)
    with pytest.raises(TraceError, match="rate_per_s"):
        arrivals(scenario, str(path))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 5), max_size=3),
            st.sampled_from(["", "a", "b"]),
            st.integers(1, 2000),
            st.integers(0, 2000),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_prompts_begin_with_what_they_are_said_to(requests):
    from sim.traffic.replay import _Ideal, block_segments

    ids, names, prompts, shared = (list(column) for column in zip(*requests, strict=True))
    prompt = np.array(prompts)
    block = TraceBlock(np.zeros(len(prompt), dtype=np.int64), prompt, prompt, hash_ids=ids)
    block.prefix = texts(names)
    block.prefix_tokens = np.where(block.prefix == "", 0, np.minimum(shared, prompt))
    counts, segments = block_segments(block, np.arange(len(prompt)))
    keys = {}
    for row, part in enumerate(np.split(segments, np.cumsum(counts)[:-1])):
        told = bool(ids[row]) or block.prefix_tokens[row] > 0
        assert part["tokens"].sum() == (prompts[row] if told else 0)
        if not ids[row] and told:
            assert part["tokens"][0] == block.prefix_tokens[row]
            assert keys.setdefault(names[row], part["key"][0]) == part["key"][0]
    ideal = _Ideal()
    ideal.add(block)
    assert 0 <= ideal.hit_tokens <= prompt.sum()


def test_conversations_find_their_history(scenario, tmp_path):
    said = [("human", 20), ("gpt", 30), ("human", 5), ("gpt", 10), ("human", 40), ("gpt", 7)]
    messages = ", ".join(f'{{"from": "{who}", "value": "", "tokens": {tokens}}}' for who, tokens in said)
    path = tmp_path / "share.json"
    path.write_text(f'[{{"conversations": [{messages}]}}, {{"conversations": [{messages}]}}]')
    traffic = {"kind": "trace", "path": str(path), "tier": "plus", "rate_per_s": 1, "turn_gap_s": 10}
    source = build(scenario(traffic=traffic, run_in=0))
    # Prompts of 20, 55 and 105 tokens in each conversation: the second finds the first, the third the second.
    expected = 2 * (20 + 55)
    assert source.describe()["inputs"]["trace"]["ideal_prefix_hit_frac"] == expected / (2 * (20 + 55 + 105))
    assert reuse(source.chunks(), Unlimited(), 1).hit_tokens == expected
    blocks = list(read_trace(path, options=Options(rate_per_s=1.0)))
    assert {name for block in blocks for name in block.optional} == {"session", "turn", "prefix", "prefix_tokens"}
