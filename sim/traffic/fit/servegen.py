"""Programs' traffic fitted to a description in ServeGen's form (arXiv:2505.09999): clients, their rates and burstiness.

A description says of each client in which windows of time it sends, how fast and how burstily (see
sim.traffic.traces.clients).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.errors import Problem, TraceError
from sim.traffic.arrivals import FIRST_PROGRAM
from sim.traffic.clients import burstiness_levels, client_shares
from sim.traffic.fit.goodness import Row
from sim.traffic.traces.clients import read_clients
from sim.units import DAY_S, HOUR_S

_SEEDS = 400


@dataclass(frozen=True, eq=False)
class FittedClients:
    """The fields of `traffic.api` that a description gives, and how well they fit."""

    fields: dict[str, float]
    """num_clients, client_rate_sigma, burstiness_cv, burstiness_cv_p90, weibull_frac."""
    hourly: tuple[float, ...]
    """Rate in the hours of the day relative to their mean."""
    goodness: tuple[Row, ...]

    def text(self, source: str) -> str:
        """The section `traffic.api` of a scenario as YAML, fitted to what `source` names."""
        lines = [
            f"# Fitted to {source}.",
            "# Paste it under `traffic`. Workload and tier are yours to choose: the description does not say how",
            "# long requests are, nor how much is sent beside what people send (`tokens_per_chat_token`).",
            "api:",
            "  workload: api-service",
            "  tier: api",
            *(f"  {name}: {value}" for name, value in self.fields.items()),
            "# Rate in the hours of the day over its mean, of which the workload's `curve` is the model:",
            *(f"#   {', '.join(f'{value:.3f}' for value in self.hourly[hour : hour + 8])}" for hour in (0, 8, 16)),
        ]
        return "\n".join(lines) + "\n"


def fit_clients(path: str | Path) -> FittedClients:
    """Fit clients to a description of their windows.

    ln(rate) is normal over clients, a client's rate being its mean over all windows; burstiness is weighted by rate, as
    what counts is what a fleet sees. Shares of the largest clients, of one draw of so many clients, are then compared
    with their 5 to 95 % band over 400 seeds. Raises TraceError where a file is wrong, or nobody sends anything.
    """
    sending = [found for each in read_clients(path) if (found := each.windows[each.windows["rate_per_s"] > 0.0]).size]
    if not sending:
        raise TraceError(Problem("no client sends anything", str(path)))
    volume = np.array([found["rate_per_s"].sum() for found in sending])
    shares = np.sort(volume / volume.sum())[::-1]
    windows = np.concatenate(sending)
    rate, cv = windows["rate_per_s"], windows["iat_cv"]
    median, p90 = weighted_quantiles(cv, rate, np.array([0.5, 0.9]))
    fields = {
        "num_clients": len(sending),
        "client_rate_sigma": float(np.log(volume).std()),
        "burstiness_cv": float(median),
        "burstiness_cv_p90": float(p90),
        "weibull_frac": float(rate[windows["weibull"]].sum() / rate.sum()),
    }
    by_hour = np.bincount((windows["t_s"] % DAY_S // HOUR_S).astype(np.int64), rate, 24)
    return FittedClients(
        fields={name: round(value, 4) for name, value in fields.items()},
        hourly=tuple(round(float(value), 4) for value in by_hour / by_hour.mean()),
        goodness=tuple(_rows(shares, cv, rate, fields)),
    )


def _rows(
    shares: NDArray[np.float64], cv: NDArray[np.float64], weight: NDArray[np.float64], fields: dict[str, float]
) -> Iterator[Row]:
    num, sigma = int(fields["num_clients"]), fields["client_rate_sigma"]
    generated = [np.sort(client_shares(seed, FIRST_PROGRAM, num, sigma))[::-1] for seed in range(_SEEDS)]
    for count in (1, 10):
        values = [float(each[:count].sum()) for each in generated]
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        aim = f"in {low:.3g} to {high:.3g} (5-95 %)"
        yield Row(f"share of the largest {count}", float(shares[:count].sum()), middle, low, high, aim)
    levels = burstiness_levels(fields["burstiness_cv"], fields["burstiness_cv_p90"])
    # Levels are equally likely for every client, so that quantiles weighted by rate are, in the mean, those of levels.
    for percent in (10, 25, 50, 75, 90):
        own = float(weighted_quantiles(cv, weight, np.array([percent / 100.0]))[0])
        made = float(weighted_quantiles(levels, np.ones(len(levels)), np.array([percent / 100.0]))[0])
        aimed = percent in (50, 90)
        allowed = 0.05 * own
        aim = "5 %" if aimed else ""
        yield Row(f"CV of a client's gaps, p{percent}", own, made, made - allowed, made + allowed, aim)


def weighted_quantiles(
    values: NDArray[np.float64], weights: NDArray[np.float64], u: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The smallest values at or below which so large a share of the weight lies."""
    order = np.argsort(values)
    done = np.cumsum(weights[order])
    at = np.searchsorted(done, u * done[-1])
    return np.asarray(values[order[np.minimum(at, len(values) - 1)]])
