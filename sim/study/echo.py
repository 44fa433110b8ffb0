"""What a choice of the model's lifecycle changes downstream: one row a choice, on the fleet that it needs.

Each choice changes one thing of a scenario. The pools that answer are sized anew for the worst hour, and played; the
fleet is billed for all hours as for the worst one. What a choice does to quality is not computed: `proxy` says what is
known of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sim.errors import CapacityError
from sim.spec import Scenario
from sim.spec.companions import before_check
from sim.study.sizing import Sized, people_of, size

MONTH_S = 365.25 / 12.0 * 86_400.0


@dataclass(frozen=True)
class Choice:
    """Something decided before deployment."""

    name: str
    instead_of: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Dotted paths of a scenario; `*` stands for each answering pool, or each tier."""
    proxy: str = "the same"
    """What is known of its quality."""


EIGHT_K = 8192
CHOICES: tuple[Choice, ...] = (
    Choice("dense, 70B, as it is", ""),
    Choice("MHA", "GQA", {"model": "meridian-1-70b-mha"}, "at most that of MHA is what GQA keeps (arXiv:2305.13245)"),
    Choice(
        "vocabulary of 32k", "128k", {"model": "meridian-1-70b-32k"}, "the same text is more tokens: docs/languages.md"
    ),
    Choice(
        "context of 8k", "16k to 128k", {"tiers.*.max_context_tokens": EIGHT_K}, "older turns are dropped, long prompts refused"
    ),
    Choice("fp8", "bf16", {"fleet.pools.*.weights": "fp8"}, "lossless within noise (arXiv:2411.02355)"),
    Choice("int4", "bf16", {"fleet.pools.*.weights": "int4"}, "perplexity 3.41 for 3.32 (AWQ, Llama-2-70B, arXiv:2306.00978)"),
    Choice(
        "MoE, 235B of which 20B are used",
        "dense",
        {"model": "meridian-1-moe", "fleet.pools.*.tensor_parallel_size": 8},
        "as a dense model of sqrt(20 x 235) = 69B (rule of thumb, assumed)",
    ),
)  # fmt: skip
"""The choices that the lifecycle's table compares."""


@dataclass(frozen=True)
class Row:
    """What became of a choice; figures are None where no fleet carries it."""

    choice: Choice
    num_gpus: float | None = None
    """At full size, guards included."""
    p50_ttft_ms: float | None = None
    """Of all tiers that people have."""
    p95_ttft_ms: float | None = None
    p50_itl_ms: float | None = None
    usd_per_1m_output_tokens: float | None = None
    usd_per_user_month: float | None = None
    """Of the people; what programs cost is left out."""
    usd_per_month: float | None = None
    """Of the whole fleet."""
    refused_frac: float | None = None
    """Requests longer than the context."""
    why_not: str = ""


def answering(scenario: Scenario) -> dict[str, tuple[str, ...]]:
    """The pools that answer, and the tiers that each answers."""
    found: dict[str, tuple[str, ...]] = {}
    for tier, terms in scenario.tiers.items():
        pool = str(before_check(scenario.fleet.paths[terms.path])[-1].pool)
        found[pool] = (*found.get(pool, ()), tier)
    return found


def changed(scenario: Scenario, choice: Choice) -> Scenario:
    """The scenario with a choice made."""
    given: dict[str, Any] = {}
    for path, value in choice.changes.items():
        names = answering(scenario) if ".pools.*" in path else scenario.tiers if "tiers.*" in path else ("",)
        given |= {path.replace("*", name): value for name in names}
    return scenario.replace_all(given)


def echo(
    scenario: Scenario, choices: Sequence[Choice] = CHOICES, *, scale: float, peak_factor: float, target: float
) -> Iterator[Row]:
    """Yield a row for each choice.

    Parameters
    ----------
    scenario
        At full size, of a population.
    choices
        What to change, one at a time.
    scale, peak_factor, target
        See `sim.study.sizing.size`.
    """
    for choice in choices:
        variant = changed(scenario, choice)
        try:
            sized = size(variant, answering(variant), scale=scale, peak_factor=peak_factor, target=target)
        except CapacityError as error:
            yield Row(choice, why_not=str(error))
        else:
            yield row_of(choice, variant, sized)


def row_of(choice: Choice, scenario: Scenario, sized: Sized) -> Row:
    """The row of a fleet that was sized and played."""
    full, at_peak, hourly_usd = people_of(scenario), people_of(sized.scenario), sized.usd_per_hour
    result = sized.run.result
    tiers = result["sim"]["by_tier"]
    people = {name: tier for name, tier in tiers.items() if scenario.tiers[name].user_frac > 0.0}
    # Output tokens of an hour of the day's mean rate, at full size.
    hours = result["duration"] / 3600.0
    tokens_per_hour = result["total_output_tokens"] / hours * full.monthly_users / at_peak.monthly_users
    theirs_usd = sum(tier["cost_usd"] for tier in people.values()) / result["sim"]["cost"]["total_usd"] * hourly_usd
    endings = result["sim"]["endings"]
    weights = [tier["num_completed"] for tier in people.values()]

    def mean(key: str) -> float:
        return float(sum(tier[key] * n for tier, n in zip(people.values(), weights, strict=True)) / sum(weights))

    return Row(
        choice,
        num_gpus=sized.num_gpus,
        p50_ttft_ms=mean("p50_ttft_ms"),
        p95_ttft_ms=mean("p95_ttft_ms"),
        p50_itl_ms=mean("p50_itl_ms"),
        usd_per_1m_output_tokens=1e6 * hourly_usd / tokens_per_hour,
        usd_per_user_month=theirs_usd * MONTH_S / 3600.0 / full.monthly_users,
        usd_per_month=hourly_usd * MONTH_S / 3600.0,
        refused_frac=endings["num_refused"] / endings["num_requests"],
    )
