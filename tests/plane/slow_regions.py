"""Requests of the readable model that travel between regions; what `sim/plane/regions.py` says, in plain Python."""

from typing import Any

import slow_draws as draws
from slow_companions import Companion

from sim.plane.world import World

TIMER = 2
REGION = 14
SPILLED = 16


class Travels:
    """The part of the model that knows where requests are."""

    world: World
    pools: list[list[Any]]
    push: Any

    def set_out(self, request: Any) -> None:
        """A request begins at its sender's place."""
        request.record["network_s"] = 0.0
        if (regions := self.world.regions) is None:
            return
        word = draws.bits(self.world.seed, REGION, request.record["user"], 0, 0)
        total, request.place = 0.0, 0
        for frac in regions.user_frac[:-1]:
            total += frac
            request.place += word >= min(total * 2.0**64, 2.0**64 - 2048.0)
        row = list(regions.to_users_s[request.place])
        request.home = row.index(min(row))
        request.at, request.heading, request.settles = None, None, False

    def members(self, pool: int, region: int) -> list[Any]:
        """The active replicas of a pool in a region."""
        return [replica for replica in self.located(pool, region) if replica.state == "active"]

    def located(self, pool: int, region: int) -> list[Any]:
        """All replicas of a pool in a region."""
        counts, first = self.world.pools[pool].regions, 0
        for number, (name, count) in enumerate(counts.items()):
            last = len(self.pools[pool]) if number == len(counts) - 1 else first + count
            if name == self.world.regions.names[region]:
                return self.pools[pool][first:last]
            first = last
        return []

    def has_room(self, pool: int, region: int) -> bool:
        """Whether a pool has active replicas in a region, and is not full there."""
        active = self.members(pool, region)
        others = sum(replica.outstanding for replica in self.located(pool, region))
        return bool(active) and others < self.world.regions.spill_at * len(active)

    def choose(self, pool: int, at: int) -> int:
        """Where a request at a region makes its visit."""
        row = self.world.regions.between_s[at]
        near = [at, *sorted(range(len(row)), key=lambda region: row[region])]
        free = [region for region in near if self.has_room(pool, region)]
        active = [region for region in near if self.members(pool, region)]
        return (free or active or [at])[0]

    def travels(self, request: Any, now: float) -> bool:
        """Whether a request has to go elsewhere first, and takes time for that. A companion is where its request is."""
        if (regions := self.world.regions) is None:
            return False
        if isinstance(request, Companion):
            request.at = request.owner.at
            return False
        if request.heading is not None:
            request.at, request.heading = request.heading, None
        first_s = regions.to_users_s[request.place][request.home]
        if request.at is None and self.goes(request, request.home, first_s, now):
            return True
        pool = request.path[request.visit].pool
        stays, request.settles = request.settles and bool(self.members(pool, request.at)), False
        to = request.at if stays else self.choose(pool, request.at)
        if to == request.at:
            return False
        if self.located(pool, request.at):
            request.record["flags"] |= SPILLED
        takes_s = regions.between_s[request.at][to]
        request.settles = takes_s > 0.0
        return self.goes(request, to, takes_s, now)

    def goes(self, request: Any, to: int, takes_s: float, now: float) -> bool:
        """A request goes to a region, which takes so long: whether that is any time at all."""
        if takes_s <= 0.0:
            request.at = to
            return False
        request.heading = to
        t_s = draws.whole_ns(now + takes_s)
        request.record["network_s"] += t_s - now
        self.push(t_s, TIMER, request.record["serial"], "go_on")
        return True

    def back(self, request: Any, *, ends: bool = False) -> float:
        """How long what a replica says takes to the client; counted where it ends so."""
        if (regions := self.world.regions) is None or request.at is None:
            return 0.0
        way_s = regions.between_s[request.at][request.home] + regions.to_users_s[request.place][request.home]
        request.record["network_s"] += way_s * ends
        return float(way_s)
