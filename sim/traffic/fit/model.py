"""A workload fitted to recorded requests, each number with its justification beside it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.spec import Distribution
from sim.spec.text import write_text
from sim.spec.workload import Workload
from sim.traffic.fit.bursts import fit_bursts
from sim.traffic.fit.counts import Excess, Slow, fano, smoothed, windows_of
from sim.traffic.fit.delays import delays, starts_of
from sim.traffic.fit.lengths import percentiles_of, thinned
from sim.traffic.fit.links import Links, links_of
from sim.traffic.fit.recorded import Recorded, shared_prefix_tokens
from sim.traffic.fit.turns import Turns, turns_of
from sim.traffic.fit.window import left_for_singles, playable
from sim.traffic.lengths import CELLS, quantile_table
from sim.traffic.traces import HASH_BLOCK_TOKENS
from sim.traffic.turns import Service

_GRID = np.arange(CELLS + 1) / CELLS
_GLANCE = 0.01  # the share of think times below which none is let fall; *assumed*


@dataclass(frozen=True, eq=False)
class Model:
    """What was fitted, and what it was fitted to."""

    workload: Workload
    said: dict[str, Any]
    """The workload as plain data, as it is written into a file."""
    requests: Slow
    """The smoothed rate of all requests."""
    links: Links
    single_tokens: np.ndarray[Any, np.dtype[np.int64]]
    """New tokens of turns seen alone; of a trace without conversations, of all requests."""
    first_tokens: np.ndarray[Any, np.dtype[np.int64]]
    """New tokens of first turns that go on."""
    later_tokens: np.ndarray[Any, np.dtype[np.int64]]
    """New tokens of later turns."""

    @property
    def text(self) -> str:
        """The workload as YAML, in the order in which workloads are written."""
        return write_text(
            {field: self.said[field] for field in Workload.model_fields if field in self.said}, compact=True
        )

    @property
    def bursts(self) -> tuple[Excess, ...]:
        """What each kind of burst adds to the Fano factor of starts."""
        kinds = () if self.workload.arrivals is None else self.workload.arrivals.bursts
        return tuple(Excess(2.0 * kind.share_frac * (kind.mean_size - 1.0), kind.spread_s) for kind in kinds)


def fit_model(recorded: Recorded, name: str, source: str, service: Service) -> Model:
    """Fit a workload.

    Parameters
    ----------
    recorded
        The requests.
    name
        Of the workload.
    source
        What the requests are, for the justifications, such as "FILE (n requests in s seconds)".
    service
        How long an answer took: only the shortest think time depends on it.
    """
    links, prefix = links_of(recorded), shared_prefix_tokens(recorded)
    requests, root = smoothed(recorded.time_s, recorded.span_s), links.parent < 0
    said: dict[str, Any] = {"name": name, "description": f"Fitted to {source}."}
    if prefix:
        said |= _with(f"{source}: whole blocks of 512 tokens that begin nearly every prompt.", system_prompt=prefix)
    said |= _lengths("output_sequence_length", recorded.output_tokens, f"{source}: answers of all turns")
    if root.all():
        single, first, later = recorded.prompt_tokens - prefix, *np.zeros((2, 0), dtype=np.int64)
        said |= _single_turns(recorded, source)
        said |= _lengths("input_sequence_length_per_turn", single, f"{source}: prompts, each as sent")
        said["arrivals"] = _arrivals(recorded, source, root, requests)
        return Model(_spoken(said), said, requests, links, single, first, later)
    turns, later_rows = turns_of(recorded, links), np.flatnonzero(~root)
    before = links.parent[later_rows]
    grown = recorded.prompt_tokens[before] + recorded.output_tokens[before]
    later = np.maximum(recorded.prompt_tokens[later_rows] - grown, 1)
    single, first = _first_turns(recorded, root, np.isin(np.arange(len(root)), before), turns, prefix)
    think_s = recorded.time_s[later_rows] - recorded.time_s[before]
    think_s = think_s - service.ttft_s - service.tpot_s * (recorded.output_tokens[before] - 1)
    said |= _many_turns(source, links, turns, np.maximum(think_s, 0.0), service)
    said |= _lengths("input_sequence_length_single_turn", single, f"{source}: first turns that stay alone")
    said |= _lengths("input_sequence_length_first_turn", first, f"{source}: first turns that are followed by another")
    said |= _lengths(
        "input_sequence_length_per_turn",
        later,
        f"{source}: a later turn's prompt less the prompt and the answer before it, at least one token",
    )
    tables = [
        quantile_table(Distribution(**said[field]), whole=whole)
        for field, whole in (("number_of_turns", True), ("time_between_turns", False))
    ]
    said["arrivals"] = _arrivals(recorded, source, root, starts_of(requests, delays(*tables)))
    # Which prompts are alone the window hides from some; what all prompts are like it does not.
    source_now = playable(_spoken(said), recorded.span_s)
    said |= _lengths(
        "input_sequence_length_single_turn",
        np.maximum(left_for_singles(source_now, service, recorded) - prefix, 1),
        f"{source}: what is left of the lengths of all prompts when those of generated conversations of more than one "
        "turn are taken off; prompts too short to share a block of their own count as alone",
    )
    return Model(_spoken(said), said, requests, links, single, first, later)


def _spoken(said: dict[str, Any]) -> Workload:
    """The workload that is said."""
    return Workload.from_dict(said)


def _first_turns(
    recorded: Recorded,
    root: np.ndarray[Any, np.dtype[np.bool_]],
    goes_on: np.ndarray[Any, np.dtype[np.bool_]],
    turns: Turns,
    prefix: int,
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]]:
    """New tokens of first turns seen after the run-in: of those that stay alone, and of those that go on.

    One whose next turn the window's end may hide counts among the first as much as it is likely to stay alone. A prompt
    without a whole block of its own cannot be seen to go on, whatever the window.
    """
    settled = root & (recorded.time_s >= turns.run_in_s)
    alone, first = (recorded.prompt_tokens[settled & kind] for kind in (~goes_on, goes_on))
    stays = 1.0 - turns.hidden((recorded.span_s - recorded.time_s)[settled & ~goes_on])
    stays[alone < prefix + HASH_BLOCK_TOKENS] = 1.0
    # As many values as there are, spread evenly over the weights.
    order = np.argsort(alone)
    done = np.cumsum(stays[order])
    at = np.searchsorted(done, (np.arange(len(alone)) + 0.5) * (done[-1] / len(alone)))
    return alone[order[at]] - prefix, first - prefix


def _lengths(field: str, values: np.ndarray[Any, np.dtype[np.int64]], what: str) -> dict[str, Any]:
    points = percentiles_of(np.maximum(values, 1).astype(float))
    why = f"Measured in {what}; {len(values):,} values, mean {values.mean():.1f}. Every quantile is met within 2 %."
    return {
        field: {"distribution_type": "percentiles", "percentiles": _keys(points)},
        f"{field}_justification": why,
    }


def _single_turns(recorded: Recorded, source: str) -> dict[str, Any]:
    told = (
        "shares no text beyond a common prefix" if recorded.blocks is not None else "does not say what belongs together"
    )
    why = f"{source} {told}: every request is a conversation of its own."
    return _with(
        why,
        number_of_turns={"distribution_type": "constant", "mean": 1},
        time_between_turns={"distribution_type": "constant", "mean": 0},
        min_think_s=0,
        multi_turn=False,
    ) | _with("Not used: the intensity stands under arrivals.", curve="flat")


def _many_turns(
    source: str, links: Links, turns: Turns, think_s: np.ndarray[Any, np.dtype[np.float64]], service: Service
) -> dict[str, Any]:
    num, chances = len(links.num_turns), ", ".join(f"{chance:.3f}" for chance in turns.go_on)
    low, median = np.quantile(think_s, [_GLANCE, 0.5])
    said = _with(
        f"Fitted to {source}: {num:,} conversations inferred from shared blocks. Chance that turn 0, 1, ... is "
        f"followed by another: {chances}, the last for all further; conversations cut off by the window count by how "
        "likely they go on (mixture cure model), those begun before it are left out.",
        number_of_turns={"distribution_type": "percentiles", "percentiles": _keys(turns.percentiles())},
    )
    gaps = thinned(_GRID, turns.quantiles(_GRID), 0.5)
    said |= _with(
        f"Fitted to {source}: {len(think_s):,} gaps from arrival to arrival, corrected for the end of the window "
        "(Kaplan-Meier); none longer than the longest seen.",
        time_between_turns={"distribution_type": "percentiles", "percentiles": _keys(gaps)},
    )
    said |= _with(
        f"Derived: the {100 * _GLANCE:g}st percentile of think times, which are gaps less a stated service time "
        f"({service.ttft_s:g} s to the first token, {service.tpot_s:g} s for every further one); their median is "
        f"{median:.0f} s.",
        min_think_s=round(float(low), 1),
    )
    said |= _with(f"{source}: later prompts repeat the blocks of earlier ones.", multi_turn=True)
    return said | _with("Not used: the intensity stands under arrivals.", curve="flat")


def _arrivals(
    recorded: Recorded, source: str, root: np.ndarray[Any, np.dtype[np.bool_]], starts: Slow
) -> dict[str, Any]:
    """The section `arrivals`; bursts of starts are told from their counts on their own smoothed rate."""
    times_s, windows_s = recorded.time_s[root], windows_of(recorded)
    fanos = [fano(times_s, window_s, recorded.span_s) for window_s in windows_s]
    bursts = fit_bursts(windows_s, fanos, smoothed(times_s, recorded.span_s)) if windows_s else ()
    rate = float(starts.rate_per_s.mean())
    said = _with(f"Fitted to {source}: mean of the intensity.", rate_per_s=float(f"{rate:.6g}"))
    said |= _with(
        f"Fitted to {source}: starts whose requests have the recorded rate, smoothed with a normal kernel with a "
        f"standard deviation of {starts.interval_s:g} s.",
        intensity={
            "interval_s": starts.interval_s,
            "relative": [round(value, 4) for value in (starts.rate_per_s / rate).tolist()],
        },
    )
    if bursts:
        share = 1.0 / len(bursts)
        kinds = [
            {
                "share_frac": round(share, 6),
                "mean_size": float(f"{1.0 + kind.excess / (2.0 * share):.5g}"),
                "spread_s": float(f"{kind.spread_s:.4g}"),
            }
            for kind in bursts
        ]
        said |= _with(
            f"Fitted to {source}: Fano factors of counts in windows of several lengths. Counts alone cannot tell few "
            "large bursts from many small ones among single arrivals: that all arrivals come in bursts, in equal "
            "shares of each kind, is *assumed*.",
            bursts=kinds,
        )
    return said


def _with(why: str, **fields: Any) -> dict[str, Any]:
    """Fields, each with the same justification."""
    return {
        key: item for name, value in fields.items() for key, item in ((name, value), (f"{name}_justification", why))
    }


def _keys(points: dict[float, float]) -> dict[float, float]:
    """Whole numbers without a decimal point."""
    return {_whole(percent): _whole(value) for percent, value in points.items()}


def _whole(value: float) -> float:
    return int(value) if float(value).is_integer() else value
