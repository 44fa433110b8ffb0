"""From the visits of a World's paths to the plane's rows, where a path is more than guards and an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.plane.curves import Curves
from sim.plane.tables import ANSWER, CANDIDATE, DRAFT, GUARD, PAUSE
from sim.plane.world import ANSWERS, MAX_VISITS, Visit, World
from sim.traffic import draws

if TYPE_CHECKING:
    from sim.plane.owner import Plane

Path = Sequence[Visit]
TABLES = ("output_tokens", "delay_s", "adds_tokens", "refusal_tokens")
STREAMS = {
    "made_key": draws.VISIT_MADE,
    "delay_key": draws.DELAY,
    "delay_tokens_key": draws.DELAY_TOKENS,
    "visit_output_key": draws.VISIT_OUTPUT,
    "escalate_key": draws.ESCALATE,
    "refusal_key": draws.REFUSAL_TOKENS,
    "unsafe_key": draws.UNSAFE,
}
"""Keys of the draws of such paths."""


def roles(path: Path) -> list[int]:
    """What each visit of a path is there for."""
    found = []
    answers = 2 if path[-1].kind == "decode" else 1
    for number, visit in enumerate(path):
        if visit.kind != "generate" or number >= len(path) - answers:
            found.append({"classify": GUARD, "delay": PAUSE}.get(visit.kind, ANSWER))
            continue
        until = next(n for n in range(number + 1, len(path)) if path[n].kind == "generate")
        decided = any(other.escalate_frac is not None for other in path[number:until])
        found.append(CANDIDATE if decided else DRAFT)
    return found


def joins(path: Path) -> bool:
    """Whether anything is said on a path but prompt and answer."""
    return {DRAFT, CANDIDATE} & {*roles(path)} != set() or any(
        visit.adds_tokens is not None or visit.prompt_extra_tokens > 0 for visit in path
    )


def is_long(world: World, name: str) -> bool:
    """Whether a path is more than guards and an answer, or is to know what is unsafe."""
    path = world.paths[name]
    return (
        joins(path)
        or any(is_special(visit) for visit in path)
        or any(kind.unsafe_frac > 0.0 for kind in world.classes if kind.path == name)
    )


def is_special(visit: Visit) -> bool:
    """Whether a visit is more than a plain guard or answer."""
    given = (visit.output_tokens, visit.refusal_tokens, visit.true_positive_rate, visit.escalate_frac)
    return (
        visit.kind == "delay"
        or visit.frac < 1.0
        or visit.prompt == "exchange"
        or any(value is not None for value in given)
    )


def has_work(world: World) -> bool:
    """Whether any path of a world is long."""
    return any(is_long(world, name) for name in world.paths)


def has_delays(world: World) -> bool:
    """Whether any path of a world has a delay."""
    return any(visit.kind == "delay" for path in world.paths.values() for visit in path)


def num_rates(world: World) -> int:
    """Languages that all classifiers have rates for; a large number if none has any."""
    visits = [visit for path in world.paths.values() for visit in path]
    rates = [each for visit in visits for each in (visit.true_positive_rate, visit.false_positive_rate)]
    return min((len(each) for each in rates if each is not None), default=1 << 31)


def event_stretches(world: World) -> int:
    """Stretches of text that the end of a step may begin: one for each answer that is thrown away."""
    decides = any(visit.escalate_frac is not None for path in world.paths.values() for visit in path)
    return max(max(pool.max_num_seqs, pool.max_num_active_seqs) for pool in world.pools) * decides


# ------------------------------------------------------------------ checks


def check_path(name: str, path: Path) -> None:
    """Raise ValueError where a path does not answer, or a visit has what is not of its kind."""
    kinds = tuple(visit.kind for visit in path)
    answers = ANSWERS[1] if kinds[-1] == "decode" else ANSWERS[0]
    before = kinds[: -len(answers)]
    if kinds[-len(answers) :] != answers or {"prefill", "decode"} & {*before}:
        raise ValueError(f"path {name!r} must end with a generate visit, or with prefill and decode")
    if len(path) > MAX_VISITS:
        raise ValueError(f"path {name!r} has {len(path)} visits; at most {MAX_VISITS}")
    if any(visit.frac < 1.0 for visit in path[-len(answers) :]):
        raise ValueError(f"path {name!r}: every request makes the visit that answers")
    is_split = answers == ANSWERS[1]
    told = any(visit.refusal_tokens is not None for visit in path)
    if is_split and (told or "generate" in before or any(visit.prompt_extra_tokens for visit in path)):
        raise ValueError(f"path {name!r}: an answer that is split has no drafts, candidates, instructions or refusals")
    for visit, role in zip(path, roles(path), strict=True):
        check_visit(name, visit, role)
    may_decide = False
    for visit, role in zip(path, roles(path), strict=True):
        may_decide = role == CANDIDATE or (may_decide and role in (GUARD, PAUSE))
        if visit.escalate_frac is not None:
            if not may_decide or (role == GUARD and visit.frac < 1.0):
                raise ValueError(f"path {name!r}: a visit decides on no answer, or not always")
            may_decide = False


def check_visit(name: str, visit: Visit, role: int) -> None:
    """Raise ValueError where a visit has what is not of its kind, or shares that are none."""
    not_its = {
        "a duration": (visit.delay_s is not None) != (role == PAUSE),
        "a pool": (visit.pool < 0) != (role == PAUSE),
        "added tokens": visit.adds_tokens is not None and role != PAUSE,
        "output tokens": visit.output_tokens is not None and role not in (GUARD, DRAFT),
        "instructions": visit.prompt_extra_tokens != 0 and role in (GUARD, PAUSE),
        "a refusal": visit.refusal_tokens is not None and role != GUARD,
        "rates": visit.true_positive_rate is not None and role != GUARD,
        "one rate": (visit.true_positive_rate is None) != (visit.false_positive_rate is None),
        "a decision": visit.escalate_frac is not None and role not in (GUARD, CANDIDATE),
        "history": visit.keep_in_history and role == GUARD,
    }
    for what, is_wrong in not_its.items():
        if is_wrong:
            raise ValueError(f"path {name!r}: {what} at a visit of kind {visit.kind}")
    fractions = (visit.frac, visit.escalate_frac or 0.0, *(visit.true_positive_rate or ()))
    if not all(0.0 <= frac <= 1.0 for frac in (*fractions, *(visit.false_positive_rate or ()))):
        raise ValueError(f"path {name!r}: a share of requests is out of range")


# ------------------------------------------------------------------ building


def build_work(plane: Plane, world: World, begin: dict[str, int], num_requests: int, curves: Curves) -> None:
    """Fill what the rows of visits and classes say of long paths, and make the rows of their requests' work."""
    for name, path in world.paths.items():
        rows = plane["visits"][begin[name] : begin[name] + len(path)]
        rows["special"], rows["joins"] = is_long(world, name), joins(path)
        for row, visit, role in zip(rows, path, roles(path), strict=True):
            fill_visit(row, visit, role, curves)
    for row, kind in zip(plane["classes"], world.classes, strict=False):
        is_special = is_long(world, kind.path) or (world.falls_back and has_work(world))
        row["special"], row["unsafe_frac"] = is_special, kind.unsafe_frac
    plane.own("works", num_requests * has_work(world))
    plane.record["has_work"], plane.record["event_stretches"] = has_work(world), event_stretches(world)
    for name, stream in STREAMS.items():
        plane.record[name] = draws.key(world.seed, stream)


def fill_visit(row: np.void, visit: Visit, role: int, curves: Curves) -> None:
    """Write what a visit of a long path does; a draft is no answer, and a candidate none until that is decided."""
    row["role"], row["frac"] = role, visit.frac
    row["extra_tokens"], row["keeps"] = visit.prompt_extra_tokens, visit.keep_in_history
    row["reads_exchange"] = visit.prompt == "exchange"
    row["decides"], row["escalate_frac"] = visit.escalate_frac is not None, visit.escalate_frac or 0.0
    for name in TABLES:
        table: NDArray[np.float64] | None = getattr(visit, name)
        row[name] = -1 if table is None else curves.add(table)
    for name in ("true_positive", "false_positive"):
        rates = getattr(visit, f"{name}_rate")
        row[name] = -1 if rates is None else curves.add(np.asarray(rates, dtype=np.float64))
    if role == DRAFT:
        row["generate"] = row["first"] = 0
    if role == DRAFT or (role == CANDIDATE and visit.escalate_frac != 0.0):
        row["streams"] = 0
