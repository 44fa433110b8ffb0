"""The readable model's limits of use: token buckets, and messages in a window; what `sim/plane/limits.py` says."""

import math
from dataclasses import dataclass
from typing import Any

from slow_request import Request

from sim.plane.promises import Bucket, UserLimit
from sim.plane.world import World

FELL_BACK = 2


@dataclass
class Meter:
    """What is left of a limit."""

    bucket: Bucket
    at_s: float
    levels: list[float]
    began_s: float = 0.0
    messages: int = 0

    @classmethod
    def full(cls, bucket: Bucket, now: float) -> "Meter":
        return cls(bucket, now, [bucket.capacity, bucket.input_capacity, bucket.output_capacity], now)

    def limits(self) -> list[tuple[float, float]]:
        """Rate and capacity of requests, input and output tokens."""
        b = self.bucket
        pairs = [(b.rate_per_s, b.capacity), (b.input_per_s, b.input_capacity), (b.output_per_s, b.output_capacity)]
        return [(0.0, math.inf) if rate == math.inf else (rate, capacity) for rate, capacity in pairs]

    def refill(self, now: float) -> None:
        for n, (rate, capacity) in enumerate(self.limits()):
            level = math.inf if capacity == math.inf else self.levels[n]
            self.levels[n] = min(capacity, level + (now - self.at_s) * rate)
        self.at_s = now

    def has(self, costs: list[int], now: float) -> bool:
        self.refill(now)
        return all(level >= cost for level, cost in zip(self.levels, costs, strict=True))

    def take(self, costs: list[int]) -> None:
        self.levels = [level - cost for level, cost in zip(self.levels, costs, strict=True)]

    def give(self, gifts: list[int], now: float) -> None:
        self.refill(now)
        pairs = zip(self.levels, gifts, self.limits(), strict=True)
        self.levels = [min(capacity, level + gift) for level, gift, (_, capacity) in pairs]


class Limits:
    """The part of the model that knows them."""

    world: World

    def add_limits(self) -> None:
        start_s = self.world.start_s
        self.meters = [Meter.full(bucket, start_s) for bucket in self.world.buckets]
        self.users: dict[tuple[int, str], Meter] = {}
        everyone = [self.world.promise(kind.tier).user_limit for kind in self.world.classes]
        buckets = [*self.world.buckets, *(limit.bucket for limit in everyone if limit is not None)]
        self.counts_tokens = any(min(bucket.input_per_s, bucket.output_per_s) < math.inf for bucket in buckets)

    def expected(self, record: dict[str, Any]) -> int:
        """Output tokens that a request is expected to have."""
        expected = self.world.expected_output_tokens[record["class_id"]]
        return expected[min(record["language"], len(expected) - 1)]

    def costs(self, bucket: Bucket, request: Request) -> list[int]:
        """What a request takes from each of a meter's buckets."""
        if not self.counts_tokens:
            return [1, 0, 0]
        most = request.kind.max_output_tokens
        output = most if bucket.charges == "max_output_tokens" else self.expected(request.record)
        return [1, request.record["prompt_tokens"], output]

    def user_limit(self, request: Request) -> UserLimit | None:
        return self.world.promise(request.kind.tier).user_limit

    def meters_of(self, request: Request, now: float) -> list[Meter]:
        """The meters that a request is held against: its user's, its tier's or client's."""
        found, limit = [], self.user_limit(request)
        if limit is not None:
            owner = request.record["user"], request.kind.tier
            found.append(self.users.setdefault(owner, Meter.full(limit.bucket, now)))
        if (number := int(request.row["bucket"])) >= 0:
            found.append(self.meters[number])
        return found

    def is_let_in(self, now: float, request: Request) -> bool:
        """Whether a request keeps its limits; it pays, and may change its path."""
        meters, limit = self.meters_of(request, now), self.user_limit(request)
        spent = False
        if limit is not None and limit.messages > 0:
            if now >= meters[0].began_s + limit.window_s:
                meters[0].messages = 0
            spent = meters[0].messages >= limit.messages
        if spent and limit.fall_back is None:
            return False
        if not all(meter.has(self.costs(meter.bucket, request), now) for meter in meters):
            return False
        for meter in meters:
            meter.take(self.costs(meter.bucket, request))
        if spent:
            request.path_name, request.path = limit.fall_back, list(self.world.paths[limit.fall_back])
            request.record["flags"] |= FELL_BACK
        elif limit is not None and limit.messages > 0:
            if meters[0].messages == 0:
                meters[0].began_s = now
            meters[0].messages += 1
        request.paid = True
        return True

    def settle_limits(self, now: float, request: Request) -> None:
        """A request has ended: what it was charged is corrected."""
        if not request.paid or not self.counts_tokens:
            return
        for meter in self.meters_of(request, now):
            more = self.costs(meter.bucket, request)[2] - request.record["output_tokens"]
            meter.give([0, 0 if meter.bucket.counts_cached else request.record["cached_tokens"], more], now)
