"""Which replica the readable model sends a visit to; what `sim/plane/routing.py` says, in plain Python."""

from typing import Any

import slow_draws as draws
from slow_content import Content

from sim.plane.world import World


class Router:
    """The routers of all pools of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.turns = [0] * len(world.pools)  # round robin

    def route(self, request: Any, pool: int, candidates: list[Any], leading: Content, num_tokens: int) -> Any:
        """One of the candidates, the active replicas of a pool; `leading`: what the visit's prompt begins with."""
        rule = self.world.router
        if rule == "round_robin":
            self.turns[pool] += 1
            return candidates[(self.turns[pool] - 1) % len(candidates)]
        if rule == "least_outstanding":
            return min(candidates, key=lambda replica: replica.outstanding)
        chosen = None
        if rule == "session_affinity":
            chosen = request.homes.get(pool)
        elif rule == "prefix_affinity":
            word = self.word(leading, min(self.world.prefix_token_count, num_tokens))
            chosen = max(candidates, key=lambda replica: self.weight(word, replica))
        if chosen not in candidates or self.is_overloaded(chosen, candidates):
            chosen = self.better_of_two(request, candidates)
        request.homes[pool] = chosen
        return chosen

    def better_of_two(self, request: Any, candidates: list[Any]) -> Any:
        """The less busy of two that the request draws."""
        record = request.record
        index = 8 * record["turn"] + request.visit + (record["attempt"] << 32)
        word = draws.bits(self.world.seed, draws.ROUTE, record["user"], record["conversation"], index)
        first, second = (candidates[(half * len(candidates)) >> 32] for half in (word & 0xFFFFFFFF, word >> 32))
        return first if first.outstanding <= second.outstanding else second

    def is_overloaded(self, replica: Any, candidates: list[Any]) -> bool:
        """Whether a replica has too much more to do than the idlest."""
        least = min(other.outstanding for other in candidates)
        more = replica.outstanding - least > self.world.balance_abs_threshold
        return more and replica.outstanding > self.world.balance_rel_threshold * least

    def weight(self, word: int, replica: Any) -> int:
        """How strongly a text is drawn to a replica."""
        return draws.bits(self.world.seed, draws.AFFINITY, word, replica.index, 0)

    def word(self, content: Content, num_tokens: int) -> int:
        """A hash of the stretches (key, where it begins) that a text's leading tokens lie in."""
        found = 0
        tokens = enumerate(content.tokens(0, num_tokens))
        for key, start in dict.fromkeys((key, position - offset) for position, (key, offset) in tokens):
            found = draws.mix((draws.mix((found + key) & draws.WORD) + start * draws.GOLDEN) & draws.WORD)
        return found
