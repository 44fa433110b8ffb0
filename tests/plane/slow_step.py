"""One engine step of the readable model: how long it takes and what each sequence's part of it is.

Every sum runs over the entries of the step; the tables of StepTimes are read by plain indexing.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sim.cost.step_times import StepTimes

if TYPE_CHECKING:
    from slow_sequence import Sequence


@dataclass(eq=False)
class Entry:
    """What one sequence does in one step."""

    seq: "Sequence"
    num_tokens: int
    before: int
    """Tokens computed before this step."""
    emits: bool = False
    drafts: int = 0
    """Drafted tokens among them."""

    @property
    def is_decode(self) -> bool:
        """One token past the prompt, also when it is computed again after a preemption; else a chunk of prefill.

        Where the prompt was fetched, its last token alone is a decode too.
        """
        return self.num_tokens - self.drafts == 1 and self.before >= self.seq.prompt_tokens - self.seq.fetches

    @property
    def context(self) -> int:
        """Context of a decode, the token computed now included, drafts left out."""
        return self.before + 1

    @property
    def pairs(self) -> int:
        """Query x context pairs of a prefill chunk."""
        return sum(self.before + j + 1 for j in range(self.num_tokens))


@dataclass(eq=False)
class Step:
    """A step as it was scheduled, and what was left after it."""

    replica: int
    scheduled_s: float
    """Time of the schedule() call."""
    start_s: float
    step_s: float
    """Busy time that it adds."""
    end_s: float
    entries: list[Entry]
    shares_s: list[float]
    admitted: list[tuple[int, int, bool]]
    """(serial, cached tokens, resumed)."""
    preempted: list[int]
    num_running: int
    num_waiting: int
    free_blocks: int
    cached_blocks: int
    finished: list[int] = field(default_factory=list)
    free_blocks_end: int = -1


def piece_of(times: StepTimes, context: int) -> int:
    """The affine piece that holds a total decode context."""
    for k, knot in enumerate(times.knot_tokens):
        if context < knot:
            return k
    raise AssertionError("the last knot is infinite")


def step_and_shares(times: StepTimes, entries: list[Entry]) -> tuple[float, list[float]]:
    """The step's time [s] and each entry's share of it [s]; the shares add up to the time."""
    decodes = [entry for entry in entries if entry.is_decode]
    prefills = [entry for entry in entries if not entry.is_decode]
    emitting = [entry for entry in entries if entry.emits]
    num_tokens = sum(entry.num_tokens for entry in entries)
    context = sum(entry.context for entry in decodes)
    pairs = sum(entry.pairs for entry in prefills)
    sample_s = float(times.sample_s[len(emitting)])
    offset_s = slope_s = 0.0
    if decodes:
        k = piece_of(times, context)
        offset_s = float(times.decode_offset_s[len(decodes), k])
        slope_s = float(times.decode_slope_s[len(decodes), k])

    if not prefills:
        even_s = float(times.decode_batch_s[len(decodes)]) + sample_s + offset_s
        step_s = even_s + slope_s * context
        return step_s, [even_s / len(decodes) + slope_s * entry.context for entry in entries]

    step_s = float(times.batch_s[num_tokens]) + times.prefill_step_s + sample_s
    step_s += offset_s + slope_s * context + times.pair_s * pairs
    first_s = float(times.batch_s[1])
    excess_s = float(times.batch_s[num_tokens]) - first_s
    shares = []
    for entry in entries:
        share = (first_s + times.prefill_step_s) / len(entries) + excess_s * entry.num_tokens / num_tokens
        if not emitting:
            share += sample_s / len(entries)
        elif entry.emits:
            share += sample_s / len(emitting)
        if entry.is_decode:
            share += offset_s / len(decodes) + slope_s * entry.context
        else:
            share += times.pair_s * entry.pairs
        shares.append(share)
    return step_s, shares
