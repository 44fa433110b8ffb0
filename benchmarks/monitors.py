"""How often monitors cry wolf, and how soon they see a drift: the figures of docs/monitoring.md.

python benchmarks/monitors.py play --seeds 1:251 --folder runs/monitors
python benchmarks/monitors.py full --folder runs/monitors
python benchmarks/monitors.py judge --folder runs/monitors --out benchmarks/results

`play` leaves one file for each service and drift, and goes on where it was stopped; several may run side by side with
seeds of their own. `full` plays one week at full scale (half an hour), or at a part of it (--scale, here and for
`judge`). `judge` reads what there is.
"""

import argparse
import csv
import math
import time
from collections import Counter
from pathlib import Path

import numpy as np

import sim
from sim.fleet.build import build, compile_pools
from sim.fleet.drifts import Watch
from sim.metrics.drift.baseline import Baseline
from sim.metrics.drift.bootstrap import bare, bootstrapped
from sim.metrics.drift.monitors import Plan, judge
from sim.study.drills import (
    DRIFT_HOUR,
    DRIFT_HOURS,
    DRILLS,
    ONE_GUARD,
    PER_DAY,
    WEEK,
    Seen,
    drilled,
    false_alarms,
    joined,
    play,
    series_of,
    thinned,
)

WEEKS = 7
PLAN = Plan(per_day=PER_DAY, baseline_weeks=3, false_alarms=0.05)
NUM_BOOTSTRAPPED = 1_000
REPLICAS = {"main": 264, "api": 328, "guard": 24}
"""Of meridian-1, all the time."""
FIELDS = Seen.__dataclass_fields__


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("do", choices=["play", "full", "judge"])
    parser.add_argument("--seeds", default="1:251")
    parser.add_argument("--only", nargs="+", default=None, help="calm, or names of drills")
    parser.add_argument("--scale", type=float, default=1.0, help="of the full-scale week")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.do == "play":
        play_all(given)
    elif given.do == "full":
        play_full(given)
    else:
        judge_all(given)


def file_of(folder, seed, name):
    return folder / f"{seed:04d}-{name}.npz"


def play_all(given):
    base = thinned(sim.load("meridian-1", override=["plain"]))
    pools = compile_pools(base)
    jobs = [("calm", WEEKS * WEEK, {})] + [(drill.name, DRIFT_HOURS, drill.changes) for drill in DRILLS]
    for seed in range(*map(int, given.seeds.split(":"))):
        for name, hours, changes in jobs:
            file = file_of(given.folder, seed, name)
            if file.exists() or (given.only and name not in given.only):
                continue
            began = time.perf_counter()
            _, seen = play(base, pools, seed, hours, changes)
            keep(file, seen)
            print(file.name, f"{time.perf_counter() - began:.1f} s", flush=True)


def full_scale(scale):
    """A week of meridian-1, or of a part of it."""
    changes = {
        "traffic.start_weekday": "monday",
        "traffic.monthly_users": round(10_000_000 * scale),
        "traffic.api.num_clients": round(1_000 * scale),
        "report_interval": "1 h",
        "horizon": f"{WEEK} h",
    }
    for pool, replicas in REPLICAS.items():
        changes[f"fleet.pools.{pool}.max_replicas"] = math.ceil(replicas * scale)
        changes[f"fleet.pools.{pool}.replicas"] = math.ceil(replicas * scale)
    base = thinned(sim.load("meridian-1", override=["plain"]), ONE_GUARD)
    if scale < 1.0:  # fewer replicas first, or the most would be fewer than they are
        changes = dict(reversed(changes.items()))
    return thinned(base, changes)


def play_full(given):
    base = full_scale(given.scale)
    _, seen = play(base, compile_pools(base), base.seed, WEEK, {})
    keep(given.folder / "full.npz", seen)


def keep(file, seen):
    np.savez_compressed(file, **{field: getattr(seen, field) for field in FIELDS})


def read(file):
    with np.load(file) as found:
        return Seen(**{field: found[field] for field in FIELDS})


def judge_all(given):
    base = thinned(sim.load("meridian-1", override=["plain"]))
    pools = compile_pools(base)
    layouts = Watch(build(base.replace("horizon", f"{WEEKS * WEEK} h"), pools))
    weeks, drills = [], []
    for file in sorted(given.folder.glob("*-calm.npz")):
        seed = int(file.name[:4])
        found = read(file)
        charts, calm = series_of(layouts, found, PLAN.baseline_weeks * WEEK)
        for week, verdict in false_alarms(charts, calm, PLAN):
            first = verdict.alarms[0] if verdict.alarms else None
            weeks.append((seed, week, len(verdict.alarms), "" if first is None else str(first.chart)))
        for drill in DRILLS:
            if not (other := file_of(given.folder, seed, drill.name)).exists():
                continue
            drifting = read(other)
            same, series = series_of(layouts, joined(found, drifting), PLAN.baseline_weeks * WEEK)
            assert same == charts
            verdict = drilled(charts, calm, series.part(len(found.gauges), len(series.values)), PLAN)
            drills.append((seed, drill.name, drill.layer, *told(verdict)))
    given.out.mkdir(parents=True, exist_ok=True)
    write(given.out / "monitor_weeks.csv", ("seed", "week", "alarms", "first"), weeks)
    write(
        given.out / "monitor_drills.csv",
        ("seed", "drift", "layer", "false", "delay_h", "chart", "owner", "because", "moved_stderr"),
        drills,
    )
    say(weeks, drills, len(charts))
    if (given.folder / "full.npz").exists():
        judge_full(given)


def judge_full(given):
    """Weeks made of one full-scale week, each against three others; also where every change matters."""
    charts, week = series_of(Watch(build(full_scale(given.scale))), read(given.folder / "full.npz"), WEEK)
    rng = np.random.default_rng(1)
    limit, known = PLAN.limit(len(charts)), PLAN.baseline_weeks * WEEK
    rows = []
    for number in range(NUM_BOOTSTRAPPED):
        weeks = bootstrapped(week, PER_DAY, PLAN.baseline_weeks + 1, rng)
        alarms = []
        for series in (weeks, bare(weeks)):
            baseline = Baseline.fit(series.part(0, known), PER_DAY)
            alarms.append(len(judge(charts, baseline, series.part(known, known + WEEK), PLAN.k, limit).alarms))
        rows.append((number, *alarms))
    write(given.out / "monitor_bootstrap.csv", ("week", "alarms", "alarms_if_all_matters"), rows)
    alarmed = [sum(1 for row in rows if row[column]) for column in (1, 2)]
    print(
        f"{len(rows)} bootstrapped weeks, {len(charts)} charts: {alarmed[0]} with an alarm, {alarmed[1]} if all matters"
    )


def told(verdict):
    """(alarmed before the drift, delay [h], chart of the first alarm after it, owner, because, standard errors)."""
    early = any(alarm.interval < DRIFT_HOUR for alarm in verdict.alarms)
    late = [alarm for alarm in verdict.alarms if alarm.interval >= DRIFT_HOUR]
    if not late:
        return int(early), "", "", "", "", ""
    found = verdict.diagnosis
    delay_h = late[0].interval + 1 - DRIFT_HOUR
    return int(early), delay_h, str(late[0].chart), found.owner.layer, found.because, f"{found.moved:.1f}"


def write(file, header, rows):
    with file.open("w", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows([header, *rows])


def say(weeks, drills, num_charts):
    alarmed = sum(1 for row in weeks if row[2])
    services = len({row[0] for row in weeks})
    print(f"{len(weeks)} weeks of {services} services, {num_charts} charts: {alarmed} with an alarm")
    print("first charts:", Counter(row[3] for row in weeks if row[2]).most_common(8))
    for drill in DRILLS:
        rows = [row for row in drills if row[1] == drill.name]
        delays = np.array([row[4] for row in rows if row[4] != ""], dtype=float)
        right = sum(1 for row in rows if row[6] == drill.layer)
        if rows:
            spread = np.quantile(delays, [0.5, 0.95, 1.0]) if len(delays) else []
            print(drill.name, len(rows), "detected", len(delays), "delay [h] p50 p95 max", spread, "right layer", right)


if __name__ == "__main__":
    main()
