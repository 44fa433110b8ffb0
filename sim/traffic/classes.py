"""From tiers and workloads to traffic classes and token buckets."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim import catalog, spec
from sim.errors import Problem, SpecError
from sim.spec import Distribution, RateLimit, Tier
from sim.spec.endings import ENDINGS
from sim.spec.parts import Pieces
from sim.spec.workload import Workload
from sim.traffic.arrivals import BUCKET, NO_LIMIT, Reaction, TrafficClass
from sim.traffic.lengths import Table, quantile_table
from sim.traffic.parts import chances, pieces, some, summed
from sim.units import MINUTE_S

_NEVER_USED = np.ones(1025)


def table(distribution: Distribution, *, whole: bool = False) -> Table:
    """The quantile table of a distribution whose percentiles may be named; raises SpecError for an unknown name."""
    if isinstance(distribution.percentiles, str):
        found = catalog.load_percentile_table(distribution.percentiles)
        distribution = distribution.model_copy(update={"percentiles": found.percentiles})
    return quantile_table(distribution, whole=whole)


def class_of(name: str, tier_name: str, tier: Tier, **known: Any) -> TrafficClass:
    """A tier's class; `known` holds the fields that the source knows, the others are those of single requests.

    The tier's system prompt comes first in every prompt, then that of the application: its system prompt and tools,
    `application_tokens` among the known.
    """
    application_tokens = known.pop("application_tokens", 0)
    fields: dict[str, Any] = {
        "user_tokens": _NEVER_USED,
        "output_tokens": _NEVER_USED,
        "gap_s": np.zeros(1025),
        "min_think_s": 0.0,
        "keep_history": False,
        "is_program": True,
    }
    return TrafficClass(
        name=name,
        tier=tier_name,
        path=tier.path,
        priority=tier.priority,
        prefix_tokens=tier.system_prompt_tokens + application_tokens,
        prefix_group=name,
        patience_s=None if tier.patience is None else table(tier.patience),
        max_context_tokens=tier.max_context_tokens or NO_LIMIT,
        truncates=tier.truncation == "auto",
        max_output_tokens=tier.max_output_tokens or NO_LIMIT,
        unsafe_frac=tier.unsafe_frac,
        reaction=None if tier.reaction is None else reaction_of(tier.reaction),
        **fields | known,
    )


def reaction_of(given: spec.Reaction) -> Reaction:
    """What the senders of a tier do."""
    return Reaction(
        retried=tuple(ENDINGS.index(name) for name in given.retry_on),
        retry_frac=given.retry_frac,
        max_retries=given.max_retries,
        backoff_s=table(given.backoff),
        backoff_factor=given.backoff_factor,
        max_backoff_s=np.inf if given.max_backoff is None else given.max_backoff,
        leave_frac=given.leave_frac,
        slow_s=np.inf if given.slow_ttft is None else given.slow_ttft,
        slow_leave_frac=given.slow_leave_frac,
    )


def workload_tables(workload: Workload) -> dict[str, Any]:
    """What a workload says of its classes, by field of TrafficClass, and the quantile table of its number of turns."""
    found: dict[str, Any] = {"application_tokens": workload.system_prompt + workload.tools}
    problems: list[Problem] = []

    def read(field: str, *, whole: bool = True) -> Table:
        with collected(problems, f"workload {workload.name}: {field}"):
            return table(getattr(workload, field), whole=whole)
        return _NEVER_USED

    text, begins = read("input_sequence_length_per_turn"), workload.input_sequence_length_first_turn
    first_text = text if begins is None else read("input_sequence_length_first_turn")
    found["output_tokens"] = read("output_sequence_length")
    found["gap_s"] = read("time_between_turns", whole=False)
    found["turns"] = read("number_of_turns")
    with collected(problems, f"workload {workload.name}"):
        found["user_tokens"] = _turn(text, workload, begins=False)
        if begins is not None or workload.files is not None:
            found["first_user_tokens"] = _turn(first_text, workload, begins=True)
        if workload.input_sequence_length_single_turn is not None:
            found["single_user_tokens"] = _turn(read("input_sequence_length_single_turn"), workload, begins=True)
    SpecError.raise_if(problems)
    return found


def _turn(text: Table, workload: Workload, *, begins: bool) -> Table:
    """The quantile table of the new tokens of a turn, all its parts together."""
    parts = [_pieces(each) for each in (workload.retrieved_passages, workload.images) if each is not None]
    if begins and workload.files is not None:
        parts.append(some(workload.files.conversation_frac, chances(table(workload.files.tokens, whole=True))))
    return summed([chances(text), *parts]) if parts else text


def _pieces(each: Pieces) -> Table:
    """The probabilities of the tokens of all pieces of a turn."""
    return pieces(table(each.number), table(each.tokens, whole=True))


@contextmanager
def collected(problems: list[Problem], place: str) -> Iterator[None]:
    """Collect the problems met, each with the place it belongs to."""
    try:
        yield
    except SpecError as error:
        problems += [Problem(p.message, p.file, p.line, p.path or place) for p in error.problems]


def buckets_of(limit: RateLimit | None, count: int) -> NDArray[np.void]:
    """So many full meters of a rate limit, or none (dtype BUCKET)."""
    buckets = np.zeros(0 if limit is None else count, dtype=BUCKET)
    if limit is None:
        return buckets
    for rate, burst, per_minute, capacity in (
        ("rate_per_s", "capacity", limit.requests_per_minute, limit.burst),
        ("input_per_s", "input_capacity", limit.input_tokens_per_minute, limit.input_token_burst),
        ("output_per_s", "output_capacity", limit.output_tokens_per_minute, limit.output_token_burst),
    ):
        minute = np.inf if per_minute is None else per_minute
        buckets[rate], buckets[burst] = minute / MINUTE_S, minute if capacity is None else capacity
    buckets["charges_most"] = limit.output_tokens_charged == "max_output_tokens"
    buckets["counts_cached"] = limit.cached_tokens_count
    return buckets
