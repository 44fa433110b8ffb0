"""What control processes and timers do to the readable model; how a request is aborted."""

from typing import Any

from slow_replica import ACTIVE, DRAINING, OFF
from slow_request import ABANDONED, FAILED, TIMED_OUT, Request
from slow_sequence import LOADING
from slow_states import change


class Controls:
    """The part of the model that knows it."""

    requests: list[Any]
    pools: list[list[Any]]
    replicas: list[Any]
    router: Any
    let_in: Any
    leave_lane: Any
    end: Any
    drop: Any
    schedule_event: Any
    issue: Any
    enter_pool: Any
    delay_ends: Any

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

    def abort(self, request: Request, ending: int, now: float) -> None:
        if request.ended or request.abort is not None:
            return
        if request.gate is not None:
            self.leave_lane(request, now)
            self.end(request, ending, now, now)
            return
        replica, seq = request.replica, request.seq
        if replica is None:  # it is on its way
            self.end(request, ending, now, now)
        elif seq.status == LOADING:
            request.abort = (ending, now)  # its blocks are being written: the end of the transfer ends it
        elif seq in replica.waiting:
            made_way = seq.blocks or seq is replica.first_ready()
            self.drop(request, ending, now, now)
            if made_way and not replica.has_event:
                self.schedule_event(replica, now)
        else:
            request.abort = (ending, now)
            request.replica.aborted.append(request.seq)

    def timer(self, now: float, request: Request, what: str) -> None:
        if not self.is_live(request, what):
            return
        if what in ("turn", "retry"):
            self.issue(now, request.row, (), request, again=what == "retry")
        elif what == "delay":
            self.delay_ends(request, now)
        elif what == "go_on":
            if not request.ended:
                self.enter_pool(request, now)
        elif what.startswith("limit"):
            self.abort(request, TIMED_OUT, now)
        else:
            self.abort(request, ABANDONED, now)

    def is_live(self, request: Request, what: str) -> bool:
        """Whether a timer is still waited for."""
        if what.startswith("limit"):
            return request.gate is not None and what == f"limit {request.visit}"
        return bool({"patience": request.patience, "delay": request.is_delayed}.get(what, True))
