"""The visits of a scenario's paths as the plane takes them: names become numbers, distributions tables, rates lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sim import catalog, cost
from sim.errors import Problem, SpecError, did_you_mean
from sim.fleet.assumptions import plain
from sim.fleet.companions import beside_the_answer
from sim.fleet.money import features
from sim.fleet.split import transfer_of
from sim.plane import world
from sim.spec import Scenario
from sim.spec.classifier import Classifier, Rates
from sim.spec.companions import before_check
from sim.spec.distribution import Distribution
from sim.spec.hardware import GpuSpec
from sim.spec.path_work import default_of
from sim.spec.visit import Visit
from sim.traffic.classes import collected, table

TOKENS = ("output_tokens", "adds_tokens", "refusal_tokens")


def make_paths(
    scenario: Scenario,
    languages: Sequence[str],
    profiles: Mapping[str, cost.Profile],
    gpus: Mapping[str, GpuSpec],
) -> tuple[dict[str, tuple[world.Visit, ...]], dict[str, world.Visit]]:
    """The paths of a World, and the checks behind them.

    Raises
    ------
    SpecError
        Classifiers and tables of percentiles that do not exist, and rates of languages that nobody speaks, all at once.
    """
    problems: list[Problem] = []
    numbers = {name: number for number, name in enumerate(profiles)}
    paths, checks = {}, {}
    for name, visits in scenario.fleet.paths.items():
        made, path = [], before_check(visits)
        for index, (visit, feature) in enumerate(zip(visits, features(visits), strict=True)):
            at = f"fleet.paths.{name}.{index}"
            is_fetch = visit.kind == "decode"
            with collected(problems, at):
                transfer = transfer_of(scenario, path, profiles, gpus) if is_fetch else None
                made.append(replace(make_visit(visit, at, numbers, languages, transfer), feature=feature))
                if visit.mode == "gate" or index == len(path):
                    check_verdict(visit, made[-1], at)
        paths[name] = tuple(made[: len(path)])
        if len(path) < len(visits) and made:
            checks[name] = made[-1]
    SpecError.raise_if(problems)
    return paths, checks


def make_visit(
    visit: Visit, at: str, numbers: Mapping[str, int], languages: Sequence[str], transfer: world.Transfer | None
) -> world.Visit:
    """One stop of a path; `at`: where it stands in the scenario."""
    classifier = catalog.load_classifier(visit.classifier) if visit.classifier else None
    found: dict[str, Any] = {name: tokens_of(getattr(visit, name)) for name in TOKENS}
    if classifier is not None and visit.output_tokens is None and classifier.verdict_tokens > 1:
        found["output_tokens"] = table(Distribution(distribution_type="constant", mean=classifier.verdict_tokens))
    rates = rates_of(visit, classifier, languages, at)
    return world.Visit(
        pool=-1 if visit.pool is None else numbers[visit.pool],
        kind=visit.kind,
        prompt=visit.prompt,
        template_tokens=visit.template_tokens or (classifier.template_tokens if classifier else 0),
        block_frac=visit.block_frac,
        transfer=transfer,
        frac=visit.frac,
        prompt_extra_tokens=visit.prompt_extra_tokens,
        keep_in_history=visit.keep_in_history,
        escalate_frac=visit.escalate_frac,
        delay_s=None if visit.duration is None else table(visit.duration),
        true_positive_rate=[each[0] for each in rates] if rates else None,
        false_positive_rate=[each[1] for each in rates] if rates else None,
        **beside_the_answer(visit),
        **found,
    )


def check_verdict(visit: Visit, made: world.Visit, at: str) -> None:
    """Raise SpecError where a classifier beside the answer takes more than a token for its verdict."""
    if made.output_tokens is not None:
        message = f"verdicts of {visit.classifier} take several tokens; beside the answer one: not simulated otherwise"
        raise SpecError(Problem(f"{message}; make the visit serial, or name another", path=f"{at}.classifier"))


def tokens_of(lengths: Distribution | None) -> Any:
    """The quantile table of a length, None where there is none."""
    return None if lengths is None else table(lengths, whole=True)


def rates_of(
    visit: Visit, classifier: Classifier | None, languages: Sequence[str], at: str
) -> list[tuple[float, float]]:
    """True and false positive rate by language, none where `block_frac` holds: of the visit, else of its classifier."""
    if unknown := [name for name in visit.rates_by_language if name not in languages]:
        messages = (f"no user has this language: {name}. {did_you_mean(name, languages)}" for name in unknown)
        raise SpecError(*(Problem(message, path=f"{at}.rates_by_language") for message in messages))
    if classifier is None and visit.true_positive_rate is None:
        return []
    known: dict[str, Rates] = {**(classifier.by_language if classifier else {}), **visit.rates_by_language}
    found = []
    for language in languages:
        rates = known.get(language, classifier)
        # what the visit says for all gives way to what it says of the language, and goes before the classifier's
        is_own = language in visit.rates_by_language
        recall = None if is_own else visit.true_positive_rate
        alarms = None if is_own else visit.false_positive_rate
        if rates is not None:
            recall = rates.recall if recall is None else recall
            alarms = rates.false_positive_rate if alarms is None else alarms
        found.append((float(recall or 0.0), float(alarms or 0.0)))
    return found


def visit_inputs(scenario: Scenario) -> Iterator[dict[str, Any]]:
    """What a scenario says of the visits of its paths, and the classifiers that they name, each with its source."""
    for name, visits in scenario.fleet.paths.items():
        for index, visit in enumerate(visits):
            for field, info in type(visit).model_fields.items():
                value = getattr(visit, field)
                if field not in ("pool", "kind", "feature") and value != default_of(type(visit), field):
                    at = f"fleet.paths.{name}.{index}.{field}"
                    yield {"name": at, "value": plain(value), "source": source_of(visit, field) or info.description}


def source_of(visit: Visit, field: str) -> str | None:
    """Where what a visit names comes from."""
    if field != "classifier" or visit.classifier is None:
        return None
    found = catalog.load_classifier(visit.classifier)
    return f"{found.source}. Assumed: {found.assumed}"
