"""Classifiers beside the answer: which visit of a path is a check, and what may stand where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.spec.fleet import Pool
    from sim.spec.visit import Visit

ANSWERS = ("answer", "exchange")
"""What a check reads."""
OF_STREAMS = (("chunk_tokens", 200), ("carry_over_tokens", 50), ("release", "stream_first"))
"""Fields that only classifiers of `mode: stream` have, and their defaults."""
NOT_BESIDE = {"frac": 1.0, "output_tokens": None, "escalate_frac": None}
"""What a gate and a check have not, and its default: all requests make their visits, whose verdict is one token."""


def check_of(visits: Sequence[Visit]) -> Visit | None:
    """Return the classifier that reads what a path answers: its last visit, behind the one that answers."""
    last = visits[-1]
    return last if len(visits) > 1 and last.kind == "classify" and visits[-2].kind != "classify" else None


def before_check(visits: Sequence[Visit]) -> Sequence[Visit]:
    """Return the visits of a path without its check: the last of them answers."""
    return visits if check_of(visits) is None else visits[:-1]


def field_problems(visit: Visit) -> Iterator[tuple[str, str]]:
    """Yield fields that a classifier of this mode has no use for."""
    if visit.kind == "classify" and visit.mode != "stream":
        for name, default in OF_STREAMS:
            if getattr(visit, name) != default:
                yield name, "belongs to a classifier that reads along; remove it or set mode: stream"


def order_problems(paths: Mapping[str, Sequence[Visit]]) -> Iterator[tuple[str, str]]:
    """Yield classifiers that read what is not there yet, or are more than a request's companion can do."""
    for name, visits in paths.items():
        check = check_of(visits)
        yield from _beside_problems(f"paths.{name}", visits, check)
        for index, visit in enumerate(visits):
            at = f"paths.{name}.{index}"
            if visit.kind != "classify":
                continue
            if visit is check:
                if visit.mode == "gate":
                    yield (
                        f"{at}.mode",
                        "must be stream or serial behind the visit that answers",
                    )
                if visit.prompt not in ANSWERS:
                    yield (
                        f"{at}.prompt",
                        f"must be answer or exchange behind the answer, got {visit.prompt}",
                    )
                continue
            if visit.mode == "stream":
                yield f"{at}.mode", "must be serial or gate before the visit that answers; stream reads along behind it"
            if visit.prompt == "answer":
                yield f"{at}.prompt", "must be user, full or exchange before the visit that answers, got answer"
        gates = [index for index, visit in enumerate(visits) if visit.mode == "gate"]
        if len(gates) > 1:
            yield f"paths.{name}.{gates[1]}.mode", "a path has one gate at most; make the others serial"


def whereabouts_problems(paths: Mapping[str, Sequence[Visit]], pools: Mapping[str, Pool]) -> Iterator[tuple[str, str]]:
    """Yield classifiers beside the answer whose pool is not in every region in which their requests may be."""
    for name, visits in paths.items():
        check = check_of(visits)
        for index, visit in enumerate(visits):
            if visit is not check and visit.mode != "gate":
                continue
            served = before_check(visits)[-1:] if visit is check else visits[index + 1 :]
            own = pools[visit.pool].regions if visit.pool is not None and visit.pool in pools else {}
            for region, other in _regions_of(served, pools).items():
                if own and not own.get(region):
                    why = f"{visit.pool} has no replicas in region {region}, where pool {other} has"
                    help_ = f"add some to fleet.pools.{visit.pool}.regions"
                    help_ += "" if visit is check else ", or set mode: serial, which goes where replicas are"
                    yield (
                        f"paths.{name}.{index}.pool",
                        f"{why}; a classifier beside the answer runs where its request is: {help_}",
                    )


def _regions_of(visits: Sequence[Visit], pools: Mapping[str, Pool]) -> dict[str, str]:
    """Return the regions in which visits may be made, and a pool that has replicas there."""
    names = [visit.pool for visit in visits if visit.pool is not None and visit.pool in pools]
    return {region: name for name in names for region, count in pools[name].regions.items() if count}


def _beside_problems(at: str, visits: Sequence[Visit], check: Visit | None) -> Iterator[tuple[str, str]]:
    """Yield what does not go together with classifiers beside the answer."""
    beside = [index for index, visit in enumerate(visits) if visit.mode == "gate" or visit is check]
    if not beside:
        return
    for index in beside:
        for name, default in NOT_BESIDE.items():
            if getattr(visits[index], name) != default:
                yield f"{at}.{index}.{name}", "not simulated of a classifier beside the answer; remove it or its mode"
        if visits[index].mode == "gate" and any(visit.kind == "delay" for visit in visits[:index]):
            yield f"{at}.{index}.mode", "no delay comes before a gate: make it serial, or move it"
    for index, visit in enumerate(visits):
        if visit.refusal_tokens is not None:
            yield f"{at}.{index}.refusal_tokens", "not simulated beside a gate or a check; remove it"
    generate = [index for index, visit in enumerate(visits) if visit.kind == "generate"]
    for index in generate[:-1]:
        yield f"{at}.{index}", "no draft, and no answer that may do, beside a gate or a check: not simulated together"
