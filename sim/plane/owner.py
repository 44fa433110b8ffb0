"""The Python owner of a plane: makes its tables from a World, keeps them alive, grows them, reads results out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.errors import CapacityError
from sim.metrics.histogram import NUM_BINS
from sim.plane import commands, handle, watching
from sim.plane.building import NO_DEADLINE, build, check, link_free
from sim.plane.building_classes import num_languages
from sim.plane.building_gateways import grow_meters
from sim.plane.building_work import num_rates
from sim.plane.cache_tables import FIRST_SLACK, grow_cache
from sim.plane.companion_tables import grow_companions
from sim.plane.compiled import allocate, cache_folder, drop_stale_caches
from sim.plane.log import LOGGED_LEAP
from sim.plane.promise_rows import LANE_COUNTERS
from sim.plane.queues import SLOT_BITS
from sim.plane.tables import FREE, I4, LINK_COUNTERS, OBSERVED, PLANE, TABLES, TIER_COUNTERS
from sim.plane.world import World
from sim.traffic.arrivals import ARRIVAL, SEGMENT, Chunk

Table = NDArray[np.void]
FIRST_REQUESTS = 1 << 14
LOG_ROWS = 1 << 15
NO_ARRIVALS = Chunk(np.zeros(0, ARRIVAL), np.zeros(0, SEGMENT))


class Plane:
    """The state of a World in play. Two clocks drive it: `advance` here, or SimPy through `handle_one`.

    It is never pickled and never copied: other tables hold addresses of its memory.
    """

    def __init__(self, world: World, *, leap: bool = True, num_requests: int = FIRST_REQUESTS) -> None:
        check(world)
        self.world = world
        self._tables: dict[str, Table] = {}
        self.record = allocate(1, PLANE)
        self.address = int(self.record.ctypes.data)
        self._observed = allocate(1, OBSERVED)
        build(self, world, leap, num_requests)

    def __getstate__(self) -> None:
        raise TypeError("A plane cannot be pickled: it holds addresses of its own memory.")

    def __getitem__(self, name: str) -> Table:
        """The table of that name; a view that ends with the next growth."""
        return self._tables[name]

    def scalar(self, name: str) -> Any:
        """A scalar of the plane record."""
        return self.record[name][0].item()

    def own(self, name: str, num_rows: int) -> Table:
        """Make a table, keep it, and write its address."""
        table = allocate(max(1, num_rows), TABLES[name])
        self._tables[name] = table
        self.record[name] = table.ctypes.data
        return table

    def warm_up(self) -> None:
        """Compile, or load from the cache, before anybody looks at the clock: a call with nothing to do."""
        start_s = self.world.start_s
        handle.advance(self.address, start_s)
        commands.file_events(self.address)
        self.observe(0, start_s)
        self.forget_gaps(start_s)
        for _ in self.end(start_s):
            pass
        drop_stale_caches(cache_folder())

    # -------------------------------------------------------------- traffic in

    def put_arrivals(self, chunk: Chunk | None) -> None:
        """Hand over the next chunk of first arrivals (None: there are no more); the one before must be used up."""
        if self.scalar("next_arrival") < self.scalar("num_arrivals"):
            raise ValueError("the plane still holds arrivals")
        rows, segments = chunk or NO_ARRIVALS
        if rows["user_tokens"].min(initial=1) < 1 or rows["output_tokens"].min(initial=1) < 1:
            raise ValueError("every request must have at least one new prompt token and one output token")
        if rows["language"].max(initial=0) >= num_languages(self.world):
            raise ValueError("arrivals have a language that a class has no length_factor for")
        if rows["language"].max(initial=0) >= num_rates(self.world):
            raise ValueError("arrivals have a language that a classifier has no rates for")
        if len(segments) and not self.world.has_segments:
            raise ValueError("arrivals have segments, and the world says that none has")
        for name, given in (("arrivals", rows), ("segments", segments)):
            if len(self[name]) < len(given):
                self.own(name, len(given))
            self[name][: len(given)] = given
        self.record["num_arrivals"], self.record["next_arrival"], self.record["next_segment"] = len(rows), 0, 0
        self.record["arrivals_end"] = int(chunk is None)
        self.record["stretch_slack"] = (
            FIRST_SLACK + self.scalar("event_stretches") + int(rows["num_segments"].max(initial=0))
        )

    # -------------------------------------------------------------- the compiled clock

    def advance(self, until_s: float) -> int:
        """Handle events before `until_s`; returns why it stopped (`sim.plane.handle`). FULL is dealt with here."""
        while (why := handle.advance(self.address, until_s)) == handle.FULL:
            self.grow()
        return int(why)

    def make_room(self) -> None:
        """Grow what the next event could fill; for a clock outside."""
        while handle.needs_rows(self.address):
            self.grow()

    def grow(self) -> None:
        """Double the tables that the next event could fill. No event is half done when this is called."""
        try:
            grow_cache(self)
            if self.scalar("num_meters") > self.scalar("meter_room"):
                grow_meters(self)
            if self.scalar("num_free") < self.scalar("row_slack"):
                self._grow_requests()
        except MemoryError:
            raise CapacityError("the memory of this machine does not hold the requests and cached blocks") from None

    def _grow_requests(self) -> None:
        """Double the request rows."""
        n = self.scalar("num_requests")
        old, old_due, old_homes = self["requests"][:n], self["due"], self["homes"]
        old_loads, old_holds = self["loads"], self["holds"]
        if 2 * n > 1 << SLOT_BITS:
            raise CapacityError(f"{n:,} requests wait or run at once, and more come: the fleet is far too small")
        rows = self.own("requests", 2 * n + 1)[: 2 * n]
        rows[:n] = old
        self.own("due", 4 * n + 2)[: len(old_due)] = old_due
        self.own("homes", 2 * n * self.scalar("num_homes"))[: len(old_homes)] = old_homes
        if self.scalar("has_retries"):
            old_retries = self["retries"]
            self.own("retries", 2 * n)[:n] = old_retries
        if self.scalar("has_deadlines"):
            old = self["deadlines"]
            self.own("deadlines", 2 * n)[:] = NO_DEADLINE
            self["deadlines"][:n] = old
        if self.scalar("has_faults"):
            old = self["moves"]
            self.own("moves", 2 * n)[:n] = old
        if self.scalar("has_extras"):
            old = self["extras"]
            self.own("extras", 2 * n)[:n] = old
        if self.scalar("num_routers") > 1:
            old = self["via"]
            self.own("via", 2 * n)[:n] = old
        if self.scalar("num_regions"):
            old = self["places"]
            self.own("places", 2 * n)[:n] = old
        for name, has in (("gates", "has_gates"), ("charges", "has_charges")):
            if self.scalar(has):
                old = self[name]
                self.own(name, 2 * n)[:n] = old
        if self.scalar("has_work"):
            old = self["works"]
            self.own("works", 2 * n)[:n] = old
        grow_companions(self, n)
        if self.scalar("has_loads"):
            self.own("loads", 2 * n)[:n] = old_loads
        if self.scalar("has_holds"):
            holds = self.own("holds", 2 * n)
            holds[:n] = old_holds
            holds["replica"][n:] = -1
        link_free(rows, n)
        rows["next"][-1] = self.scalar("free_slot")
        self.record["free_slot"] = n
        self.record["num_free"] += n
        self.record["num_requests"] = 2 * n
        self.record["due_size"] = len(self["due"])

    # -------------------------------------------------------------- results out

    def take_done(self) -> Table:
        """The records finished since the last call (a copy)."""
        n = self.scalar("num_done")
        rows = self["done"][:n].copy()
        self.record["num_done"] = 0
        return rows

    def end(self, now_s: float) -> Iterator[Table]:
        """Stop at `now_s`: settle the replicas, end what is alive as in flight, give the records in parts.

        They end in the order in which they came: one that does not tell in what rows they were.
        """
        watching.settle(self.address, now_s)
        rows = self["requests"][: self.scalar("num_requests")]
        alive = np.flatnonzero(rows["state"] != FREE)
        slots = allocate(max(1, len(alive)), I4)
        slots["v"][: len(alive)] = alive[np.argsort(rows["serial"][alive], kind="stable")]
        place = 0
        while place >= 0:
            place = watching.end_all(self.address, slots.ctypes.data, place, len(alive), now_s)
            yield self.take_done()

    def observe(self, pool: int, now_s: float) -> np.void:
        """A pool's state and its counters and integrals at `now_s` (an OBSERVED row, copied)."""
        watching.observe(self.address, pool, now_s, self._observed.ctypes.data)
        row: np.void = self._observed[0].copy()
        return row

    def observe_replica(self, r: int, now_s: float) -> np.void:
        """The same of one replica, without what is counted by pool alone."""
        watching.observe_replica(self.address, r, now_s, self._observed.ctypes.data)
        row: np.void = self._observed[0].copy()
        return row

    def forget_gaps(self, now_s: float) -> None:
        """Begin the histogram of gaps, and what is counted of transfers and host tiers, anew at `now_s`."""
        watching.count_gaps(self.address, now_s)
        self["itl"]["v"] = self["transfer_times"]["v"] = 0
        self["pools"]["held_block_s"] = 0.0
        for table, counters in (("links", LINK_COUNTERS), ("tiers", TIER_COUNTERS), ("lanes", LANE_COUNTERS)):
            for name in counters:
                self[table][name] = 0
        self["spread"]["v"] = 0

    # -------------------------------------------------------------- the log of steps

    def start_log(self) -> None:
        """Write a log of steps from now on (`sim.plane.log`); `take_log` gives it, part by part."""
        steps = int(self["pools"]["depth"].max()) + 2  # formed in an event at most, and one more
        self.own("log", LOG_ROWS + LOGGED_LEAP + 8 * steps * int(self["pools"]["max_seqs"].max()) + 64 * steps)
        self.record["logging"], self.record["log_room"] = 1, LOG_ROWS

    def take_log(self) -> Table:
        """The rows written since the last call (a copy)."""
        rows = self["log"][: self.scalar("num_log")].copy()
        self.record["num_log"] = 0
        return rows

    @property
    def spent_s(self) -> NDArray[np.float64]:
        """Replica-seconds of the measured requests that have left their replicas, shape [class, account]."""
        return self["spent"]["v"].reshape(len(self.world.classes), -1)

    @property
    def itl(self) -> NDArray[np.int64]:
        """Histogram of gaps between tokens, shape [groups, NUM_BINS]; a view."""
        return self._shown("itl")

    @property
    def itl_per_token(self) -> NDArray[np.int64]:
        """The same with a gap before several tokens spread over them, shape [groups, NUM_BINS]."""
        return self.itl + self._shown("spread") if self.world.speculates else self.itl

    def _shown(self, name: str) -> NDArray[np.int64]:
        """A histogram of gaps without its last row, which has the gaps of what clients do not see, if there is one."""
        rows: NDArray[np.int64] = self[name]["v"].reshape(-1, NUM_BINS)
        return rows[: self.scalar("num_itl") - self.scalar("has_work")]
