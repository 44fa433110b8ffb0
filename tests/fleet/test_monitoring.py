"""Monitors of a run: what they say of a drift; and, at length, false alarms and owners over many services."""

import json
import re

import pytest
from scipy.stats import binom

import sim
from sim.fleet.build import build, compile_pools
from sim.fleet.drifts import Watch
from sim.fleet.run import run
from sim.metrics.drift.monitors import Plan
from sim.study.drills import (
    DRIFT_HOUR,
    DRIFT_HOURS,
    DRILLS,
    PER_DAY,
    WEEK,
    drilled,
    false_alarms,
    joined,
    play,
    series_of,
    thinned,
)

TWO_WEEKS = """
model: llama-3.1-8b
hardware: h100-sxm-80gb
horizon: 14 d
report_interval: 1 h
traffic: {kind: population, monthly_users: 2000, start_weekday: monday}
tiers: {default: {system_prompt_tokens: 320, user_frac: 1}}
fleet: {pools: {main: {replicas: 2}}}
monitoring: {baseline_weeks: 1}
drifts: [{at: 225 h, kind: longer_answers, factor: 1.5}]
"""
DRIFT_S = 225 * 3600.0


def test_a_run_says_what_has_changed_and_who_should_look(tmp_path, repository):
    file = tmp_path / "two-weeks.yaml"
    file.write_text(TWO_WEEKS)
    found = run(sim.load(str(file))).result["sim"]["monitoring"]
    (week,) = found["weeks"]
    first = week["alarms"][0]
    assert (week["begin_s"], first["direction"]) == (7 * 86400.0, "up")
    assert DRIFT_S < first["t_s"] <= DRIFT_S + 86400.0
    assert abs(first["since_s"] - DRIFT_S) <= 6 * 3600.0
    assert week["diagnosis"]["owner"] == "model"
    assert week["psi"]["default output"] > 0.05 > week["psi"]["default prompt"]
    text = (repository / "docs" / "nomenclature.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(\w+)`", text))
    assert {*found, *week, *first, *week["diagnosis"]} <= told
    json.dumps(found)


def test_the_pace_that_is_watched_is_that_of_pools_that_answer():
    """Classifiers stand before the answer, and behind it too."""
    watched = Watch(build(sim.load("meridian-1", override=["small"]))).layout()
    assert {watched.pools[pool] for pool in watched.answering} == {"main", "api"}


NUM_SERVICES = 12


@pytest.fixture(scope="module")
def services():
    """Some thinned services of meridian-1: charts, calm weeks, and a week of each drill."""
    base = thinned(sim.load("meridian-1", override=["plain"]))
    pools = compile_pools(base)
    plan = Plan(PER_DAY, baseline_weeks=3, false_alarms=0.05)
    known = plan.baseline_weeks * WEEK
    verdicts, drills = [], []
    for seed in range(1, NUM_SERVICES + 1):
        watch, calm = play(base, pools, seed, 7 * WEEK, {})
        charts, series = series_of(watch, calm, known)
        verdicts += false_alarms(charts, series, plan)
        for drill in DRILLS:
            _, drifting = play(base, pools, seed, DRIFT_HOURS, drill.changes)
            _, both = series_of(watch, joined(calm, drifting), known)
            week = both.part(7 * WEEK, len(both.values))
            drills.append((drill, drilled(charts, series, week, plan)))
    return verdicts, drills


@pytest.mark.slow
def test_services_that_do_not_change_alarm_no_more_than_said(services):
    verdicts, _ = services
    alarmed = sum(1 for _, verdict in verdicts if verdict.alarms)
    assert alarmed <= binom.ppf(0.99, len(verdicts), 0.05)


@pytest.mark.slow
def test_every_drift_is_found_and_its_owner_named(services):
    _, drills = services
    for drill, verdict in drills:
        late = [alarm.interval for alarm in verdict.alarms if alarm.interval >= DRIFT_HOUR]
        assert late, drill.name
        assert min(late) < DRIFT_HOUR + 36
        assert verdict.diagnosis.owner.layer == drill.layer
