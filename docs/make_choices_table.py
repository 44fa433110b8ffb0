# ruff: noqa: INP001  (a script, in no package)
"""Writes docs/choices.md: what choices of Meridian-1's life change downstream, beside what was expected.

Run `python docs/make_choices_table.py` after a change of what a fleet costs (five minutes on two processors); a slow
test plays some of it again and compares. Expectations stood here before the first run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sim import catalog
from sim.lifecycle.stages import stages_of
from sim.report.choices import HEAD, NUM_WORDS, cells
from sim.study.echo import CHOICES, Choice, Row, echo, scenario_of

PAGE = Path(__file__).with_name("choices.md")
BEGIN, END = "<!-- {}: begin -->", "<!-- {}: end -->"
LIFECYCLE = "meridian-1"
HOW = {"scale": 0.1, "peak_factor": 1.5, "target": 0.9}
SHOWN = {
    "num_gpus": "GPUs",
    "p50_ttft_ms": "TTFT, median",
    "p95_ttft_ms": "TTFT, 95 %",
    "p50_itl_ms": "ITL, median",
    "usd_per_1m_output_tokens": "USD per 1M output tokens",
    "usd_per_user_month": "USD per user-month",
    "development_usd": "development",
    "lifetime_usd": "cost of its life",
}


@dataclass(frozen=True)
class Expected:
    """A figure over that of the row "as it is", and why."""

    choice: str
    figure: str
    low: float
    high: float
    why: str


MOE = CHOICES[-1].name
EXPECTED = (
    Expected(
        "MHA", "num_gpus", 1.3, 4.0, "8 times the KV cache: 50,000 tokens a replica, so less batch and less cache"
    ),
    Expected("MHA", "development_usd", 0.95, 0.98, "no uptraining: 5 % of pretraining"),
    Expected("MHA", "lifetime_usd", 1.2, 3.5, "serving outweighs development"),
    Expected(
        "vocabulary of 32k", "num_gpus", 1.1, 1.6, "a few % more tokens in English, 59 % in the mean of the people"
    ),
    Expected("vocabulary of 32k", "usd_per_user_month", 1.1, 1.7, "they pay for the same text"),
    Expected("vocabulary of 32k", "usd_per_1m_output_tokens", 0.8, 1.1, "more tokens, of which more are written"),
    Expected("context of 8k", "num_gpus", 0.5, 0.95, "the longest prompts are refused, history is dropped"),
    Expected("context of 8k", "development_usd", 0.98, 0.99, "no context extension"),
    Expected("fp8", "num_gpus", 0.4, 0.65, "half the bytes, twice the peak"),
    Expected("fp8", "p50_itl_ms", 0.5, 1.1, "shorter steps of as large batches"),
    Expected("int4", "num_gpus", 0.7, 1.05, "a quarter of the bytes helps decode; prefill computes in bf16 as before"),
    Expected(MOE, "num_gpus", 0.3, 0.8, "20B a token instead of 70B; but 8 GPUs a replica, 470 GB of weights in it"),
    Expected(MOE, "p50_itl_ms", 0.5, 1.5, "a batch reads almost all experts"),
    Expected(MOE, "development_usd", 0.4, 0.5, "6 N D of the active parameters: 3.6M instead of 13M"),
    Expected(MOE, "lifetime_usd", 0.3, 0.8, "both are less"),
)


def rows(choices: Sequence[Choice] = CHOICES) -> Iterator[Row]:
    """Yield what becomes of each choice."""
    stages = stages_of(catalog.load_lifecycle(LIFECYCLE))
    return echo(stages, scenario_of(stages.spec), choices, **HOW)


def line(parts: Iterable[str]) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(parts)} |"


def figures(found: Iterable[Row]) -> str:
    """Return the table of figures."""
    rule = "|---" * NUM_WORDS + "|---:" * (len(HEAD) - NUM_WORDS - 1) + "|---|"
    return "\n".join([line(HEAD), rule, *(line(cells(row)) for row in found)])


def verdicts(found: Mapping[str, Row]) -> str:
    """Return the table of expectations and what was found."""
    base = found[CHOICES[0].name]
    lines = [
        line(("choice", "figure", "expected, times", "found", "", "why it was expected")),
        "|---|---|---|---:|---|---|",
    ]
    for one in EXPECTED:
        value = getattr(found[one.choice], one.figure)
        times = None if value is None else value / getattr(base, one.figure)
        verdict = "no fleet" if times is None else "as expected" if one.low <= times <= one.high else "**missed**"
        shown = "-" if times is None else f"{times:.2f}"
        lines.append(line((one.choice, SHOWN[one.figure], f"{one.low:g} to {one.high:g}", shown, verdict, one.why)))
    return "\n".join(lines)


def page(text: str, found: Sequence[Row]) -> str:
    """Return a page with both tables between their marks."""
    for name, made in (("figures", figures(found)), ("verdicts", verdicts({row.choice: row for row in found}))):
        before, begin, rest = text.partition(BEGIN.format(name))
        _, end, after = rest.partition(END.format(name))
        if not begin or not end:
            raise ValueError(f"{PAGE.name} has no {BEGIN.format(name)} ... {END.format(name)}")
        text = f"{before}{begin}\n{made}\n{end}{after}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), list(rows())), encoding="utf-8")
