"""What requests of the readable model are like, and what changes it from a command on."""

import math
from dataclasses import replace
from typing import Any

import slow_draws as draws
from slow_content import Content
from slow_request import Request

from sim.plane.world import World
from sim.traffic.arrivals import TrafficClass

DRIFTS = ("lengths", "bust", "block")


class Drifts:
    """The part of the model that knows it."""

    world: World
    draw: Any
    texts: Any

    def start_drifts(self) -> None:
        self.factors = [(1.0, 1.0) for _ in self.world.classes]
        self.busted: set[int] = set()
        self.block_fracs: dict[tuple[str, int], float] = {}

    def drift(self, verb: str, number: int, *values: float) -> None:
        """A command: ("lengths", class, factor, factor), ("bust", class) or ("block", visit, fraction)."""
        if verb == "lengths":
            self.factors[number] = (values[0], values[1])
        elif verb == "bust":
            self.busted.add(number)
        else:
            visits = [(name, ordinal) for name, path in self.world.paths.items() for ordinal in range(len(path))]
            self.block_fracs[visits[number]] = values[0]

    def turn_lengths(self, record: dict[str, Any], kind: TrafficClass, row: Any, before: Request | None) -> list[int]:
        """New tokens of a turn, and tokens that it wants; the same whenever it is tried again."""
        if record["attempt"] > 0:
            return [before.record["user_tokens"], before.record["requested_tokens"]]
        drawn = [int(row["user_tokens"]), int(row["output_tokens"])]
        if (turn := record["turn"]) > 0:
            factor = 1.0 if kind.length_factor is None else float(kind.length_factor[record["language"]])
            tables = ((kind.user_tokens, draws.USER_TOKENS), (kind.output_tokens, draws.OUTPUT_TOKENS))
            drawn = [draws.tokens(table, self.draw(stream, record, turn), factor) for table, stream in tables]
        drawn[1] = min(drawn[1], kind.max_output_tokens)
        factors = self.factors[record["class_id"]]
        user, output = [max(1, math.floor(f * tokens + 0.5)) for tokens, f in zip(drawn, factors, strict=True)]
        return [user, min(output, kind.max_output_tokens)]

    def busted_text(self, request: Request) -> Content:
        """What an answering visit reads: text that nobody else has."""
        record, content = request.record, request.content
        number = 8 * (64 * record["turn"] + record["attempt"]) + request.visit
        return replace(
            content, stretches=((content.stretches[0][0], 0),), stream=self.texts.stream(record, (1 << 48) + number)
        )

    def block_frac(self, request: Request) -> float | None:
        """What share the classifier that a request has visited blocks since a command, if there was one."""
        return self.block_fracs.get((request.path_name, request.visit))
