"""What a choice of the model's lifecycle changes downstream: one row a choice, on the fleet that it needs.

Each choice changes one thing of a lifecycle, and of the scenario that serves it. The model that follows is trained on
as many tokens as before; the pools that answer are sized anew for the worst hour, and played; the fleet is billed for
all hours as for the worst one. What a choice does to quality is not computed: `proxy` says what is known of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from sim import catalog, traffic
from sim.errors import CapacityError, Problem, SpecError
from sim.lifecycle.stages import Stages, stages_of
from sim.spec import Scenario
from sim.spec.lifecycle import Lifecycle
from sim.study.ownership import lifetime_usd, model_file
from sim.study.sizing import Sized, answering, people_of, size


@dataclass(frozen=True)
class Choice:
    """Something decided before deployment."""

    name: str
    instead_of: str
    lifecycle: Mapping[str, Any] = field(default_factory=dict)
    """Dotted paths of a lifecycle, and their values."""
    scenario: Mapping[str, Any] = field(default_factory=dict)
    """Dotted paths of a scenario; `*` stands for each answering pool, or each tier."""
    proxy: str = "the same"
    """What is known of its quality."""


EIGHT_K: Final = 8192
CHOICES: Final = (
    Choice("as it is", ""),
    Choice(
        "MHA",
        "GQA",
        {"architecture.attention": "mha", "architecture.num_key_value_heads": None, "uptraining": None},
        proxy="GQA comes close to it (arXiv:2305.13245)",
    ),
    Choice(
        "vocabulary of 32k",
        "128k",
        {"architecture.vocab_size": 32_000},
        proxy="not known; the same text is more tokens",
    ),
    Choice(
        "context of 8k",
        "16k to 128k",
        {"architecture.max_position_embeddings": EIGHT_K, "context_extension": []},
        {"tiers.*.max_context_tokens": EIGHT_K},
        "older turns are dropped, long prompts refused",
    ),
    Choice("fp8", "bf16", scenario={"fleet.pools.*.weights": "fp8"}, proxy="lossless within noise (arXiv:2411.02355)"),
    Choice(
        "int4",
        "bf16",
        scenario={"fleet.pools.*.weights": "int4"},
        proxy="perplexity 3.41 for 3.32 (Llama 2 70B, arXiv:2306.00978)",
    ),
    Choice(
        "MoE, 235B of which 20B are used",
        "dense",
        {"architecture": {"model": "meridian-1-moe"}},
        {"fleet.pools.*.tensor_parallel_size": 8},
        "as a dense model of sqrt(20 x 235) = 69B (rule of thumb, assumed)",
    ),
)
"""The choices that the lifecycle's table compares. Quantization after training costs too little to be counted."""


@dataclass(frozen=True)
class Row:
    """What became of a choice; figures of its fleet are None where none carries it."""

    choice: str
    instead_of: str
    proxy: str
    development_usd: float
    num_gpus: float | None = None
    """At full size, guards included."""
    p50_ttft_ms: float | None = None
    """Mean of the tiers that people have, by completed requests."""
    p95_ttft_ms: float | None = None
    p50_itl_ms: float | None = None
    usd_per_1m_output_tokens: float | None = None
    usd_per_user_month: float | None = None
    """Of the people; what programs cost is left out."""
    usd_per_month: float | None = None
    """Of the whole fleet."""
    lifetime_usd: float | None = None
    """Development, and serving over the life."""
    refused_frac: float | None = None
    """Requests longer than the context."""
    why_not: str = ""


def scenario_of(spec: Lifecycle) -> Scenario:
    """The scenario that serves a lifecycle's model; raises SpecError where it names none."""
    if spec.serving.scenario is None:
        raise SpecError(Problem("missing: name the scenario that serves the model", path="serving.scenario"))
    return catalog.load(spec.serving.scenario, spec.serving.overrides)


def chosen(stages: Stages, choice: Choice) -> Stages:
    """A lifecycle with a choice made, trained on as many tokens."""
    tokens = stages["pretraining"]["training tokens"].value
    held = {"data.tokens": tokens, "pretraining.gpu_hours": None}
    return stages_of(stages.spec.replace_all({**held, **choice.lifecycle}))


def changed(scenario: Scenario, choice: Choice, model: str) -> Scenario:
    """A scenario with a choice made, which serves another model to as many requests.

    Programs send as many tokens as people, and people's tokens depend on tokenizer and context; programs' are held.
    """
    given: dict[str, Any] = {"model": model}
    for path, value in choice.scenario.items():
        names = answering(scenario) if ".pools.*" in path else scenario.tiers if "tiers.*" in path else ("",)
        given |= {path.replace("*", name): value for name in names}
    variant, api = scenario.replace_all(given), people_of(scenario).api
    if api is None:
        return variant
    held = api.tokens_per_chat_token * _api_requests(scenario) / _api_requests(variant)
    return variant.replace("traffic.api.tokens_per_chat_token", held)


def _api_requests(scenario: Scenario) -> float:
    """Expected requests of programs."""
    classes = traffic.build(scenario).describe()["by_class"]
    return float(sum(told["requests"] for name, told in classes.items() if name.split("/")[1:2] == ["api"]))


def echo(
    stages: Stages,
    scenario: Scenario,
    choices: Sequence[Choice] = CHOICES,
    *,
    scale: float,
    peak_factor: float,
    target: float,
) -> Iterator[Row]:
    """Yield a row for each choice.

    Parameters
    ----------
    stages
        The lifecycle.
    scenario
        That serves its model (`scenario_of`): of a population, at full size.
    choices
        What to change, one at a time.
    scale, peak_factor, target
        See `sim.study.sizing.size`.
    """
    for choice in choices:
        made = chosen(stages, choice)
        row = Row(choice.name, choice.instead_of, choice.proxy, made.development_usd.value)
        with tempfile.TemporaryDirectory() as folder:
            variant = changed(scenario, choice, model_file(made.spec, Path(folder)))
            try:
                sized = size(variant, answering(variant), scale=scale, peak_factor=peak_factor, target=target)
            except CapacityError as error:
                yield replace(row, why_not=str(error))
                continue
        yield replace(row, **figures_of(sized), lifetime_usd=lifetime_usd(made, sized.usd_per_month).value)


def figures_of(sized: Sized) -> dict[str, Any]:
    """What a row says of a fleet that was sized and played."""
    result = sized.run.result
    all_tiers, endings = result["sim"]["by_tier"], result["sim"]["endings"]
    tiers = [all_tiers[name] for name, terms in sized.full.tiers.items() if terms.user_frac > 0.0]
    num_completed = sum(tier["num_completed"] for tier in tiers)
    part = sum(tier["cost_usd"] for tier in tiers) / result["sim"]["cost"]["total_usd"]
    latencies = ("p50_ttft_ms", "p95_ttft_ms", "p50_itl_ms")
    return {
        "num_gpus": sized.num_gpus,
        **{key: sum(tier[key] * tier["num_completed"] for tier in tiers) / num_completed for key in latencies},
        "usd_per_1m_output_tokens": 1e6 * sized.usd_per_month / sized.per_month(result["total_output_tokens"]),
        "usd_per_user_month": part * sized.usd_per_month / people_of(sized.full).monthly_users,
        "usd_per_month": sized.usd_per_month,
        "refused_frac": endings["num_refused"] / endings["num_requests"],
    }
