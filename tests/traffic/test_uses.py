"""Several workloads: classes, shares, turns and hours.

Four standard errors over users: a false alarm has 6e-5 a comparison, about 60 here; seeds are fixed.
"""

import numpy as np
import pytest

from sim.errors import SpecError
from sim.traffic import build
from sim.traffic.lengths import table_mean
from sim.traffic.unfold import unfold

USERS = 60_000
MIX = {"interactive-chat": 0.7, "coding-agent": 0.1, "api-service": 0.2}
BASE = {"kind": "population", "monthly_users": USERS, "workload": MIX, "turns_per_conversation": 4.0}


def arrivals(source):
    return np.concatenate([chunk.rows for chunk in source.chunks()])


def by_user(users, weights=None):
    return np.bincount(users, weights, minlength=USERS)


def test_each_tier_has_a_class_for_each_workload(scenario):
    source = build(scenario(traffic=BASE))
    assert [kind.name for kind in source.classes] == [
        f"{tier}/{use}" for tier in ("free", "plus", "pro") for use in MIX
    ]
    assert [kind.tier for kind in source.classes] == [tier for tier in ("free", "plus", "pro") for _ in MIX]
    assert [kind.keep_history for kind in source.classes[:3]] == [True, True, False]
    assert source.classes[0].prefix_group != source.classes[1].prefix_group
    one = build(scenario(traffic=BASE | {"workload": {"interactive-chat": 1}}))
    plain = build(scenario(traffic=BASE | {"workload": "interactive-chat"}))
    assert [kind.name for kind in one.classes] == ["free", "plus", "pro"]
    assert np.array_equal(arrivals(one), arrivals(plain))


def test_turns_are_stretched_alike_and_single_turns_stay(scenario):
    source = build(scenario(traffic=BASE))
    means = [table_mean(use.turns) for use in source.uses]
    assert sum(use.share * mean for use, mean in zip(source.uses, means, strict=True)) == pytest.approx(4.0, rel=1e-4)
    assert means[2] == 1.0
    assert (means[1] - 1) / (means[0] - 1) == pytest.approx(19.1 / 1.52, rel=0.02)
    with pytest.raises(SpecError, match="api-service has one turn a conversation; set turns_per_conversation to 1"):
        build(scenario(traffic=BASE | {"workload": {"api-service": 1}}))


def test_what_is_generated_is_what_is_described(scenario, within):
    source = build(scenario(traffic=BASE, run_in="12 h"))
    said, rows = source.describe(), arrivals(source)
    requests = np.concatenate([block.rows for block in unfold(source, 1, horizon_s=86400.0)])
    requests = requests[requests["t_s"] >= 0]
    assert said["requests"] == pytest.approx(USERS * 0.25 * 8, rel=1e-9)
    within(by_user(requests["user"]), said["requests"], "requests")
    for at, kind in enumerate(source.classes):
        entry = said["by_class"][kind.name]
        mine = requests[requests["class_id"] == at]
        within(by_user(mine["user"]), entry["requests"], kind.name)
        begun = rows[(rows["class_id"] == at) & (rows["t_s"] >= 0)]
        within(by_user(begun["user"]), entry["conversations"], kind.name)
        for column in ("prompt_tokens", "output_tokens"):
            within(by_user(mine["user"], mine[column]), entry[column], f"{kind.name}: {column}")
    for at, (name, share) in enumerate(MIX.items()):
        within(by_user(rows["user"], (rows["class_id"] % 3 == at) - share), 0.0, name)
    hour = (requests["t_s"] // 3600).astype(int)
    for h in range(24):
        due = said["hourly_curve"][h] / 24
        within(by_user(requests["user"], (hour == h) - due), 0.0, f"hour {h}")


def test_shares_move_only_who_changes_over(scenario):
    more_agents = {"interactive-chat": 0.6, "coding-agent": 0.2, "api-service": 0.2}
    a, b = (arrivals(build(scenario(traffic=BASE | {"workload": mix}, run_in=0))) for mix in (MIX, more_agents))
    a, b = (rows[np.lexsort((rows["conversation"], rows["user"]))] for rows in (a, b))
    names = ["user", "conversation"]
    x, y = a[np.isin(a[names], b[names])], b[np.isin(b[names], a[names])]
    assert len(x) > 0.99 * len(a)
    moved = x["class_id"] != y["class_id"]
    assert abs(moved.mean() - 0.1) < 4 * np.sqrt(0.09 / len(x))
    assert np.all(x["class_id"][moved] % 3 == 0)
    assert np.all(y["class_id"][moved] % 3 == 1)
    assert np.array_equal(x["bucket"], y["bucket"])


def test_people_and_agents_of_one_tier_are_told_apart(scenario):
    agents = {"workload": "coding-agent", "tier": "free"}
    both = build(scenario(traffic=BASE | {"agents": agents}))
    names = [kind.name for kind in both.classes]
    assert {"free/agents", "free/coding-agent"} <= set(names)
    assert len(set(names)) == len(names) == 10
