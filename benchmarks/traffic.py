"""How fast traffic is generated, and in how little memory.

    python benchmarks/traffic.py [MONTHLY_USERS]

prints, for one day of so many users (10 million by default), the time of one core to draw the day and to hand all of it
out, and the peak memory; then the same with regions, languages and a flash crowd, with an API, with batch jobs, with as
many users active on one day, and over three days. Each runs in a process of its own; the best of three runs counts.
"""

import json
import resource
import subprocess
import sys
import time

import numpy as np

import sim
from sim.spec import Scenario
from sim.traffic import build

SCENARIO = {
    "name": "speed",
    "model": "llama-3.1-8b",
    "hardware": "any",
    "traffic": {"kind": "population", "monthly_users": 0},
    "tiers": {
        "free": {"user_frac": 0.944},
        "go": {"user_frac": 0.02, "relative_use": 2.1},
        "plus": {"user_frac": 0.033, "relative_use": 3},
        "pro": {"user_frac": 0.003, "relative_use": 11},
        "api": {},
    },
    "fleet": {"pools": {"main": {"replicas": 1}}, "paths": {"default": [{"pool": "main", "kind": "generate"}]}},
}
API = {"workload": "api-service", "tier": "api", "tokens_per_chat_token": 0.25}
LAUNCH = [{"kind": "launch", "at": "17 h", "peak_factor": 3}]
TURNS = 3.0
REPEATS = 3


def regions():
    """Return the regions and languages of the main job."""
    traffic = sim.load("meridian-1").traffic
    return {
        "traffic.regions": {name: region.to_dict() for name, region in traffic.regions.items()},
        "traffic.curve": traffic.curve,
        "traffic.weekend_frac": 0.75,
    }


def cases(users):
    """Return the changes of each case."""
    return {
        "people": {},
        "people in five regions, 19 languages, a launch": regions() | {"traffic.events": LAUNCH},
        "people and API": {"traffic.api": API},
        "people and batch jobs": {"traffic.batch": API},
        f"{users:,} users active on a day": {"traffic.monthly_users": 4 * users},
        f"{users:,} users active on a day, five regions, 19 languages": regions()
        | {"traffic.monthly_users": 4 * users},
        "people, three days": {"horizon": "3 d"},
    }


def drawn(scenario):
    """Return (seconds until the first chunk, seconds for all, rows of people, rows)."""
    source = build(scenario)
    begin = time.process_time()
    first_s, people, num_rows = 0.0, 0, 0
    for chunk in source.chunks():
        first_s = first_s or time.process_time() - begin
        people += int((chunk.rows["user"] < 1 << 40).sum())
        num_rows += len(chunk.rows)
    return first_s, time.process_time() - begin, people, num_rows


def measured(users, name):
    """Print the figures of one case as JSON."""
    scenario = Scenario.from_dict(SCENARIO | {"traffic": {"kind": "population", "monthly_users": users}})
    scenario = scenario.replace_all(cases(users)[name])
    runs = [drawn(scenario) for _ in range(REPEATS)]
    first_s, all_s = np.min([run[:2] for run in runs], axis=0)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps({"first_s": first_s, "all_s": all_s, "people": runs[0][2], "rows": runs[0][3], "peak_mb": peak_mb})
    )


def main():
    users = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10_000_000
    if len(sys.argv) > 2:
        measured(users, sys.argv[2])
        return
    for name in cases(users):
        done = subprocess.run([sys.executable, __file__, str(users), name], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        requests = found["people"] * TURNS + found["rows"] - found["people"]
        print(
            f"{name}: {found['rows']:,} rows; first chunk after {found['first_s']:.2f} s, all after"
            f" {found['all_s']:.2f} s ({found['all_s'] / found['rows'] * 1e9:.0f} ns a row,"
            f" {requests / found['all_s'] / 1e6:.1f}M requests/s with their turns); peak {found['peak_mb']:.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
