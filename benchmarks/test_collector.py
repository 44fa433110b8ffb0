"""What it costs to count a finished request: less than 150 ns is the aim, where a run has 30 million a day."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "metrics"))
from synthetic import collect, done, measured

CHUNK_ROWS = 16_384


@pytest.mark.benchmark(group="metrics")
def test_collector(benchmark):
    collector = collect(done(400_000))  # past the size of the samples: most rows are counted and let go
    rows = measured(done(20_000, seed=1))[:CHUNK_ROWS]

    def others():
        rows["conversation"] += CHUNK_ROWS  # other requests, with other hashes
        return (rows,), {}

    benchmark.pedantic(collector.add, setup=others, rounds=200)
    if benchmark.stats is not None:
        benchmark.extra_info["ns_per_row"] = benchmark.stats["median"] / CHUNK_ROWS * 1e9
