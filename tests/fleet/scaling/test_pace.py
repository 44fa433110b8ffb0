"""The pace of scaling against rules worked out by hand, and against a readable copy of Kubernetes' rules."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.fleet.scaling.pace import Pace, replicas_for
from sim.spec.autoscaler import Autoscaler

METRICS = [{"metric": "outstanding", "target": 10}]


def spec(**settings):
    return Autoscaler.from_dict({"metrics": METRICS, "max_replicas": 1000} | settings)


def walk(proposals, *, current=1, least=1, most=1000, every_s=15.0, **settings):
    """Numbers of replicas after each proposal, one a sync period."""
    pace, found = Pace(spec(**settings), least, most), []
    for k, proposed in enumerate(proposals):
        current = pace.settle(k * every_s, current, proposed)
        found.append(current)
    return found


# ------------------------------------------------------------------ one metric


@pytest.mark.parametrize(
    ("total", "current", "expected"),
    [
        (100, 10, 10),  # on target
        (110, 10, 10),  # ten per cent above: still within the tolerance
        (111, 10, 12),  # beyond it: as many as the target says
        (90, 10, 10),
        (89, 10, 9),
        (0, 10, 0),
        (30, 3, 3),
        (300, 3, 30),
        (100, 20, 10),  # half of them have only been started: nothing more is ordered
    ],
)
def test_a_metric_asks_for_total_over_target_unless_it_is_near(total, current, expected):
    assert replicas_for(total, 10.0, current, 0.1) == expected


def test_rounding_asks_for_no_replica_more():
    assert replicas_for(0.1 + 0.2, 0.1, 10, 0.1) == 3


# ------------------------------------------------------------------ the pace by hand


def test_upwards_the_default_is_twice_as_many_or_four_more_each_15_seconds():
    assert walk([1000] * 6) == [5, 10, 20, 40, 80, 160]


def test_downwards_the_default_waits_five_minutes_and_then_goes_all_the_way():
    # 300 s after the last proposal of 20 it is in the window no longer.
    found = walk([20, *[2] * 25], current=20)
    assert found[:20] == [20] * 20
    assert found[20] == 2


def test_a_window_takes_the_proposal_that_changes_least():
    down = walk([9, 4, 7, 3, 3, 3, 3], current=9, scale_down={"stabilization_window": 45})
    assert down == [9, 9, 9, 7, 7, 3, 3]
    up = walk([2, 9, 5, 8, 8], current=2, scale_up={"stabilization_window": 30})
    assert up == [2, 2, 5, 5, 8]


def test_of_several_policies_the_one_that_allows_most_or_least_counts():
    policies = [{"type": "percent", "value": 50, "period": 15}, {"type": "replicas", "value": 2, "period": 15}]
    assert walk([100] * 4, current=2, scale_up={"policies": policies}) == [4, 6, 9, 14]
    few = {"policies": policies, "select_policy": "min"}
    assert walk([100] * 4, current=2, scale_up=few) == [3, 5, 7, 9]
    down = {"policies": policies, "stabilization_window": 0}
    assert walk([1] * 4, current=10, scale_down=down) == [5, 2, 1, 1]
    assert walk([1] * 4, current=10, scale_down=down | {"select_policy": "min"}) == [8, 6, 4, 2]
    assert walk([1] * 4, current=10, scale_down=down | {"select_policy": "disabled"}) == [10] * 4


def test_a_period_counts_all_that_happened_in_it():
    slow = {"policies": [{"type": "replicas", "value": 3, "period": 60}]}
    assert walk([2, 3, 100, 100, 100, 100, 100], current=1, scale_up=slow) == [2, 3, 4, 4, 5, 6, 7]


def test_limits_hold_whatever_is_proposed():
    assert walk([0, 100, 0], current=5, least=3, most=7, scale_down={"stabilization_window": 0}) == [3, 7, 3]
    assert walk([5], current=9, most=7) == [7]


# ------------------------------------------------------------------ against the rules of the controller, line by line


class Controller:
    """horizontal.go's stabilizeRecommendationWithBehaviors and convertDesiredReplicasWithBehaviorRate, readable."""

    def __init__(self, settings, least, most):
        self.spec, self.least, self.most = settings, least, most
        self.proposals, self.ups, self.downs = [], [], []

    def change_in(self, events, now, period_s):
        return sum(n for t_s, n in events if t_s > now - period_s)

    def limit(self, rules, now, current, direction):
        if rules.select_policy == "disabled":
            return current
        found = []
        for policy in rules.policies:
            begin = current - self.change_in(self.ups, now, policy.period_s)
            begin += self.change_in(self.downs, now, policy.period_s)
            if direction == "up":
                change = policy.value if policy.type == "replicas" else math.ceil(begin * policy.value / 100 - 1e-9)
                found.append(begin + change)
            elif policy.type == "replicas":
                found.append(begin - policy.value)
            else:
                found.append(math.floor(begin * (100 - policy.value) / 100 + 1e-9))
        far = max if (direction == "up") == (rules.select_policy == "max") else min
        return far(found)

    def settle(self, now, current, proposed):
        up, down = self.spec.scale_up, self.spec.scale_down
        lowest = highest = proposed
        self.proposals = self.proposals or [(now, current)]
        for t_s, n in self.proposals:
            if t_s > now - up.stabilization_window_s:
                lowest = min(lowest, n)
            if t_s > now - down.stabilization_window_s:
                highest = max(highest, n)
        self.proposals.append((now, proposed))
        wanted = current
        wanted = max(wanted, lowest)
        wanted = min(wanted, highest)
        if wanted > current:
            wanted = min(wanted, max(current, self.limit(up, now, current, "up")))
        elif wanted < current:
            wanted = max(wanted, min(current, self.limit(down, now, current, "down")))
        wanted = min(max(wanted, self.least), self.most)
        if wanted != current:
            (self.ups if wanted > current else self.downs).append((now, abs(wanted - current)))
        return wanted


policies = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["replicas", "percent"]),
            "value": st.sampled_from([1, 2, 5, 30, 100]),
            "period": st.sampled_from([5, 15, 40, 90]),
        }
    ),
    min_size=1,
    max_size=3,
)
rules = st.fixed_dictionaries(
    {
        "policies": policies,
        "stabilization_window": st.sampled_from([0, 10, 45, 300]),
        "select_policy": st.sampled_from(["max", "max", "min", "disabled"]),
    }
)


@given(rules, rules, st.lists(st.tuples(st.sampled_from([5, 15, 30]), st.integers(0, 40)), max_size=40))
def test_the_pace_is_that_of_kubernetes(up, down, steps):
    settings = spec(scale_up=up, scale_down=down)
    pace, controller = Pace(settings, 1, 30), Controller(settings, 1, 30)
    now, current = 0.0, 4
    for gap_s, proposed in steps:
        now += gap_s
        expected = controller.settle(now, current, proposed)
        current = pace.settle(now, current, proposed)
        assert current == expected
        assert 1 <= current <= 30
