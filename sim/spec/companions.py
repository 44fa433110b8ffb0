"""Classifiers beside the answer: which visit of a path is a check, and what may stand where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.spec.fleet import Visit

ANSWERS = ("answer", "exchange")
"""What a check reads."""
OF_CLASSIFIERS = (
    ("mode", "serial"), ("prompt", "full"), ("template_tokens", 0), ("block_frac", 0.0),
    ("chunk_tokens", 200), ("carry_over_tokens", 50), ("release", "stream_first"),
)  # fmt: skip
"""Fields of classify visits, and their defaults."""
OF_STREAMS = OF_CLASSIFIERS[4:]
"""Those of them that only `mode: stream` has."""


def check_of(visits: Sequence[Visit]) -> Visit | None:
    """Return the classifier that reads what a path answers: its last visit, behind the one that answers."""
    last = visits[-1]
    return last if len(visits) > 1 and last.kind == "classify" and visits[-2].kind != "classify" else None


def before_check(visits: Sequence[Visit]) -> Sequence[Visit]:
    """Return the visits of a path without its check: the last of them answers."""
    return visits if check_of(visits) is None else visits[:-1]


def field_problems(visit: Visit) -> Iterator[tuple[str, str]]:
    """Yield fields that a visit of this kind or mode has no use for."""
    if visit.kind != "classify":
        for name, default in OF_CLASSIFIERS:
            if getattr(visit, name) != default:
                yield name, "belongs to a visit of kind classify; remove it or set kind: classify"
        return
    if visit.mode != "stream":
        for name, default in OF_STREAMS:
            if getattr(visit, name) != default:
                yield name, "belongs to a classifier that reads along; remove it or set mode: stream"


def order_problems(paths: Mapping[str, Sequence[Visit]]) -> Iterator[tuple[str, str]]:
    """Yield classifiers that read what is not there yet, or are more than a request's companion can do."""
    for name, visits in paths.items():
        check = check_of(visits)
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
            if visit.prompt in ANSWERS:
                yield f"{at}.prompt", f"must be user or full before the visit that answers, got {visit.prompt}"
        gates = [index for index, visit in enumerate(visits) if visit.mode == "gate"]
        if len(gates) > 1:
            yield f"paths.{name}.{gates[1]}.mode", "a path has one gate at most; make the others serial"
