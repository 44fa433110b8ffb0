"""How fast traffic is generated.

    python benchmarks/traffic.py [MONTHLY_USERS]

prints, for one day of so many users (10 million by default), the time of one core to draw the day and to hand all of it
out, and the peak memory; then the same with an API beside them. The best of three runs counts.
"""

import resource
import sys
import time

import numpy as np

from sim.spec import Scenario
from sim.traffic import build

SCENARIO = {
    "name": "speed",
    "model": "any",
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
REPEATS = 3


def drawn(scenario):
    """Return (seconds until the first chunk, seconds for all, rows)."""
    source = build(scenario)
    begin = time.process_time()
    first_s, num_rows = 0.0, 0
    for chunk in source.chunks():
        first_s = first_s or time.process_time() - begin
        num_rows += len(chunk.rows)
    return first_s, time.process_time() - begin, num_rows


def main():
    users = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10_000_000
    scenario = Scenario.from_dict(SCENARIO | {"traffic": {"kind": "population", "monthly_users": users}})
    for name, changed in (("people", scenario), ("people and API", scenario.replace("traffic.api", API))):
        runs = [drawn(changed) for _ in range(REPEATS)]
        first_s, all_s = np.min([run[:2] for run in runs], axis=0)
        num_rows = runs[0][2]
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{name}: {users:,} users, {num_rows:,} rows; first chunk after {first_s:.2f} s"
            f" ({first_s / users * 1e9:.0f} ns a user), all after {all_s:.2f} s"
            f" ({(all_s - first_s) / num_rows * 1e9:.0f} ns a row more); peak {peak_mb:.0f} MB"
        )


if __name__ == "__main__":
    main()
