"""What the tokens of a request are: stretches of text one after the other. Two tokens are equal iff these pairs are."""

from dataclasses import dataclass
from typing import Any

import slow_draws as draws

from sim.plane.world import World
from sim.traffic.arrivals import TrafficClass

Token = tuple[int, int]
"""Key of a stretch, and place in it."""


@dataclass(frozen=True)
class Content:
    """The text of a request, prompt and output together."""

    stretches: tuple[tuple[int, int], ...]
    """(key, end position) of each stretch: the shared prefix (which may be empty), then the older text."""
    stream: int
    """Key of the last stretch, which has no end."""
    number: int
    """The turn at which that one began, or a number of its own."""

    @property
    def stream_start(self) -> int:
        """Position of the stream's first token."""
        return self.stretches[-1][1]

    def parted(self, end: int, stream: int, number: int) -> "Content":
        """The same text up to `end`, and then that of another stream."""
        found, start = [], 0
        for key, stop in (*self.stretches, (self.stream, max(end, self.stream_start))):
            if start < end or not found:
                found.append((key, min(stop, end)))
            start = stop
        return Content(tuple(found), stream, number)

    def tokens(self, begin: int, end: int) -> tuple[Token, ...]:
        """The tokens at positions from `begin` up to `end`."""
        found: list[Token] = []
        start = 0
        for key, stop in (*self.stretches, (self.stream, end)):
            found += [(key, position - start) for position in range(max(begin, start), min(end, stop))]
            start = stop
        return tuple(found)


class Texts:
    """Which text the requests of a world read and write."""

    def __init__(self, world: World) -> None:
        self.world = world
        groups: list[tuple[str, Any]] = [("class", kind.prefix_group) for kind in world.classes]
        for name, path in world.paths.items():
            groups += [(name, v) for v, visit in enumerate(path) if visit.kind == "classify"]
        self.groups = {group: number for number, group in enumerate(dict.fromkeys(groups))}

    def prefix(self, group: tuple[str, Any], num_tokens: int) -> tuple[int, int]:
        """The stretch of a shared prefix."""
        return draws.bits(self.world.seed, draws.CONTENT, self.groups[group], 0, 1 << 40), num_tokens

    def stream(self, record: dict[str, Any], index: int) -> int:
        """The key of text that only this conversation has."""
        return draws.bits(self.world.seed, draws.CONTENT, record["user"], record["conversation"], index)

    def first(self, record: dict[str, Any], kind: TrafficClass, segments: Any) -> Content:
        """A first turn: the prefix, the recorded stretches if there are any, and text of its own."""
        stretches = [self.prefix(("class", kind.prefix_group), kind.prefix_tokens)]
        for segment in segments:
            stretches.append((int(segment["key"]), stretches[-1][1] + int(segment["tokens"])))
        return Content(tuple(stretches), self.stream(record, 0), 0)

    def anew(self, record: dict[str, Any], before: Content) -> Content:
        """A turn without history, or with a part of it only: after the prefix, nothing is where it was."""
        return Content(before.stretches[:1], self.stream(record, record["turn"]), record["turn"])

    def after(self, record: dict[str, Any], before: Content, end: int) -> Content:
        """A turn after one that got no answer: what had been said, up to `end`, stays; new text follows."""
        return before.parted(end, self.stream(record, record["turn"]), record["turn"])

    def visit(self, record: dict[str, Any], path: str, number: int, told_turn: int) -> Content:
        """A classifier's: its template, and text that stays the same as long as what it reads does.

        `told_turn`: the turn from which on all prompts and answers repeat what was before.
        """
        visit = self.world.paths[path][number]
        index = told_turn if visit.prompt == "full" else record["turn"]
        stream = self.stream(record, (number + 1) << 32 | index)
        return Content((self.prefix((path, number), visit.template_tokens),), stream, index)
