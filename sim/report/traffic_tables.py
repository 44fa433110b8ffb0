"""The tables of traffic that are no figure's: the few numbers that matter, who sends how much, what it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.report import text
from sim.report.panel import Table

_WINDOWS = {1.0: "1 s", 10.0: "10 s", 60.0: "1 min", 3600.0: "1 h"}


def headline(statistics: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the few numbers that matter, each with its name."""
    arrivals, sessions, reuse = (statistics[name] for name in ("arrivals", "sessions", "reuse"))
    rows = [
        ("requests", text.number(statistics["num_requests"])),
        ("over", text.time(statistics["span_s"])),
        ("requests per second", text.number(statistics["rate_per_s"], 4)),
        ("CV of times between arrivals", text.number(arrivals["cv"])),
    ]
    for row in arrivals["by_window"]:
        if row["window_s"] in _WINDOWS and row["fano"] is not None:
            window = _WINDOWS[row["window_s"]]
            rows.append((f"Fano factor, {window}", text.number(row["fano"])))
            rows.append((f"highest {window} / mean", text.number(row["peak_to_mean"])))
    rows += [
        ("prompt tokens", text.number(statistics["total_prompt_tokens"])),
        ("output tokens", text.number(statistics["total_output_tokens"])),
        ("rank correlation, prompt and answer", text.number(statistics["prompt_output"]["spearman"])),
    ]
    if sessions is not None:
        rows.append(("turns per session", text.number(sessions["mean_turns"])))
        rows.append(("sessions of several turns", text.percent(sessions["multi_turn_frac"])))
    if reuse is not None:
        rows.append(("prompt tokens reusable", text.percent(reuse["unlimited"]["token_frac"])))
    return tuple(rows)


def lengths(statistics: Mapping[str, Any]) -> Table:
    """Return the table of all quantities: mean and quantiles."""
    names = ("p1", "p10", "p25", "p50", "p75", "p90", "p95", "p99", "p99.9")
    quantities: dict[str, tuple[Mapping[str, Any] | None, str]] = {
        "prompt [tokens]": (statistics["prompt_tokens"], "tokens"),
        "answer [tokens]": (statistics["output_tokens"], "tokens"),
        "new text of a turn [tokens]": (statistics["new_tokens"], "tokens"),
        "first prompt of a session [tokens]": (statistics["first_prompt_tokens"], "tokens"),
        "later prompt of a session [tokens]": (statistics["later_prompt_tokens"], "tokens"),
        "between turns [s]": (statistics["gap"], "s"),
        "between arrivals [s]": (statistics["arrivals"]["spacing"], "s"),
    }
    rows = tuple(
        (
            title,
            text.number(found["num"]),
            *(text.number(found[f"{name}_{unit}"], 4) for name in ("mean", "std", *names, "max")),
        )
        for title, (found, unit) in quantities.items()
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
    """Return a table of shares for each thing that is told apart: tier, class, language, sender ..."""
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
