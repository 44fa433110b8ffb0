"""The tables of classifiers beside the answer: companions, who reads along, and the visits that they make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.plane.building_work import fill_visit
from sim.plane.cache_tables import Owner
from sim.plane.curves import Curves
from sim.plane.tables import GUARD
from sim.plane.text import ANSWER, EXCHANGE
from sim.plane.world import MAX_VISITS, Visit, World

if TYPE_CHECKING:
    from sim.plane.owner import Plane

WHOLE_TOKENS = 1 << 30
"""Longer than any answer: a check that reads it in one piece."""
READS = {"answer": ANSWER, "exchange": EXCHANGE}


def check_companions(world: World) -> None:
    """Raise ValueError where a classifier beside an answer is none, or is more than a companion can do."""
    for name, path in world.paths.items():
        modes = [visit.mode for visit in path]
        if set(modes) - {"serial", "gate"} or modes.count("gate") > 1:
            raise ValueError(f"path {name!r}: visits are serial, and one at most is a gate")
        if any(visit.mode == "gate" and visit.kind != "classify" for visit in path):
            raise ValueError(f"path {name!r}: a gate is a classify visit")
        if any(visit.prompt == "answer" for visit in path):
            raise ValueError(f"path {name!r}: only a check reads the answer")
        if "gate" in modes or name in world.checks:
            check_beside(name, [*path, *([world.checks[name]] if name in world.checks else [])])
        if name in world.checks and len(path) == MAX_VISITS:
            raise ValueError(f"path {name!r} has {len(path) + 1} visits; at most {MAX_VISITS}")
    for name, check in world.checks.items():
        if name not in world.paths or check.kind != "classify" or check.mode not in ("serial", "stream"):
            raise ValueError(f"the check of {name!r} must be a classify visit, serial or stream, of a path")
        if check.prompt not in READS or check.chunk_tokens < 1 or check.carry_over_tokens < 0:
            raise ValueError(f"the check of {name!r} must read answer or exchange, in pieces of a token or more")
    if world.has_companions and not world.has_extras:
        raise ValueError("a World with gates or checks has extras")


def check_beside(name: str, visits: Sequence[Visit]) -> None:
    """Raise ValueError where a path with a gate or a check has what goes with neither."""
    gates = [number for number, visit in enumerate(visits) if visit.mode == "gate"]
    if any(visit.kind == "delay" for number in gates for visit in visits[:number]):
        raise ValueError(f"path {name!r}: no delay comes before a gate")
    if (
        any(visit.escalate_frac is not None for visit in visits)
        or sum(visit.kind == "generate" for visit in visits) > 1
    ):
        raise ValueError(f"path {name!r}: drafts and candidates go with neither gates nor checks")
    if any(visit.refusal_tokens is not None for visit in visits):
        raise ValueError(f"path {name!r}: beside gates and checks, nobody is told in tokens that he is blocked")
    for visit in visits:
        beside = visit.mode == "gate" or (visit.kind == "classify" and visit is visits[-1])
        if beside and (visit.frac < 1.0 or visit.output_tokens is not None):
            raise ValueError(f"path {name!r}: beside the answer, verdicts are all made, of one token")


def is_streamed(check: Visit) -> bool:
    """Whether a check reads along."""
    return check.mode == "stream"


def build_companions(
    plane: Plane, world: World, first_visit: dict[str, int], visit_groups: list[int], num_requests: int, curves: Curves
) -> None:
    """Fill the visit rows of gates and checks, tell the classes, and make the tables of who reads along."""
    visits, pools = plane["visits"], plane["pools"]
    visits["gate"] = visits["check"] = -1
    rows = dict(zip(world.checks, range(len(visits) - len(world.checks), len(visits)), strict=True))
    for name, path in world.paths.items():
        of_path = visits[first_visit[name] : first_visit[name] + len(path)]
        for ordinal, visit in enumerate(path):
            if visit.mode == "gate":
                of_path["gates"][ordinal] = 1
                of_path["special"][ordinal] = 0  # the visit of its companion is a plain one
                of_path["gate"] = first_visit[name] + ordinal
        if name not in rows:
            continue
        check, number = world.checks[name], rows[name]
        row = visits[number : number + 1]
        of_path["check"] = number
        row["pool"], row["template_tokens"], row["group"] = check.pool, check.template_tokens, visit_groups[number]
        row["ordinal"], row["block_frac"], row["reads"] = len(path), check.block_frac, READS[check.prompt]
        row["home"] = check.pool if world.falls_back else [visit.pool for visit in (*path, check)].index(check.pool)
        row["account"] = world.accounts.index((check.pool, check.feature))
        fill_visit(row[0], check, GUARD, curves)
        row["chunk_tokens"] = check.chunk_tokens if is_streamed(check) else WHOLE_TOKENS
        row["carry_tokens"] = check.carry_over_tokens if is_streamed(check) else 0
        row["holds_back"] = check.holds_back or not is_streamed(check)
        if is_streamed(check):
            pools["streams"][path[-1].pool] = 1
            if path[-1].transfer is not None:  # its first token may be the prefill's
                pools["streams"][path[-2].pool] = 1
    has_marks = any(map(is_streamed, world.checks.values()))
    plane.own("companions", num_requests * world.has_companions)["other"] = -1
    plane.own("readers", len(plane["active"]) * has_marks)
    plane.own("marks", len(plane["ends"]) * has_marks)
    plane.own("reached", len(plane["ends"]) * has_marks)
    plane.record["has_companions"], plane.record["has_marks"] = world.has_companions, has_marks


def grow_companions(plane: Owner, num_requests: int) -> None:
    """Double the companions' rows."""
    if not plane.record["has_companions"][0]:
        return
    old = plane["companions"]
    rows = plane.own("companions", 2 * num_requests)
    rows[:num_requests] = old
    rows["other"][num_requests:] = -1
