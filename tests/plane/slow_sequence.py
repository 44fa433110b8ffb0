"""A visit of a request as a replica of the readable model sees it: the state that sections 1 and 10 list."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from slow_content import Content

if TYPE_CHECKING:
    from slow_replica import Block

WAITING, LOADING, RUNNING, PREEMPTED, GONE = "waiting", "loading", "running", "preempted", "gone"
"""LOADING: part of its KV is on its way into its blocks. Whoever waits with blocks has loaded them."""


@dataclass(eq=False)
class Sequence:
    """One visit of a request, as a replica sees it."""

    request: Any
    serial: int
    prompt_tokens: int
    output_tokens: int
    content: Content
    priority: int
    arrived_s: float
    status: str = WAITING
    num_emitted: int = 0
    """Output tokens delivered."""
    num_new: int = 0
    """Those that its latest step gave."""
    num_computed: int = 0
    blocks: "list[Block]" = field(default_factory=list)
    num_published: int = 0
    """Leading blocks that carry a hash."""
    hashes: list[int] = field(default_factory=list)
    """Of its leading blocks, as far as anybody asked."""
    mid_prefill: bool = False
    """Its latest step left tokens to compute."""
    pending: int = 0
    """Tokens sampled but not delivered."""
    in_flight: int = 0
    """Tokens of steps whose output is not processed."""
    stale: int = 0
    """Those of them that a preemption made void."""
    cached_tokens: int | None = None
    """Hits at the first admission; None before it."""
    num_preemptions: int = 0
    fetches: bool = False
    """Another pool computed its prompt."""
    upto: int = 0
    """Tokens that it has when its load is over."""
    num_loads: int = 0
    found_tokens: int = 0
    """Leading tokens that the second tier had, the last time it was asked."""
    slower_tokens: int = 0
    """Those of them that are sooner computed than loaded."""
    counted: bool = False
    scheduled_s: float | None = None
    """Start of the first step that carried it."""

    @property
    def num_tokens(self) -> int:
        """Prompt and the output so far: N."""
        return self.prompt_tokens + self.num_emitted

    @property
    def most_tokens(self) -> int:
        """Prompt and all output."""
        return self.prompt_tokens + self.output_tokens

    @property
    def order(self) -> tuple[int, float, int]:
        """Place in a waiting queue under the priority policy."""
        return self.priority, self.arrived_s, self.serial
