"""What senders of the readable model do when an attempt has ended: ask again, leave, or go on."""

import math
from typing import Any

import slow_draws as draws
from slow_request import COMPLETED, Request

from sim.plane.world import World

TIMER = 2


class Senders:
    """The part of the model that knows it."""

    world: World
    draw: Any
    push: Any
    sent_s: dict[int, float]

    def go_on(self, now: float, request: Request) -> None:
        """What comes after an attempt."""
        if not self.tries_again(now, request) and not self.leaves(request):
            self.next_turn(now, request)

    def next_turn(self, now: float, request: Request) -> None:
        """What comes after a turn."""
        record, kind = request.record, request.kind
        if record["turn"] + 1 >= int(request.row["num_turns"]):
            return
        gap_s = draws.lookup(kind.gap_s, self.draw(draws.GAP, record, record["turn"] + 1))
        t_s = max(request.asked_s + gap_s, record["end_s"] + kind.min_think_s)
        if kind.reissue_interval_s > 0.0:
            class_id = record["class_id"]
            t_s = max(t_s, self.sent_s.get(class_id, -math.inf)) + kind.reissue_interval_s
            self.sent_s[class_id] = t_s = draws.whole_ns(t_s)
        t_s = draws.whole_ns(t_s)
        if t_s < self.world.horizon_s:
            self.push(max(t_s, now), TIMER, record["serial"], "turn")

    def tries_again(self, now: float, request: Request) -> bool:
        """Whether the sender asks again, or would if the horizon did not come first."""
        record, reaction = request.record, request.kind.reaction
        if reaction is None or record["ending"] not in reaction.retried or record["attempt"] >= reaction.max_retries:
            return False
        index = 64 * record["turn"] + record["attempt"]
        if self.draw(draws.RETRY, record, index) >= reaction.retry_frac:
            return False
        delay_s = draws.lookup(reaction.backoff_s, self.draw(draws.BACKOFF, record, index))
        for _ in range(record["attempt"]):
            delay_s *= reaction.backoff_factor
        t_s = draws.whole_ns(record["end_s"] + min(delay_s, reaction.max_backoff_s))
        if t_s < self.world.horizon_s:
            self.push(max(t_s, now), TIMER, record["serial"], "retry")
        return True

    def leaves(self, request: Request) -> bool:
        """Whether the sender gives the conversation up after the last attempt at a turn."""
        record, reaction = request.record, request.kind.reaction
        if reaction is None:
            return False
        leave_frac = reaction.leave_frac
        if record["ending"] == COMPLETED:
            is_slow = record["first_token_s"] - request.asked_s > reaction.slow_s
            leave_frac = reaction.slow_leave_frac if is_slow else 0.0
        leaves = self.draw(draws.LEAVE, record, record["turn"]) < leave_frac
        record["left"] = int(leaves and record["turn"] + 1 < request.row["num_turns"])
        return bool(leaves)
