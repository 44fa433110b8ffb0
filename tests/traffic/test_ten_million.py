"""The main job's own people: totals, tiers, highest hour, regions and their humps are the scenario's inputs.

Every comparison is made within four standard errors over users, whose messages are independent of each other's: a false
alarm has 6e-5 a comparison, 160 of them are made. Answers take no time here, so later turns come as planned.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sim
from sim.traffic import build
from sim.traffic.unfold import unfold

HOURS = 24


def hold_to_inputs(num_users, within):
    """Compare a day of the main job's people with the numbers of its file."""
    scenario = sim.load("meridian-1", set={"traffic.monthly_users": num_users, "traffic.api": None, "run_in": "6 h"})
    source, traffic = build(scenario), scenario.traffic
    said = source.describe()
    parts = []
    for block in unfold(source, scenario.seed, horizon_s=86400.0):
        rows = block.rows[block.rows["t_s"] >= 0]
        parts.append((rows["t_s"] // 3600, rows["user"], rows["class_id"], rows["turn"] == 0))
    hour, user, kind, first = (np.concatenate(column) for column in zip(*parts, strict=True))
    hour = hour.astype(np.int8)

    def count(chosen):
        return np.bincount(user[chosen], minlength=num_users)

    # Messages: users x share who come x messages of who comes; conversations: by the mean number of turns.
    messages = np.bincount(user, minlength=num_users)
    expected = num_users * traffic.daily_active_frac * traffic.messages_per_active_user_per_day
    assert said["requests"] == pytest.approx(expected, rel=1e-6)
    within(messages, expected, "messages")
    conversations = count(first)
    within(conversations, expected / traffic.turns_per_conversation, "conversations")
    within(messages - traffic.turns_per_conversation * conversations, 0.0, "turns")
    # A user of a region comes or not on the UTC day; it is two local days but for one region.
    # Tiers: in proportion to users and use; paid users' share of the messages.
    use = {name: tier.user_frac * tier.relative_use for name, tier in scenario.tiers.items() if tier.user_frac}
    for at, (name, share) in enumerate(use.items()):
        share /= sum(use.values())
        assert said["tier_share"][name] == pytest.approx(share)
        within(count(kind == at) - share * messages, 0.0, name)
    assert 1 - use["free"] / sum(use.values()) == pytest.approx(0.16, abs=0.005)
    assert 1 - scenario.tiers["free"].user_frac == pytest.approx(0.056)
    # Regions on their own hours; together they have their highest hour at 1.5 of the mean.
    users = np.arange(num_users, dtype=np.uint64)
    region = np.concatenate([source.people.region(each) for each in np.array_split(users, 64)]).astype(np.int8)
    humps = said["inputs"]["population"]["regions"]
    where = region[user]
    for at, (name, given) in enumerate(traffic.regions.items()):
        within(region == at, given.user_frac * num_users, name)
        assert sum(humps[at]["hourly_requests"]) == pytest.approx(given.user_frac * expected, rel=1e-6)
        for h in range(HOURS):
            within(count((where == at) & (hour == h)), humps[at]["hourly_requests"][h], f"{name}, {h}")
    curve = np.array(said["hourly_curve"])
    assert curve.max() == pytest.approx(1.5, abs=0.01)
    for h in range(HOURS):
        within(count(hour == h) - curve[h] / HOURS * messages, 0.0, f"hour {h}")
    return len(user)


def test_a_hundredth_of_the_day_equals_the_scenarios_inputs(within):
    assert hold_to_inputs(100_000, within) > 180_000


@pytest.mark.slow
def test_the_day_of_ten_million_equals_the_scenarios_inputs(within):
    assert hold_to_inputs(10_000_000, within) > 19_000_000


MEASURED = """
import json, pathlib, sys
import sim
from sim.traffic import build
changes = json.loads(sys.argv[1])
source = build(sim.load("meridian-1", set={"run_in": 0, "traffic.api": None} | changes))
rows = sum(len(chunk.rows) for chunk in source.chunks())
status = dict(line.split(":") for line in pathlib.Path("/proc/self/status").read_text().splitlines())
print(json.dumps([rows, 1024 * int(status["VmHWM"].split()[0])]))
"""


def peak_bytes(**changes):
    """Rows made by a process of its own, and all the memory that it took at its peak."""
    told = json.dumps({name.replace("__", "."): value for name, value in changes.items()})
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, told], capture_output=True, text=True, check=True, env=os.environ
    )
    return json.loads(done.stdout)


has_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its memory from /proc")


@has_proc
@pytest.mark.slow
def test_ten_million_active_users_take_less_than_400_mb():
    # Four times the monthly users, of whom a quarter comes on the day; in five regions, 19 languages.
    few, base = peak_bytes(traffic__monthly_users=1_000_000)
    rows, peak = peak_bytes(traffic__monthly_users=40_000_000)
    assert rows > 26_000_000
    assert peak < 400e6
    # What grows with the users: at most 32 bytes for each of the day's rows.
    assert (peak - base) / (rows - few) < 32


@has_proc
@pytest.mark.slow
def test_memory_does_not_grow_with_the_horizon():
    _, one_day = peak_bytes(traffic__monthly_users=4_000_000)
    rows, eight_days = peak_bytes(traffic__monthly_users=4_000_000, horizon="8 d")
    assert rows > 18_000_000
    # From the second day on there is also what the western regions still have of the day before.
    assert eight_days < 1.3 * one_day
