"""How fast traces are read and written.

    python benchmarks/traces.py [ROWS]

writes a trace of so many requests (1 million by default) in each format, reads it again, with and without gzip, and
prints the rates of one core and the peak memory. The best of three runs counts.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from sim.traffic.traces import Options, TraceBlock, read_trace, write_trace

BLOCK_ROWS = 65_536
REPEATS = 3
FORMATS = ("parquet", "azure", "burstgpt", "vidur", "servegen", "mooncake", "inference_perf", "inference_perf_requests")


def generated(num_rows):
    """Blocks of a trace like Azure's week of 2024: 45 requests a second, in microseconds."""
    rng = np.random.default_rng(1)
    start_ns = 1_000_000_000
    for begin in range(0, num_rows, BLOCK_ROWS):
        count = min(BLOCK_ROWS, num_rows - begin)
        time_ns = start_ns + np.cumsum(1 + rng.exponential(1e6 / 45, count).astype(np.int64)) * 1000
        start_ns = int(time_ns[-1])
        yield TraceBlock(
            time_ns,
            1 + rng.lognormal(6.6, 1.0, count).astype(np.int64),
            1 + rng.lognormal(5.0, 0.8, count).astype(np.int64),
        )


def timed(function):
    """Best time of one core [s], and what the function returns."""
    best_s, found = np.inf, None
    for _ in range(REPEATS):
        begin = time.process_time()
        found = function()
        best_s = min(best_s, time.process_time() - begin)
    return best_s, found


def main():
    num_rows = int(float(sys.argv[1])) if len(sys.argv) > 1 else 1_000_000
    blocks = list(generated(num_rows))
    with tempfile.TemporaryDirectory() as folder:
        for name in FORMATS:
            for ending in ("", ".gz"):
                path = Path(folder) / f"trace{ending}"
                if name == "parquet" and ending:
                    continue
                write_s, _ = timed(lambda path=path, name=name: write_trace(path, blocks, name))
                read_s, found = timed(
                    lambda path=path, name=name: sum(map(len, read_trace(path, name, Options(time_unit="s"))))
                )
                assert found == num_rows
                size_mb = path.stat().st_size / 1e6
                print(
                    f"{name + ending:28} {size_mb:7.1f} MB: read {num_rows / read_s / 1e6:5.2f} M rows/s,"
                    f" written {num_rows / write_s / 1e6:5.2f} M rows/s"
                )
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
