"""How fast a pool may scale: stabilization windows and limits on the pace, as Kubernetes' HorizontalPodAutoscaler.

After `pkg/controller/podautoscaler/horizontal.go` (Apache-2.0): proposals of the window are kept, upwards the lowest
and downwards the highest of them counts (the first number of replicas counts as a proposal too); then each policy
allows so much change since the beginning of its period, and the policy that allows most (or least) is the limit. What
happened exactly a window or a period ago is no longer in it.
"""

from __future__ import annotations

import math
from collections import deque

from sim.spec.autoscaler import Autoscaler, ScalingPolicy, ScalingRules

Dated = deque[tuple[float, int]]
"""Numbers of replicas, each with its time [s]."""
ROUNDING = 1e-9
"""What rounding may add to a number of replicas before it is rounded up or down."""


class Pace:
    """The memory of one autoscaler: its proposals, and how it scaled."""

    def __init__(self, spec: Autoscaler, least: int, most: int) -> None:
        self._up, self._down = spec.scale_up, spec.scale_down
        self._least, self._most = least, most
        self._proposals: Dated = deque()
        self._added: Dated = deque()
        self._removed: Dated = deque()
        self._keep_s = max(self._up.stabilization_window_s, self._down.stabilization_window_s)
        self._keep_changes_s = max(policy.period_s for rules in (self._up, self._down) for policy in rules.policies)

    def settle(self, now: float, current: int, proposed: int) -> int:
        """How many replicas there are to be, where so many are proposed; what changes is remembered."""
        chosen = self._limited(now, current, self._stabilized(now, current, proposed))
        if chosen != current:
            (self._added if chosen > current else self._removed).append((now, abs(chosen - current)))
        return chosen

    def _stabilized(self, now: float, current: int, proposed: int) -> int:
        """The number nearest to the present one that the windows' proposals agree on."""
        if not self._proposals:
            self._proposals.append((now, current))
        forget(self._proposals, now - self._keep_s)
        up_s, down_s = now - self._up.stabilization_window_s, now - self._down.stabilization_window_s
        lowest = min([proposed, *(n for t_s, n in self._proposals if t_s > up_s)])
        highest = max([proposed, *(n for t_s, n in self._proposals if t_s > down_s)])
        self._proposals.append((now, proposed))
        return min(max(current, lowest), highest)

    def _limited(self, now: float, current: int, wanted: int) -> int:
        """The number that the pace and the limits allow on the way to the one wanted."""
        forget(self._added, now - self._keep_changes_s)
        forget(self._removed, now - self._keep_changes_s)
        if wanted > current:
            allowed = max(current, self._limit(self._up, now, current, sign=1))
            wanted = min(wanted, allowed)
        elif wanted < current:
            allowed = min(current, self._limit(self._down, now, current, sign=-1))
            wanted = max(wanted, allowed)
        return min(max(wanted, self._least), self._most)

    def _limit(self, rules: ScalingRules, now: float, current: int, *, sign: int) -> int:
        """How far the policies of one direction let the number go."""
        if rules.select_policy == "disabled":
            return current
        reach = [sign * (self._reach(policy, now, current, sign) - current) for policy in rules.policies]
        return current + sign * (max(reach) if rules.select_policy == "max" else min(reach))

    def _reach(self, policy: ScalingPolicy, now: float, current: int, sign: int) -> int:
        """The number that a policy allows, from that at the beginning of its period."""
        since_s = now - policy.period_s
        begin = current - since(self._added, since_s) + since(self._removed, since_s)
        if policy.type == "replicas":
            return begin + sign * policy.value
        changed = begin * (1.0 + sign * policy.value / 100.0)
        return math.ceil(changed - ROUNDING) if sign > 0 else math.floor(changed + ROUNDING)


def forget(dated: Dated, until_s: float) -> None:
    """Drop what is as old as `until_s`, but for the newest."""
    while len(dated) > 1 and dated[0][0] <= until_s:
        dated.popleft()


def since(dated: Dated, after_s: float) -> int:
    """Sum of what happened after a time."""
    return sum(n for t_s, n in dated if t_s > after_s)


def replicas_for(total: float, target: float, current: int, tolerance: float) -> int:
    """How many replicas a metric asks for.

    Parameters
    ----------
    total
        Of all active replicas.
    target
        What one is to have.
    current
        Replicas there are, those that start among them: they have none of it yet.
    tolerance
        Share of the target within which nothing changes.

    Notes
    -----
    ceil(total / target), unless total / (target x current) is within the tolerance of 1: Kubernetes' rule for metrics
    with an average value, and for others too where replicas that are not ready count as having nothing.
    """
    if abs(total / (target * current) - 1.0) <= tolerance + ROUNDING:
        return current
    return math.ceil(total / target - ROUNDING)
