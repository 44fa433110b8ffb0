"""Numbers and findings as people read them; a missing number is a dash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.metrics.records import ENDINGS
from sim.units import show

NONE = "-"
_THOUSANDS_FROM = 10_000
_REASONS = {"refused": "prompt and answer longer than a pool on the path can hold, or than the tier allows"}


def number(value: float | None, digits: int = 3) -> str:
    """Return a plain number: thousands grouped, else `digits` significant digits.

    >>> number(1234567), number(0.012345), number(12), number(None)
    ('1,234,567', '0.0123', '12', '-')
    """
    if value is None:
        return NONE
    if isinstance(value, int) or abs(value) >= _THOUSANDS_FROM:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}" if abs(value) < 1000.0 else f"{value:.0f}"


def time(value_s: float | None) -> str:
    """Return a time in the unit of its size.

    >>> time(0.01234), time(2.5), time(86400.0), time(None)
    ('12.3 ms', '2.5 s', '24 h', '-')
    """
    if value_s is None:
        return NONE
    if 86400.0 <= value_s < 3 * 86400.0:
        return f"{value_s / 3600.0:.3g} h"
    return show(value_s, "s", 3)


def millis(value_ms: float | None) -> str:
    """Return a latency given in ms (as result keys are) in the unit of its size."""
    return NONE if value_ms is None else time(value_ms / 1000.0)


def percent(value_frac: float | None) -> str:
    """Return a fraction in percent, with more digits close to 0 and to 100 %.

    >>> percent(0.5), percent(0.99987), percent(0.00012), percent(1.0)
    ('50.0 %', '99.987 %', '0.012 %', '100 %')
    """
    if value_frac is None:
        return NONE
    if value_frac in (0.0, 1.0):
        return f"{100 * value_frac:.0f} %"
    near_end = min(abs(value_frac), abs(1.0 - value_frac)) < 0.01
    return f"{100 * value_frac:.{3 if near_end else 1}f} %"


def usd(value_usd: float | None) -> str:
    """Return an amount of money.

    >>> usd(1234567.8), usd(12.345), usd(0.00012345), usd(None)
    ('1,234,568 USD', '12.35 USD', '0.000123 USD', '-')
    """
    if value_usd is None:
        return NONE
    if abs(value_usd) >= 1000.0:
        return f"{value_usd:,.0f} USD"
    return f"{value_usd:.2f} USD" if abs(value_usd) >= 1.0 else f"{value_usd:.3g} USD"


def words(name: str) -> str:
    """Return a code's name as words: ``rate_limited`` is "rate limited"."""
    return name.replace("_", " ")


def not_answered(result: Mapping[str, Any]) -> str | None:
    """Return how the measured requests ended that got no full answer, each ending's count and share of all requests.

    None if every request was completed or was in flight at the end.
    """
    counts = result["sim"]["endings"]
    num_requests = counts["num_requests"]
    lost = {name: num for name in ENDINGS if (num := counts[f"num_{name}"]) and name not in {"completed", "in_flight"}}
    if not lost:
        return None
    parts = []
    for name, num in lost.items():
        reason = f"; {_REASONS[name]}" if name in _REASONS else ""
        parts.append(f"{number(num)} {words(name)} ({percent(num / num_requests)}{reason})")
    return f"Not answered: {number(sum(lost.values()))} of {number(num_requests)} requests: {', '.join(parts)}."


def retried(result: Mapping[str, Any]) -> str | None:
    """Return what senders did about requests that failed or were slow; None if nothing."""
    tiers = result["sim"]["by_tier"].values()
    retries, left, messages = (
        sum(tier[name] for tier in tiers) for name in ("num_retries", "num_left", "num_user_messages")
    )
    if not retries and not left:
        return None
    done = f"tried {number(retries)} times again, and left {number(left)} conversations"
    return f"Senders of {number(messages)} messages {done}."


def cached(result: Mapping[str, Any]) -> str | None:
    """Return the share of prompt tokens that was cached, beside that of a cache that forgets nothing.

    None where the traffic does not say which text its prompts have in common.
    """
    cache = result["sim"]["cache"]
    if cache["ideal_hit_frac"] is None:
        return None
    found, ideal = percent(cache["hit_frac"]), percent(cache["ideal_hit_frac"])
    return f"Prefix cache: {found} of prompt tokens; {ideal} if one cache held everything."


def safety(result: Mapping[str, Any]) -> str | None:
    """Return what safety takes, and how wrong it is as far as that is known; None where there is none."""
    found = result["sim"].get("safety")
    if found is None:
        return None
    parts = [
        f"{percent(found['compute_frac'])} of the compute",
        f"{percent(found['gpu_time_frac'])} of the GPU time",
        f"{percent(found['cost_frac'])} of the cost ({usd(found['cost_usd'])})",
        f"{millis(found['mean_added_ttft_ms'])} before the first token",
    ]
    if "num_false_refusals" in found:
        false, passed = number(found["num_false_refusals"]), number(found["num_unsafe_passed"])
        parts.append(f"{false} refused wrongly, {passed} unsafe ones answered")
    return f"Safety: {'; '.join(parts)}."


def calibrated(result: Mapping[str, Any]) -> str | None:
    """Return whose step times the pools have, with version, date, driver and grade; None if nothing is said of them."""
    engines: dict[str, list[str]] = {}
    for pool, found in result["sim"]["calibration"].items():
        if "grade" not in found:
            continue
        measured = f"{found['num_points']} points on {found['num_curves']} curves"
        said = f"{found['engine']} {found['version']} ({found['date']}; driver {found['driver']}) on {found['gpu']}"
        said += f": {found['grade']}" + (f", {measured}" if found["num_points"] else "")
        engines.setdefault(said, []).append(pool)
    told = [f"{said} [{', '.join(pools)}]" for said, pools in engines.items()]
    return f"Step times: {'; '.join(told)}." if told else None


def extrapolated(result: Mapping[str, Any]) -> str | None:
    """Return which pools run outside what their engine was calibrated on, and why; None if no pool does.

    Pools of the same model, hardware and notes share a sentence.
    """
    sim = result["sim"]
    alike: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for pool, found in sim["calibration"].items():
        if found["status"] == "extrapolated":
            machine = sim["by_pool"][pool]
            alike.setdefault((machine["model"], machine["hardware"], tuple(found["notes"])), []).append(pool)
    sentences = []
    for (model, hardware, notes), pools in alike.items():
        first = f": {notes[0].removesuffix('.')}" if notes else ""
        plural, more = "s" if len(pools) > 1 else "", "" if len(notes) == 1 else "s"
        sentences.append(
            f"Extrapolated: pool{plural} {', '.join(pools)} ({model} on {hardware}){first}; "
            f"{len(notes)} note{more} in the report."
        )
    return " ".join(sentences) or None
