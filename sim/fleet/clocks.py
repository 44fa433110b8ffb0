"""Two clocks for one plane. SimPy owns time in both; control processes cannot tell which one is running.

* `CompiledClock` strides: the plane handles all of its events up to the next SimPy event in one compiled call.
* `SimpyClock` turns every entry of the plane's outbox into a SimPy event, which can be watched, stepped and traced.

Both keep one total order (time, class, key): SimPy's own events of an instant first, in SimPy's order, then arrivals
by row, timers by serial, transfers by link, step ends by replica. So both give the same result to the last bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from heapq import heappush
from typing import Any

import simpy

from sim.errors import CapacityError
from sim.plane import handle as compiled
from sim.plane.commands import file_events
from sim.plane.owner import Plane, Table
from sim.plane.tables import ARRIVE, FAR, STEP, TIMER, TRANSFER
from sim.traffic.arrivals import Chunk

NOBODY = -2
"""A serial that no request has."""
Sink = Callable[[Table], None]


class Clock(ABC):
    """What both clocks share: the SimPy environment, the feeding of arrivals, records out, conditions."""

    def __init__(self, plane: Plane, chunks: Iterator[Chunk], sink: Sink) -> None:
        self.plane = plane
        self.env = simpy.Environment(initial_time=plane.world.start_s)
        self._chunks = chunks
        self._sink = sink
        self._conditions: list[tuple[Callable[[], bool], simpy.Event]] = []
        self._log_sink: Sink | None = None

    @staticmethod
    def warm_up(plane: Plane) -> None:
        """Compile what this clock calls, or load it from the cache, before anybody looks at the time."""
        plane.warm_up()

    @abstractmethod
    def run(self, until_s: float) -> None:
        """Play all events before `until_s`, the plane's and SimPy's. Call it again with a later time to go on."""

    def at(self, t_s: float) -> simpy.Event:
        """An event at an absolute time, not before now (`timeout(t_s - now)` would round)."""
        event = self.env.event()
        event._ok, event._value = True, None
        heappush(self.env._queue, (max(t_s, self.env.now), 1, next(self.env._eid), event))  # type: ignore[misc]
        return event

    def _end_of(self, t_s: float) -> simpy.Event:
        """An event before all others at an absolute time, to run until (`env.run(t_s)` would round)."""
        event = self.env.event()
        event._ok, event._value = True, None
        heappush(self.env._queue, (t_s, 0, next(self.env._eid), event))  # type: ignore[misc]
        return event

    def act(self, action: Callable[..., int], *arguments: Any) -> int:
        """Apply a control action (`add_replicas`, `drain_replicas`, `abort_serial`) to the plane now."""
        done = action(self.plane.address, *arguments, self.env.now)
        self._file()
        self._look()
        return done

    def when(self, condition: Callable[[], bool]) -> simpy.Event:
        """An event that succeeds at the instant a condition becomes true.

        Tested now, whenever replicas come or go, and whenever a request joins a queue beyond its `alarm`.
        """
        event = self.env.event()
        self._conditions.append((condition, event))
        self._wake(force=True)
        return event

    def alarm(self, pool: int, num_waiting: int) -> None:
        """Have conditions tested whenever a request joins a pool's queue and more than `num_waiting` then wait."""
        self.plane["pools"]["queue_alarm"][pool] = num_waiting

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether no plane event is left at all."""

    @abstractmethod
    def _file(self) -> None:
        """Schedule what a control action left in the outbox."""

    def _look(self) -> None:
        """Make room where the next event may need it, and let conditions succeed."""
        self.plane.make_room()
        if self.plane.scalar("num_log") > self.plane.scalar("log_room"):
            self._read_log()
        if self.plane.scalar("num_done") >= self.plane.scalar("done_room"):
            self._drain()
        self._wake()

    def log(self, sink: Sink) -> None:
        """Have the plane's log of steps written, and passed on part by part (the last when `run` returns)."""
        self._log_sink = sink
        self.plane.start_log()

    def _read_log(self) -> None:
        """Pass the log on."""
        if self._log_sink is not None and len(rows := self.plane.take_log()):
            self._log_sink(rows)

    def _wake(self, *, force: bool = False) -> None:
        """Let the conditions that have become true succeed."""
        if self.plane.record["stuck"][0]:
            raise stuck(self.plane)
        if not force and not self.plane.record["wake"][0]:
            return
        self.plane.record["wake"] = 0
        waiting, self._conditions = self._conditions, []
        for condition, event in waiting:
            if condition():
                event.succeed()
            else:
                self._conditions.append((condition, event))

    def _feed(self) -> None:
        """Give the plane its next chunk of arrivals."""
        self.plane.put_arrivals(next(self._chunks, None))

    def _drain(self) -> None:
        """Pass the finished records on, and the log."""
        if len(rows := self.plane.take_done()):
            self._sink(rows)
        self._read_log()


def stuck(plane: Plane) -> CapacityError:
    """The error that names the replica which the plane's watchdog has found."""
    row = plane["replicas"][plane.scalar("stuck") - 1]
    pool = plane.world.pools[row["pool"]]
    first = int(plane["pools"]["first_replica"][row["pool"]])
    return CapacityError(
        f"replica {int(row['number']) - first} of pool {pool.name!r} is stuck at t = {plane.scalar('now_s'):.6g} s: "
        f"{row['num_running']} requests run, {row['num_waiting']} wait, {row['free'] + row['evictable']} of "
        f"{pool.num_gpu_blocks - 1} blocks are free, and nothing comes of it; give it more blocks, fewer "
        "max_num_seqs, or scheduler_reserve_full_isl: true"
    )


class CompiledClock(Clock):
    """Strides from one SimPy event to the next."""

    def run(self, until_s: float) -> None:
        """See Clock."""
        env, plane = self.env, self.plane
        until_s = min(until_s, FAR)
        while True:
            stop_s = min(env.peek(), until_s)
            why = plane.advance(stop_s)
            if why == compiled.MORE_ARRIVALS:
                self._feed()
            elif why == compiled.DRAIN_DONE:
                self._drain()
            elif why == compiled.LOG_FULL:
                self._read_log()
            elif why == compiled.WOKEN:
                now = plane.scalar("now_s")
                env._now = max(env.now, now)  # nothing of SimPy's lies between
                self._wake()
            elif stop_s == until_s:
                break
            else:
                while env.peek() == stop_s:
                    env.step()
        if env.now < until_s < FAR:
            env._now = until_s
        self._drain()

    @property
    def finished(self) -> bool:
        """See Clock."""
        return self.plane.scalar("num_free") == self.plane.scalar("num_requests") and self._exhausted()

    def _exhausted(self) -> bool:
        return bool(self.plane.scalar("arrivals_end")) and self.plane.scalar("next_arrival") >= self.plane.scalar(
            "num_arrivals"
        )

    def _file(self) -> None:
        file_events(self.plane.address)


class At(simpy.Event):
    """A plane event at an absolute time (`now + delay` would round), ordered by class and key within its instant."""

    __slots__ = ("id", "key", "number")

    def __init__(
        self, env: simpy.Environment, t_s: float, kind: int, index: int, key: int, call: Callable[[Any], None]
    ) -> None:
        self.env = env
        self.callbacks = [call]
        self._ok, self._value, self._defused = True, None, False
        self.id, self.key, self.number = index, key, next(env._eid)
        heappush(env._queue, (t_s, kind + 1, key, self))  # type: ignore[misc]  # SimPy's own priorities are 0 and 1

    def __lt__(self, other: At) -> bool:
        """Of two step ends of one replica at one time at most one is live, so any order will do; it must be one."""
        return self.number < other.number


class SimpyClock(Clock):
    """Every plane event is a SimPy event."""

    @staticmethod
    def warm_up(plane: Plane) -> None:
        """See Clock."""
        plane.warm_up()
        compiled.handle_one(plane.address, plane.world.start_s, TIMER, 0, NOBODY)  # a timer that nobody waits for

    def __init__(self, plane: Plane, chunks: Iterator[Chunk], sink: Sink) -> None:
        super().__init__(plane, chunks, sink)
        self._pending: list[At | None] = [None] * len(plane["replicas"])
        self._times: list[float] = []
        self._row = 0
        self._next_arrival()

    def run(self, until_s: float) -> None:
        """See Clock."""
        env = self.env
        if until_s == float("inf"):
            env.run()
        elif until_s > env.now:
            env.run(until=self._end_of(until_s))
        self._drain()

    @property
    def finished(self) -> bool:
        """See Clock."""
        return self.plane.scalar("num_free") == self.plane.scalar("num_requests") and self._row >= len(self._times)

    def _next_arrival(self) -> None:
        """Schedule the arrival of the present row; fetch the next chunk when this one is used up."""
        while self._row >= len(self._times):
            if self.plane.scalar("arrivals_end"):
                return
            self.plane.record["next_arrival"] = self.plane.record["num_arrivals"]
            self._feed()
            self.plane.make_room()
            self._times = self.plane["arrivals"]["t_s"][: self.plane.scalar("num_arrivals")].tolist()
            self._row = 0
        At(self.env, self._times[self._row], ARRIVE, self._row, self._row, self._on_arrival)

    def _on_arrival(self, event: At) -> None:
        self._handle(ARRIVE, event.id, event.key)
        self._row += 1
        self._next_arrival()

    def _on_timer(self, event: At) -> None:
        self._handle(TIMER, event.id, event.key)

    def _on_transfer(self, event: At) -> None:
        self._handle(TRANSFER, event.id, event.key)

    def _on_step(self, event: At) -> None:
        self._pending[event.id] = None
        self._handle(STEP, event.id, event.id)

    def _handle(self, kind: int, index: int, key: int) -> None:
        look, num_out, t_s, out_kind, out_index, out_key = compiled.handle_one(
            self.plane.address, self.env._now, kind, index, key
        )
        if num_out:
            self._schedule(t_s, out_kind, out_index, out_key)
            if num_out > 1:
                for entry in self.plane["out"][1:num_out].tolist():
                    self._schedule(*entry)
        if look:
            self._look()

    def _schedule(self, t_s: float, kind: int, index: int, key: int) -> None:
        if kind == STEP:
            old = self._pending[index]
            if old is not None and old.callbacks:
                old.callbacks.clear()
            cancelled = t_s == FAR
            self._pending[index] = None if cancelled else At(self.env, t_s, kind, index, key, self._on_step)
        else:
            At(self.env, t_s, kind, index, key, self._on_timer if kind == TIMER else self._on_transfer)

    def _file(self) -> None:
        for entry in self.plane["out"][: self.plane.scalar("num_out")].tolist():
            self._schedule(*entry)
        self.plane.record["num_out"] = 0


CLOCKS: dict[str, type[Clock]] = {"compiled": CompiledClock, "simpy": SimpyClock}
