"""Goodness of fit: what the trace says, what generated traffic says, and whether that meets the aim."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.traffic import draws
from sim.traffic.arrivals import ARRIVAL
from sim.traffic.daily import turn_survival
from sim.traffic.fit.counts import Slow, count_variance, fano
from sim.traffic.fit.lengths import PERCENTS
from sim.traffic.fit.links import links_of
from sim.traffic.fit.model import Model
from sim.traffic.fit.recorded import Recorded
from sim.traffic.fit.window import start_times, watched
from sim.traffic.lengths import tokens
from sim.traffic.rows import fill
from sim.traffic.sessions import Sessions
from sim.traffic.statistics.pairs import Pairs
from sim.traffic.statistics.prefixes import Prefixes
from sim.traffic.traces import HASH_BLOCK_TOKENS
from sim.traffic.turns import Service

NUM_DRAWS = 1_000_000
FANO_WINDOWS_S = (1.0, 10.0, 60.0)
TTL_S = (30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)
TEXT_EVERY = 10
"""Of so many replications the text of one is compared: it takes half a second."""
MAX_REPLICATIONS = 20_000
_MEAN_ERROR = 0.01  # of a mean over replications: a third of what is aimed at


@dataclass(frozen=True)
class Row:
    """One number of the trace and its generated counterpart."""

    quantity: str
    trace: float
    generated: float
    """Of generated traffic: a value, or the middle of the band."""
    low: float
    """What the trace's value may lie between."""
    high: float
    aim: str
    """In words; empty: reported only."""

    @property
    def passed(self) -> bool | None:
        """None where there is no aim."""
        return bool(self.low <= self.trace <= self.high) if self.aim else None


def table(rows: Iterable[Row]) -> str:
    """The rows as text."""
    lines = [f"{'quantity':<34}{'trace':>11}{'generated':>11}{'off':>9}   aim"]
    for row in rows:
        off = f"{row.generated / row.trace - 1.0:+.1%}" if row.trace and row.generated else ""
        verdict = {None: "", True: "  ok", False: "  MISSED"}[row.passed]
        lines.append(
            f"{row.quantity:<34}{row.trace:>11.5g}{row.generated:>11.5g}{off:>9}   {row.aim or '(no aim)'}{verdict}"
        )
    return "\n".join(lines)


def _near(quantity: str, trace: float, generated: float, frac: float, least: float, aim: str) -> Row:
    """A row whose generated value must be near the trace's."""
    allowed = max(frac * abs(trace), least)
    return Row(quantity, trace, generated, generated - allowed, generated + allowed, aim)


def length_rows(model: Model, recorded: Recorded, source: Sessions, seed: int, num: int = NUM_DRAWS) -> Iterator[Row]:
    """Quantiles of the lengths of first and second turns, each of at least so many draws."""
    go_on = float(turn_survival(source.turns)[1:2].sum())
    num = int(np.ceil(num / min(go_on, 1.0 - go_on))) if go_on else num
    rows = np.zeros(num, dtype=ARRIVAL)
    rows["user"] = np.arange(num)
    fill(rows, seed, source.turns, source.traffic_class)
    single, new = rows["num_turns"] == 1, rows["user_tokens"]
    # With conversations, what is alone can only be guessed: there the lengths of all prompts are aimed at.
    yield from _quantiles("single input" if go_on else "input", model.single_tokens, new[single], aimed=not go_on)
    if go_on:
        yield from _quantiles("first input", model.first_tokens, new[~single])
        word = draws.bits(draws.key(seed, draws.USER_TOKENS), rows["user"].view(np.uint64), np.uint64(0), np.uint64(1))
        yield from _quantiles(
            "later new input", model.later_tokens, tokens(source.traffic_class.user_tokens, draws.uniform(word))
        )
    yield from _quantiles("output", recorded.output_tokens, rows["output_tokens"])


def _quantiles(name: str, trace: NDArray[Any], generated: NDArray[Any], *, aimed: bool = True) -> Iterator[Row]:
    for percent, a, b in zip(PERCENTS, *(np.percentile(x, PERCENTS) for x in (trace, generated)), strict=True):
        yield _near(f"{name} tokens p{percent}", float(a), float(b), 0.05, 1.0, "5 % or one token" if aimed else "")
    yield Row(f"{name} tokens mean", float(trace.mean()), float(generated.mean()), -np.inf, np.inf, "")


def independence_row(recorded: Recorded) -> Row:
    """The rank correlation of input and output: the model draws them independently."""
    pairs = Pairs(room=len(recorded))
    pairs.add(recorded.prompt_tokens, recorded.output_tokens)
    rho = pairs.spearman()
    # Where all prompts or all answers are alike, one says nothing of the other.
    return Row("input-output rank correlation", rho or 0.0, 0.0, -0.1, 0.1, "independent: |rho| <= 0.1")


def replications_for(slow: Slow, model: Model, least: int) -> int:
    """Replications whose mean count of every interval has a standard error of at most 1 %."""
    mean_rate = float(slow.rate_per_s @ slow.widths_s) / slow.span_s
    most = max(
        count_variance(float(w), float(r), mean_rate, model.bursts) / (r * w) ** 2
        for r, w in zip(slow.rate_per_s, slow.widths_s, strict=True)
        if r > 0.0
    )
    return int(np.clip(np.ceil(most / _MEAN_ERROR**2), least, MAX_REPLICATIONS))


def arrival_rows(
    model: Model, recorded: Recorded, source: Sessions, seed: int, service: Service, replications: int
) -> Iterator[Row]:
    """Intensity, dispersion and spacing of the requests of many replications."""
    slow, single = model.requests, not len(model.later_tokens)
    num = replications_for(slow, model, replications) if single else replications
    windows_s = [w for w in FANO_WINDOWS_S if w > recorded.grid_s and 2.0 * w <= recorded.span_s]
    total = np.zeros(len(slow.rate_per_s))
    shown: list[list[float]] = []
    prompts: list[NDArray[np.int64]] = []
    for replication in range(num):
        if single:
            times_s = start_times(source, seed + 1 + replication, recorded)
        else:
            requests = watched(source, seed + 1 + replication, service, recorded, told=False)
            times_s = requests.time_s
            prompts.append(requests.prompt_tokens)
        # The window's end belongs to the last interval.
        total += np.histogram(times_s, np.append(slow.edges_s[:-1], np.inf))[0]
        if len(shown) < max(replications, 1000):
            shown.append([*(fano(times_s, w, recorded.span_s) for w in windows_s), _cv(times_s), len(times_s)])
    rates = total / num / slow.widths_s
    for begin_s, a, b in zip(slow.edges_s[:-1], slow.rate_per_s, rates, strict=True):
        name = f"requests/s from {begin_s / 60:.0f} min"
        yield _near(name, float(a), float(b), 0.03, 0.0, f"3 %, mean of {num:,}")
    names = [f"Fano factor, {w:g} s" for w in windows_s] + ["CV of inter-arrival times", "requests"]
    own = [*(fano(recorded.time_s, w, recorded.span_s) for w in windows_s), _cv(recorded.time_s), len(recorded)]
    for name, a, values in zip(names, own, zip(*shown, strict=True), strict=True):
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        aim = f"in {low:.4g} to {high:.4g} (5-95 %)" if name.startswith("Fano") else ""
        yield Row(name, float(a), float(middle), float(low), float(high), aim)
    if prompts:
        yield from _quantiles("whole input", recorded.prompt_tokens, np.concatenate(prompts))


def _cv(times_s: NDArray[np.float64]) -> float:
    gaps = np.diff(times_s)
    return float(gaps.std() / gaps.mean()) if len(gaps) and gaps.mean() > 0.0 else np.nan


def text_rows(
    model: Model, recorded: Recorded, source: Sessions, seed: int, service: Service, replications: int
) -> Iterator[Row]:
    """Turns, gaps and reuse, inferred from the blocks of generated prompts as from the trace's."""
    shares: list[list[float]] = []
    gaps: list[NDArray[np.float64]] = []
    turns: list[NDArray[np.int64]] = []
    for replication in range(replications):
        requests = watched(source, seed + 1 + replication, service, recorded)
        links = links_of(requests)
        turns.append(links.num_turns)
        gaps.append(_gaps(requests, links.parent))
        shares.append(_reused(requests))
    all_turns, own = np.concatenate(turns), model.links.num_turns
    for least in (2, 3, 5, 10):
        a, b = (float((x >= least).mean()) for x in (own, all_turns))
        yield _near(f"conversations seen with {least}+ turns", a, b, 0.0, 0.02, "two points")
    yield Row("turns seen, mean", float(own.mean()), float(all_turns.mean()), -np.inf, np.inf, "")
    percents = (5, 10, 25, 50, 75, 90, 95)
    found = [np.percentile(x, percents) for x in (_gaps(recorded, model.links.parent), np.concatenate(gaps))]
    step = max(recorded.grid_s, 0.5)
    for percent, a, b in zip(percents, *found, strict=True):
        yield _near(f"gap seen p{percent} [s]", float(a), float(b), 0.05, step, f"5 % or {step:g} s")
    for name, a, b in zip(_reuse_names(), _reused(recorded), np.mean(shares, axis=0), strict=True):
        yield _near(name, a, float(b), 0.0, 0.02, "two points")


def _gaps(requests: Recorded, parent: NDArray[np.int64]) -> NDArray[np.float64]:
    later = np.flatnonzero(parent >= 0)
    return np.asarray(requests.time_s[later] - requests.time_s[parent[later]])


def _reuse_names() -> Sequence[str]:
    return ["reused, unlimited cache", *(f"reused within {ttl:g} s" for ttl in TTL_S)]


def _reused(requests: Recorded) -> list[float]:
    """Shares of the prompts' tokens that a cache holds: for ever, and so long after its last use."""
    caches = Prefixes(HASH_BLOCK_TOKENS, ttl_s=TTL_S, cache_blocks=())
    columns = (requests.time_s.tolist(), requests.prompt_tokens.tolist(), requests.blocks or [])
    for time_s, prompt_tokens, blocks in zip(*columns, strict=True):
        caches.add(time_s, prompt_tokens, blocks)
    said = caches.described()
    return [said["unlimited"]["token_frac"], *(row["token_frac"] for row in said["by_ttl"])]
