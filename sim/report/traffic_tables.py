"""The tables of traffic that are no figure's: the few numbers that matter, who sends how much, what it was made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sim.report import text
from sim.report.panel import Table

Show = Callable[[Any], str]

_WINDOWS = {1.0: "1 s", 10.0: "10 s", 60.0: "1 min", 3600.0: "1 h"}


def headline(statistics: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the few numbers that matter, each with its name."""
    return tuple((name, show(value)) for name, value, show in _numbers(statistics))


def _numbers(statistics: Mapping[str, Any]) -> Iterator[tuple[str, float | None, Show]]:
    """Yield name, value and how it is shown."""
    arrivals, sessions, reuse = (statistics[name] for name in ("arrivals", "sessions", "reuse"))
    yield "requests", statistics["num_requests"], text.number
    yield "over", statistics["span_s"], text.time
    yield "requests per second", statistics["rate_per_s"], _four_digits
    yield "CV of times between arrivals", arrivals["cv"], text.number
    for row in arrivals["by_window"]:
        if row["window_s"] in _WINDOWS and row["fano"] is not None:
            window = _WINDOWS[row["window_s"]]
            yield f"Fano factor, {window}", row["fano"], text.number
            yield f"highest {window} / mean", row["peak_to_mean"], text.number
    yield "prompt tokens", statistics["total_prompt_tokens"], text.number
    yield "output tokens", statistics["total_output_tokens"], text.number
    yield "rank correlation, prompt and answer", statistics["prompt_output"]["spearman"], text.number
    if sessions is not None:
        yield "turns per session", sessions["mean_turns"], text.number
        yield "sessions of several turns", sessions["multi_turn_frac"], text.percent
    if reuse is not None:
        yield "prompt tokens reusable", reuse["unlimited"]["token_frac"], text.percent


def compared(one: Mapping[str, Any], other: Mapping[str, Any]) -> Table:
    """Return the table of the numbers that two kinds of traffic both have, and how far the second is from the first."""
    rows = []
    others = {name: value for name, value, _ in (*_numbers(other), *_quantiles(other))}
    for name, value, show in (*_numbers(one), *_quantiles(one)):
        if name in others:
            second = others[name]
            off = f"{second / value - 1.0:+.1%}" if value and second is not None else text.NONE
            rows.append((name, show(value), show(second), off))
    return Table(("", one["traffic"]["name"], other["traffic"]["name"], "off"), tuple(rows))


def _quantiles(statistics: Mapping[str, Any]) -> Iterator[tuple[str, float | None, Show]]:
    """Yield mean and quantiles of lengths and times."""
    for title, (found, unit) in _quantities(statistics).items():
        if found is not None:
            for name in ("mean", "p10", "p50", "p90", "p99"):
                yield f"{title}, {name}", found[f"{name}_{unit}"], _four_digits
    if statistics["reuse"] is not None:
        for row in statistics["reuse"]["by_ttl"]:
            yield f"prompt tokens reused, kept {text.time(row['ttl_s'])}", row["token_frac"], text.percent


def _four_digits(value: float | None) -> str:
    return text.number(value, 4)


def _quantities(statistics: Mapping[str, Any]) -> dict[str, tuple[Mapping[str, Any] | None, str]]:
    """Return descriptions of lengths and times by title, with their units."""
    return {
        "prompt [tokens]": (statistics["prompt_tokens"], "tokens"),
        "answer [tokens]": (statistics["output_tokens"], "tokens"),
        "new text of a turn [tokens]": (statistics["new_tokens"], "tokens"),
        "first prompt of a session [tokens]": (statistics["first_prompt_tokens"], "tokens"),
        "later prompt of a session [tokens]": (statistics["later_prompt_tokens"], "tokens"),
        "between turns [s]": (statistics["gap"], "s"),
        "between arrivals [s]": (statistics["arrivals"]["spacing"], "s"),
    }


def lengths_in_short(statistics: Mapping[str, Any]) -> Table:
    """Return as much of the table of all quantities as 80 columns hold."""
    rows = tuple(
        (
            title.removesuffix(" [tokens]").replace(" of a session", ""),
            *(_four_digits(found[f"{name}_{unit}"]) for name in ("mean", "p10", "p50", "p90", "p99", "max")),
        )
        for title, (found, unit) in _quantities(statistics).items()
        if found is not None
    )
    return Table(("tokens", "mean", "p10", "p50", "p90", "p99", "max"), rows)


def lengths(statistics: Mapping[str, Any]) -> Table:
    """Return the table of all quantities: mean and quantiles."""
    names = ("p1", "p10", "p25", "p50", "p75", "p90", "p95", "p99", "p99.9")
    rows = tuple(
        (
            title,
            text.number(found["num"]),
            *(_four_digits(found[f"{name}_{unit}"]) for name in ("mean", "std", *names, "max")),
        )
        for title, (found, unit) in _quantities(statistics).items()
        if found is not None
    )
    return Table(("quantity", "values", "mean", "std", *names, "max"), rows)


def reuse(found: Mapping[str, Any]) -> Table:
    """Return the table of what caches could reuse."""
    rows = (
        *(
            (f"{text.number(row['cache_tokens'])} tokens", text.percent(row["token_frac"]))
            for row in found["by_cache_size"]
        ),
        *((f"kept {text.time(row['ttl_s'])} after use", text.percent(row["token_frac"])) for row in found["by_ttl"]),
        ("without limit", text.percent(found["unlimited"]["token_frac"])),
    )
    return Table(("cache", "prompt tokens reused"), rows)


def shares(statistics: Mapping[str, Any]) -> dict[str, Table]:
    """Return a table of shares for each thing of which there are several: tiers, classes, languages, senders ..."""
    header = ("requests", "share", "of prompt tokens", "of output tokens", "prompt, mean", "answer, mean")
    return {
        name: Table(
            (name, *header),
            tuple(
                (
                    who,
                    text.number(found["num_requests"]),
                    text.percent(found["request_frac"]),
                    text.percent(found["prompt_token_frac"]),
                    text.percent(found["output_token_frac"]),
                    text.number(found["mean_prompt_tokens"]),
                    text.number(found["mean_output_tokens"]),
                )
                for who, found in by_name.items()
            ),
        )
        for name, by_name in statistics["shares"].items()
        if len(by_name) > 1
    }


def users(statistics: Mapping[str, Any]) -> Table | None:
    """Return the table of how unequal senders are; None where they are not told."""
    header = ("senders", "number", "requests, mean", "largest", "largest 10", "largest 1 %", "CV p50", "CV p90")
    rows = tuple(
        (
            name,
            text.number(found["num_users"]),
            text.number(found["mean_requests"]),
            text.percent(found["top_1_frac"]),
            text.percent(found["top_10_frac"]),
            text.percent(found["top_percent_frac"]),
            text.number(found.get("p50_cv")),
            text.number(found.get("p90_cv")),
        )
        for name, found in statistics["users"].items()
    )
    return Table(header, rows) if rows else None


def identity(statistics: Mapping[str, Any]) -> Table:
    """Return what was looked at."""
    traffic = statistics["traffic"]
    rows = [
        (name.replace("_", " "), text.number(value) if isinstance(value, float) else str(value))
        for name, value in traffic.items()
        if value not in (None, [], {}) and name not in ("note", "rows")
    ]
    return Table(("what", "value"), tuple(rows))
