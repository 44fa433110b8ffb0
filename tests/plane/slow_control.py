"""What control processes do to the readable model."""

from typing import Any

from slow_replica import ACTIVE, DRAINING, OFF
from slow_states import change

FAILED = 7


class Controls:
    """The part of the model that knows it."""

    requests: list[Any]
    pools: list[list[Any]]
    replicas: list[Any]
    router: Any
    abort: Any
    let_in: Any

    def control(self, now: float, verb: str, number: int, count: Any = 0) -> None:
        if verb == "abort":
            if number < len(self.requests):
                self.abort(self.requests[number], FAILED, now)
            return
        if verb in ("outages", "fail_router", "restore_router"):
            self.router.control(verb, number, now)
            return
        if verb == "change":
            replica = self.replicas[number]
            change(replica, count)
            if replica.state == ACTIVE:
                self.let_in(next(n for n, members in enumerate(self.pools) if replica in members), None, now)
            return
        members = self.pools[number]
        if verb == "add":
            for replica in [replica for replica in members if replica.state == OFF][:count]:
                replica.state = ACTIVE
            self.let_in(number, None, now)
            return
        active = [replica for replica in members if replica.state == ACTIVE]
        if verb != "drain" or count >= len(active):
            raise ValueError(f"{verb} {count} of {len(active)} active replicas")
        for replica in active[len(active) - count :]:
            replica.state = DRAINING
            replica.turn_off_if_drained()
