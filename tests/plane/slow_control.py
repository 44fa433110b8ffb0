"""What control processes and timers do to the readable model; how a request is aborted."""

from typing import Any

from slow_drifts import DRIFTS
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
    leave: Any
    schedule_event: Any
    issue: Any
    enter_pool: Any
    delay_ends: Any
    drift: Any

    def control(self, now: float, verb: str, number: int, count: Any = 0, *more: Any) -> None:
        if verb == "abort":
            if number < len(self.requests):
                self.abort(self.requests[number], FAILED, now)
            return
        if verb in ("outages", "fail_router", "restore_router"):
            self.router.control(verb, number, now)
            return
        if verb in DRIFTS:
            self.drift(verb, number, count, *more)
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
        if self.withdraw(request, ending, now):
            self.end(request, ending, now, now)

    def withdraw(self, request: Request, ending: int, now: float) -> bool:
        """Take a request out of where it is. Whether it is out; else it ends with the step or transfer in progress."""
        if request.abort is not None:
            return False
        if request.gate is not None:
            self.leave_lane(request, now)
            return True
        replica, seq = request.replica, request.seq
        if replica is None:  # it is on its way, or waits for its companion
            return True
        if seq not in replica.waiting or seq.status == LOADING:
            request.abort = (ending, now)  # of who loads, blocks are being written: the end of the transfer ends it
            if seq.status != LOADING:
                replica.aborted.append(seq)
            return False
        made_way = seq.blocks or seq is replica.first_ready()
        self.leave(request, now)
        if made_way and not replica.has_event:
            self.schedule_event(replica, now)
        return True

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
        elif what in (request.limit, getattr(request.mate, "limit", "")):
            late = request if what == request.limit else request.mate
            self.leave_lane(late, now)
            self.end(late, TIMED_OUT, now, now)
        else:
            self.abort(request, ABANDONED, now)

    def is_live(self, request: Request, what: str) -> bool:
        """Whether a timer is still waited for."""
        if what.startswith(("limit", "beside")):
            return what in (request.limit, getattr(request.mate, "limit", ""))
        return bool({"patience": request.patience, "delay": request.is_delayed}.get(what, True))
