"""How fast the main job runs: figures for benchmarks/README.md.  `make bench`

Every figure is measured in this one run and stands beside the time of a reference kernel, so that ratios can be
compared between machines and days: a binary heap of 4,096 floats in numba, pop and push ten million times.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numba
import numpy as np

import sim
from sim.fleet.build import build
from sim.fleet.run import Player

HEAP_OPERATIONS = 10_000_000
HEAP_SIZE = 4096
MAIN_REPLICAS = 592  # of meridian-1, plain: main and api together


@numba.njit
def heap_kernel(heap, n):
    """The hold model: take the least, put it back a little later."""
    word = np.uint64(1)
    for _ in range(n):
        word = word * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        value = heap[0] + (word >> np.uint64(11)) * 2.0**-53
        i = 0
        while 2 * i + 1 < heap.size:
            c = 2 * i + 1
            if c + 1 < heap.size and heap[c + 1] < heap[c]:
                c += 1
            if heap[c] >= value:
                break
            heap[i] = heap[c]
            i = c
        heap[i] = value


def reference_s() -> float:
    """Seconds of the reference kernel."""
    heap = np.zeros(HEAP_SIZE)
    began = time.perf_counter()
    heap_kernel(heap, HEAP_OPERATIONS)
    return time.perf_counter() - began


def rate(scenario, *, clock: str = "compiled", num_planes: int | None = None) -> tuple[float, dict]:
    """Requests per second of wall time: run-in, traffic and writing the records included."""
    run = Player(build(scenario), clock, True, None, num_planes).play()
    with tempfile.TemporaryDirectory() as folder:
        run.write(folder)
    return run.info["num_requests_with_run_in"] / run.info["wall_s"], run.info


def scaled(scenario, factor: float, hours: float):
    """The scenario with so many times the users and replicas, for a few hours."""
    pools = scenario.fleet.pools
    changes = {"traffic.monthly_users": round(scenario.traffic.monthly_users * factor), "horizon": f"{hours} h"}
    changes["traffic.api.num_clients"] = max(10, round(scenario.traffic.api.num_clients * factor))
    for name, pool in pools.items():
        changes[f"fleet.pools.{name}.replicas"] = changes[f"fleet.pools.{name}.max_replicas"] = max(
            1, round(pool.replicas * factor)
        )
    return scenario.replace_all(changes)


STARTER = """
import os, time
import sim
from sim.fleet.build import build
from sim.fleet.run import Player
player = Player(build(sim.load("meridian-1")), "compiled", True, None)
first = next(player.built.source.chunks())
print(time.time() - float(os.environ["BEGAN"]))
"""


def start_s(cache: str) -> float:
    """From the start of a process to the first request of meridian-1 in hand and the plane compiled [s]."""
    environment = {**os.environ, "TOKENFLEET_CACHE_DIR": cache, "BEGAN": str(time.time())}
    done = subprocess.run([sys.executable, "-c", STARTER], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def import_s() -> float:
    """Best of five `import sim`, the interpreter's own start left out [s]."""

    def best(code: str) -> float:
        times = []
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append(time.perf_counter() - began)
        return min(times)

    return best("import sim") - best("pass")


def main() -> None:
    """Measure everything and print it as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hours", type=float, default=24.0, help="simulated hours of the main job")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--planes", type=int, default=None, help="side by side at most; default: processors")
    options = parser.parse_args()
    reference_s()
    day = sim.load("meridian-1").replace("horizon", f"{options.hours} h")
    found: dict[str, object] = {"import_sim_s": import_s()}
    with tempfile.TemporaryDirectory() as cache:
        found["first_start_s"] = start_s(cache)
        found["later_start_s"] = min(start_s(cache) for _ in range(3))
    rates, references, info = [], [], {}
    for _ in range(options.repeats):
        references.append(reference_s())
        value, info = rate(day, num_planes=options.planes)
        rates.append(value)
        print(f"{value:,.0f} requests/s, reference {references[-1]:.3f} s", file=sys.stderr)
    found["day_planes"] = info["num_planes"]
    found["day_requests"] = info["num_requests_with_run_in"]
    found["day_events"] = info["num_events"]
    found["day_requests_per_s"] = {"best": max(rates), "median": statistics.median(rates), "all": rates}
    found["reference_kernel_s"] = {"best": min(references), "all": references}
    found["day_ns_per_request_over_reference_ns"] = 1e9 / max(rates) / (1e9 * min(references) / HEAP_OPERATIONS)
    plain = sim.load("meridian-1", override=["plain"])  # no autoscaler, so that replicas are what they are said to be
    for replicas in (32, MAIN_REPLICAS, 1024):
        small = scaled(plain, replicas / MAIN_REPLICAS, 4.0 if replicas < 100 else 2.0)
        found[f"requests_per_s_at_{replicas}_replicas"] = max(rate(small)[0] for _ in range(3))
    found["simpy_requests_per_s"] = max(rate(scaled(plain, 0.05, 0.5), clock="simpy")[0] for _ in range(3))
    found["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
