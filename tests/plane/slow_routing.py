"""Which replica the readable model sends a visit to; what `sim/plane/routing.py` says, in plain Python."""

import math
from collections import OrderedDict
from typing import Any

import slow_draws as draws
from slow_content import Content

ACTIVE, OFF = "active", "off"
Text = tuple[tuple[int, int], ...]
"""Stretches of a text, from its beginning: key, and where it begins."""


class Router:
    """The routers of all pools of a world, and what each knows."""

    def __init__(self, model: Any) -> None:
        self.model, self.world, self.routing = model, model.world, model.world.routing
        self.rules = [pool.router or self.world.router for pool in self.world.pools]
        self.polls = "least_kv" in self.rules
        self.turns: dict[tuple[Any, ...], int] = {}  # round robin
        self.up = [True] * self.routing.num_routers
        self.looked_s = [-math.inf] * self.routing.num_routers
        self.gauges: dict[tuple[int, Any], int] = {}
        self.sent: dict[tuple[int, Any], OrderedDict[Text, int]] = {}
        """By router and the blocks of a replica, which are new ones when it comes back: tokens of the last stretch."""

    # Which router

    def come(self, request: Any, now: float) -> None:
        """A request comes to a router, which looks at the gauges if it has not for long."""
        if not any(self.up):
            return
        record, routing = request.record, self.routing
        index = 0 if routing.by_conversation else record["turn"] + (record["attempt"] << 32)
        word = draws.bits(self.world.seed, draws.ROUTER, record["user"], record["conversation"], index)
        request.router = ((word & 0xFFFFFFFF) * routing.num_routers) >> 32
        while not self.up[request.router]:
            request.router = (request.router + 1) % routing.num_routers
        if self.polls and now - self.looked_s[request.router] >= routing.state_interval_s:
            self.looked_s[request.router] = now
            for replica in self.model.replicas:
                used = replica.pool.num_gpu_blocks - 1 - replica.blocks.num_free
                self.gauges[request.router, replica] = 0 if replica.state == OFF else used

    def control(self, verb: str, number: int, now: float) -> None:
        """The door is shut or opened; a router fails, and all that came by it; or it comes back."""
        if verb == "outages":
            self.model.num_outages += number
        elif verb == "restore_router":
            self.model.num_outages -= not any(self.up)
            self.up[number] = True
        elif self.up[number]:
            self.up[number] = False
            self.model.num_outages += not any(self.up)
            self.sent = {key: texts for key, texts in self.sent.items() if key[0] != number}
            for request in [request for request in self.model.requests if request.router == number]:
                self.model.abort(request, 7, now)

    # Which replica

    def candidates(self, request: Any, pool: int) -> list[Any]:
        """The active replicas that a request's tier may use."""
        if self.world.regions is not None:
            return self.model.members(pool, request.at)
        members, reserved = self.model.pools[pool], self.world.pools[pool].reserved
        first, mine = 0, request.kind.tier if request.kind.tier in reserved else None
        parts = {}
        for tier, count in reserved.items():
            parts[tier] = members[first : first + count]
            first += count
        parts[None] = members[first:]
        return [replica for replica in parts[mine] if replica.state == ACTIVE]

    def route(self, request: Any, pool: int, candidates: list[Any], leading: Content, num_tokens: int) -> Any:
        """One of the candidates; `leading`: what the visit's prompt of so many tokens begins with."""
        rule = self.rules[pool]
        if rule == "round_robin":
            tier = request.kind.tier
            part = tier if tier in self.world.pools[pool].reserved else None
            lane = (request.router, pool, part if self.world.regions is None else request.at)
            turn = self.turns[lane] = self.turns.get(lane, 0) + 1
            return candidates[(turn - 1) % len(candidates)]
        if rule == "least_outstanding":
            return min(candidates, key=lambda replica: self.load(request, replica))
        if rule == "least_kv":
            chosen = min(candidates, key=lambda replica: self.gauges[request.router, replica])
            if self.routing.counts_own:
                self.gauges[request.router, chosen] += -(-num_tokens // self.world.pools[pool].block_size)
            return chosen
        chosen = None
        by_index = rule == "prefix_affinity" and self.routing.index_blocks > 0
        if rule == "session_affinity":
            chosen = request.homes.get(pool)
        elif by_index:
            chosen = self.holder(request, candidates, leading, num_tokens)
        elif rule == "prefix_affinity":
            word = self.word(leading, min(self.world.prefix_token_count, num_tokens))
            chosen = max(candidates, key=lambda replica: self.weight(word, replica))
        if chosen not in candidates or self.is_overloaded(request, chosen, candidates):
            chosen = self.better_of_two(request, candidates)
        request.homes[pool] = chosen
        if by_index:
            self.remember(request, chosen, leading, num_tokens)
        return chosen

    def be_sent(self, request: Any, pool: int, replica: Any) -> None:
        """A gateway has sent a request to a replica that its router did not choose."""
        request.homes[pool] = replica
        if self.rules[pool] == "prefix_affinity" and self.routing.index_blocks > 0:
            num_tokens, _ = request.lengths(request.path[request.visit])
            self.remember(request, replica, request.visit_content, num_tokens)

    def load(self, request: Any, replica: Any) -> int:
        """Requests at a replica that came by the same router."""
        if len(self.up) == 1:
            return int(replica.outstanding)
        senders = (part for one in self.model.requests for part in (one, one.mate) if part is not None)
        others = [other for other in senders if other.replica is replica and other is not request]
        return sum(other.router == request.router for other in others)

    def better_of_two(self, request: Any, candidates: list[Any]) -> Any:
        """The less busy of two that the request draws."""
        record = request.record
        index = 8 * record["turn"] + request.visit + (record["attempt"] << 32)
        word = draws.bits(self.world.seed, draws.ROUTE, record["user"], record["conversation"], index)
        first, second = (candidates[(half * len(candidates)) >> 32] for half in (word & 0xFFFFFFFF, word >> 32))
        return first if self.load(request, first) <= self.load(request, second) else second

    def is_overloaded(self, request: Any, replica: Any, candidates: list[Any]) -> bool:
        """Whether a replica has too much more to do than the idlest."""
        least = min(self.load(request, other) for other in candidates)
        mine = self.load(request, replica)
        return mine - least > self.world.balance_abs_threshold and mine > self.world.balance_rel_threshold * least

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

    # The index of what was sent where

    def texts(self, content: Content, num_tokens: int) -> list[tuple[Text, int]]:
        """The beginnings of a prompt that end with a stretch of it, shortest first, and the tokens of that stretch."""
        found: list[tuple[Text, int]] = []
        text: Text = ()
        start = 0
        for key, end in (*content.stretches, (content.stream, num_tokens)):
            end = min(end, num_tokens)
            if end > start:
                text = (*text, (key, start))
                found.append((text, end - start))
            start = max(start, end)
        return found

    def holder(self, request: Any, candidates: list[Any], content: Content, num_tokens: int) -> Any:
        """Who was sent most of a prompt, if that is enough of it."""
        known = {}
        for replica in candidates:
            sent = self.sent.get((request.router, replica.blocks), {})
            for text, tokens in self.texts(content, num_tokens):
                if text in sent:
                    known[replica] = text[-1][1] + min(tokens, sent[text])
        if not known or max(known.values()) < self.routing.min_match_frac * num_tokens:
            return None
        return min(known, key=lambda one: (-known[one], self.load(request, one), one.index))

    def remember(self, request: Any, replica: Any, content: Content, num_tokens: int) -> None:
        """A prompt was sent to a replica: its stretches are used from the last to the first."""
        sent = self.sent.setdefault((request.router, replica.blocks), OrderedDict())
        for text, tokens in reversed(self.texts(content, num_tokens)):
            sent[text] = max(tokens, sent.get(text, 0))
            sent.move_to_end(text)
        while sum(-(-tokens // 16) for tokens in sent.values()) > self.routing.index_blocks:
            sent.popitem(last=False)
