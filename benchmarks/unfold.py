"""How fast conversations are unfolded into requests, and looked at.

    python benchmarks/unfold.py [MONTHLY_USERS]

prints, for one day of so many users (10 million by default) and for the same with an API beside them, the requests
unfolded in a second on one core, first turns included, then with their statistics, and the peak memory so far.
"""

import resource
import sys
import time

from traffic import API, SCENARIO

from sim.spec import Scenario
from sim.traffic import build
from sim.traffic.statistics import SourceView, Statistics
from sim.traffic.subject import SAMPLE_BLOCKS
from sim.traffic.turns import Service
from sim.traffic.unfold import unfold

SERVICE = Service(ttft_s=0.5, tpot_s=0.02)
BLOCK_TOKENS = 512


def unfolded(scenario):
    """Return the number of requests of a scenario."""
    return sum(len(part.rows) for part in unfold(build(scenario), scenario.seed, SERVICE, scenario.horizon_s))


def looked_at(scenario):
    """Return the number of requests of a scenario, and make their statistics."""
    source = build(scenario)
    view = SourceView(source, scenario.seed, BLOCK_TOKENS, SAMPLE_BLOCKS)
    statistics = Statistics(BLOCK_TOKENS, view.sample_frac)
    for seen in view.seen(unfold(source, scenario.seed, SERVICE, scenario.horizon_s)):
        statistics.add(seen)
    return statistics.result(scenario.horizon_s)["num_requests"]


def main():
    users = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10_000_000
    scenario = Scenario.from_dict(SCENARIO | {"traffic": {"kind": "population", "monthly_users": users}})
    for name, changed in (("people", scenario), ("people and API", scenario.replace("traffic.api", API))):
        for what, do in (("unfolded", unfolded), ("with statistics", looked_at)):
            begin = time.process_time()
            num = do(changed)
            took_s = time.process_time() - begin
            peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{name}, {what}: {users:,} users, {num:,} requests in {took_s:.1f} s"
                f" ({num / took_s:,.0f} a second); peak {peak_mb:.0f} MB"
            )


if __name__ == "__main__":
    main()
