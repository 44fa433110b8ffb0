"""Several sources become one, in order of time and then of source."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sim.traffic import order
from sim.traffic.arrivals import ARRIVAL, BUCKET, Chunk
from sim.traffic.order import merge, time_order
from sim.traffic.summary import Volume, described


@dataclass
class Kind:
    """What merging asks of a class."""

    name: str
    length_factor: np.ndarray | None


class Listed:
    """A source of given chunks of times."""

    def __init__(self, name, chunks, num_buckets=0):
        self.classes = (Kind(name, np.array([2.0, 3.0]) if num_buckets else None),)
        self.languages = ("both", name)
        self.buckets = np.zeros(num_buckets, dtype=BUCKET)
        self.times = chunks

    def describe(self):
        volume = Volume(self.classes[0].name, "tier", 2.0, 4.0, 100.0, 50.0, 80.0)
        return described(self.classes[0].name, [volume], np.ones(24))

    def chunks(self):
        for number, times in enumerate(self.times):
            rows = np.zeros(len(times), dtype=ARRIVAL)
            rows["t_s"], rows["user"] = times, number
            rows["bucket"] = len(self.buckets) - 1
            rows["language"] = rows["user"] % 2
            yield Chunk(rows)


# Times on a coarse grid, so that equal ones are common; cut into chunks anywhere.
times = st.lists(st.integers(0, 12), max_size=30).map(sorted)
cuts = st.lists(st.integers(0, 30), max_size=4).map(sorted)
sources = st.lists(st.tuples(times, cuts), min_size=1, max_size=4)


@given(sources)
def test_merging_is_a_stable_sort_of_all(drawn):
    listed = [
        Listed(f"s{i}", np.split(np.array(ts, dtype=float), cs), num_buckets=i % 2) for i, (ts, cs) in enumerate(drawn)
    ]
    merged = merge(listed)
    chunks = [chunk.rows for chunk in merged.chunks()]
    found = np.concatenate([*chunks, np.zeros(0, dtype=ARRIVAL)])
    every = np.concatenate([np.array(ts, dtype=float) for ts, _ in drawn])
    source = np.concatenate([np.full(len(ts), i) for i, (ts, _) in enumerate(drawn)])
    expected = np.lexsort((source, every))
    assert np.array_equal(found["t_s"], every[expected])
    assert np.array_equal(found["class_id"], source[expected])
    # Every odd source has one bucket; those before it have one each too.
    assert np.array_equal(found["bucket"], np.where(source % 2, source // 2, -1)[expected])
    # Every second chunk is in the language that only its source has.
    number = np.concatenate([np.repeat(np.arange(len(c)), list(map(len, c))) for c in (s.times for s in listed)])
    spoken = np.array(merged.languages)[found["language"]]
    assert spoken.tolist() == [
        f"s{i}" if n % 2 else "both" for i, n in zip(source[expected], number[expected], strict=True)
    ]
    assert [kind.name for kind in merged.classes] == [f"s{i}" for i in range(len(drawn))]
    for i, kind in enumerate(merged.classes):
        told = kind.length_factor
        expected = [2.0 if name == "both" else 3.0 if name == f"s{i}" else 1.0 for name in merged.languages]
        assert told is None if i % 2 == 0 else told.tolist() == expected
    assert len(merged.buckets) == len(drawn) // 2


def test_descriptions_add_up():
    merged = merge([Listed("a", []), Listed("b", [])])
    said = merged.describe()
    assert (said["requests"], said["conversations"], said["mean_turns"]) == (8, 4, 2)
    assert (said["mean_user_tokens"], said["mean_output_tokens"]) == (20, 12.5)
    assert said["hourly_curve"] == [1.0] * 24
    assert said["tier_share"] == {"tier": 1.0}
    assert set(said["by_class"]) == {"a", "b"}


def test_large_slices_are_sorted_too(monkeypatch):
    offsets = np.random.default_rng(1).integers(0, 1 << 40, 5000)
    offsets[::7] = 42
    expected = np.argsort(offsets, kind="stable")
    assert np.array_equal(time_order(offsets), expected)
    monkeypatch.setattr(order, "_ROW_BITS", 10)
    assert np.array_equal(time_order(offsets), expected)
