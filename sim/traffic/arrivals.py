"""What traffic hands to the plane: columns of first arrivals, and classes that say how conversations go on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, overload

import numpy as np
from numpy.typing import NDArray

# One row per first arrival: a conversation's first turn, a trace's request, an API request, a closed-loop user.
ARRIVAL = np.dtype(
    [
        ("t_s", "f8"),
        ("user", "i8"),
        ("conversation", "i4"),  # the user's k-th conversation (a program's k-th request)
        ("num_turns", "i4"),
        ("user_tokens", "i4"),  # new tokens of turn 0; of a trace, the whole prompt
        ("output_tokens", "i4"),  # output of turn 0
        ("class_id", "i4"),  # index into Source.classes
        ("language", "i4"),
        ("bucket", "i4"),  # row of Source.buckets, or -1
        ("num_segments", "i4"),  # rows of SEGMENT that describe the new tokens; 0: text of its own
    ]
)
# A stretch of a recorded prompt: token x of it equals token x of any other stretch of that key.
SEGMENT = np.dtype([("key", "u8"), ("tokens", "i4"), ("pad", "i4")])
NO_SEGMENTS = np.zeros(0, dtype=SEGMENT)
ONE_LANGUAGE = ("all",)  # of a source that does not tell languages apart
# Token buckets of one sender or tier, full at the start; each refills at its rate up to its capacity (infinite: no
# limit). A request takes one, its prompt, and of output what `charges_most` says; `sim.plane.limits` has the rules.
BUCKET = np.dtype(
    [
        ("rate_per_s", "f8"),
        ("capacity", "f8"),
        ("input_per_s", "f8"),
        ("input_capacity", "f8"),
        ("output_per_s", "f8"),
        ("output_capacity", "f8"),
        ("charges_most", "i4"),  # output tokens charged at first: 1: the longest answer; 0: those expected
        ("counts_cached", "i4"),  # 1: input read from a cache counts too
    ]
)
MAX_CHUNK_ROWS = 65_536
# People have numbers from 0 on, clients of the API from here, those of agents from twice this.
FIRST_PROGRAM = 1 << 40
NO_LIMIT = 1 << 30


class Chunk(NamedTuple):
    """Some arrivals."""

    rows: NDArray[np.void]
    """dtype ARRIVAL, in order of time."""
    segments: NDArray[np.void] = NO_SEGMENTS
    """dtype SEGMENT: those of each row that has any, one row's after the other's. Such a row has one turn only, and its
    segments' tokens add up to its `user_tokens`."""


@dataclass(frozen=True, eq=False)
class Reaction:
    """What a sender does about an attempt that failed, and about an answer that came late.

    An attempt that ends in one of `retried` is made again with probability `retry_frac`, at most `max_retries` times a
    turn, after a delay from `backoff_s` times `backoff_factor` to the power of the retries before, at most
    `max_backoff_s`. A turn that failed for good ends its conversation with probability `leave_frac`; an answer whose
    first token took longer than `slow_s` does so with probability `slow_leave_frac`.
    """

    retried: tuple[int, ...]  # endings, codes of sim.metrics.records
    retry_frac: float
    max_retries: int
    backoff_s: NDArray[np.float64]  # quantile table
    backoff_factor: float
    max_backoff_s: float
    leave_frac: float
    slow_s: float  # infinite: nothing is too slow
    slow_leave_frac: float


@dataclass(frozen=True, eq=False)
class TrafficClass:
    """How the requests of one kind of sender look after the first: quantile tables, limits and where they go.

    Turn k's prompt is `prefix_tokens`, then (with `keep_history`) all earlier user and output tokens of the
    conversation, then its own user tokens. Where prompt and output exceed `max_context_tokens`, history is dropped,
    oldest first, so that they fit (`truncates`), or the turn is refused. The next turn comes, whatever became of the
    last, at the later of (arrival + gap) and (end + `min_think_s`). Where one process sends the turns of all of them
    (`reissue_interval_s` > 0), it comes so long after the later of that time and the turn sent before it.
    """

    name: str
    tier: str
    path: str
    priority: int  # lower goes first
    prefix_tokens: int  # the shared system prompt, part of every prompt
    prefix_group: str  # equal strings share the prefix's text, so its cache blocks
    user_tokens: NDArray[np.float64]  # quantile table, see sim.traffic.lengths
    output_tokens: NDArray[np.float64]
    gap_s: NDArray[np.float64]  # arrival to arrival
    patience_s: NDArray[np.float64] | None  # until the first token; None: waits for ever
    min_think_s: float
    keep_history: bool
    max_context_tokens: int  # NO_LIMIT: the model's own
    is_program: bool
    truncates: bool = True
    max_output_tokens: int = NO_LIMIT  # longer answers are cut
    first_user_tokens: NDArray[np.float64] | None = None  # of turn 0, where it differs; None: as every turn
    single_user_tokens: NDArray[np.float64] | None = None  # of turn 0 of conversations of one turn; None: as turn 0
    length_factor: NDArray[np.float64] | None = None  # on user and output tokens, by language; None: 1 for all
    reaction: Reaction | None = None  # None: goes on with the next turn, whatever became of the last
    reissue_interval_s: float = 0.0  # turns after the first of all conversations of the class are so far apart
    unsafe_frac: float = 0.0  # of turns that a perfect classifier would block


class OneClass:
    """What sources of one class have in common."""

    traffic_class: TrafficClass

    @property
    def classes(self) -> tuple[TrafficClass, ...]:
        """One class."""
        return (self.traffic_class,)

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages are not told apart."""
        return ONE_LANGUAGE


class Source(Protocol):
    """Where arrivals come from."""

    @property
    def classes(self) -> tuple[TrafficClass, ...]:
        """The classes that `class_id` counts."""

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that `language` counts: at least one, the first where nothing else is said."""

    @property
    def buckets(self) -> NDArray[np.void]:
        """The token buckets that `bucket` counts (dtype BUCKET)."""

    def chunks(self) -> Iterator[Chunk]:
        """Arrivals (at most MAX_CHUNK_ROWS rows each), times never decreasing; fresh at every call."""

    def describe(self) -> dict[str, Any]:
        """The inputs in numbers, so that a run can be checked against them."""


@overload
def whole_ns(t_s: float) -> float: ...
@overload
def whole_ns(t_s: NDArray[np.float64]) -> NDArray[np.float64]: ...
def whole_ns(t_s):  # type: ignore[no-untyped-def]
    """A time [s] rounded to whole nanoseconds; written so that numba compiles it for scalars to the same bits."""
    return np.floor(t_s * 1e9 + 0.5) / 1e9
