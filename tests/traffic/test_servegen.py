"""Programs against ServeGen's five services (arXiv:2505.09999): how skewed their clients are, and how bursty.

A service is one draw of so many clients, so its shares are compared with those of 400 draws of the model: they must lie
within four standard deviations of them, and not among the rarest 1 %. Its burstiness is the coefficient of variation of
a client's inter-arrival times in windows of ten minutes, weighted by rate; generated clients are watched in just such
windows. The standard error of the logarithm of a quantile is that of ServeGen's own (from 60 samples of its clients
with replacement) and that of the generated one (the same over seeds) together. As few clients have most of the traffic,
it is large: 0.13 to 0.39 at the median, 0.32 to 0.84 at the 90th percentile. Normal, four of them are passed with
probability 6e-5.
"""

import csv
import gzip
import json

import numpy as np
import pytest

from sim.traffic.clients import Clients, burstiness_levels, client_shares
from sim.traffic.daily import MINUTES, DailyRate
from sim.units import DAY_S

QUICK = ("reason_deepseek-r1", "multimodal_mm-image", "language_m-large")
SERVICES = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in ("language_m-mid", "language_m-small"))]
WINDOW_S, NUM_WINDOWS, SEEDS = 600.0, 2, 16
FEWEST = 10  # arrivals in a window, of which a coefficient of variation is taken


@pytest.fixture(scope="module")
def traces(repository):
    folder = repository.parent / "shared/data/traces"
    if not folder.is_dir():
        pytest.skip("needs the traces in ../shared/data/traces")
    return folder


@pytest.fixture(scope="module")
def published(traces):
    return json.loads((traces / "_stats/servegen_stats.json").read_text())


def windows_of(traces, service):
    """Client, rate and coefficient of variation of each window."""
    with gzip.open(traces / f"servegen/{service}_client_windows.csv.gz", "rt") as file:
        rows = [(int(r["client"]), float(r["rate_rps"]), float(r["iat_cv"] or "nan")) for r in csv.DictReader(file)]
    return tuple(np.array(column) for column in zip(*rows, strict=True))


def quantile(values, weights, p):
    order = np.argsort(values)
    return values[order][np.searchsorted(np.cumsum(weights[order]) / weights.sum(), p)]


def resampled(groups, p, number=60):
    """Standard error of the logarithm of a weighted quantile, from samples of groups with replacement."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(number):
        picked = [groups[i] for i in rng.integers(len(groups), size=len(groups))]
        values, weights = (np.concatenate(column) for column in zip(*picked, strict=True))
        found.append(np.log(quantile(values, weights, p)))
    return np.std(found)


def generated(facts, seed):
    """Coefficients of variation of the windows of a service's generated clients, and their weights."""
    num, rate_per_s = facts["clients"], facts["mean_rps"]
    cv = facts["iat_cv_client_rate_weighted"]
    clients = Clients(
        kind="api",
        seed=seed,
        first_client=0,
        shares=client_shares(seed, 0, num, facts["client_rate_lognormal_sigma"]),
        arrivals_per_day=rate_per_s * DAY_S,
        cv=burstiness_levels(cv["0.5"], cv["0.9"]),
        weibull_frac=facts["arrival_dist_share_rate_weighted"]["Weibull"],
        traffic_class=None,
        buckets=None,
        turns=None,
        starts=DailyRate(np.ones(MINUTES)),
        requests=None,
        start_s=0.0,
        horizon_s=WINDOW_S * NUM_WINDOWS,
    )
    times_s, client, _ = (np.concatenate(column) for column in zip(*clients.renewals().slices(), strict=True))
    order = np.argsort(client, kind="stable")
    window = (client * NUM_WINDOWS + times_s // WINDOW_S).astype(int)[order]
    gap_s, same = np.diff(times_s[order]), np.diff(window) == 0
    num, first, second = (np.bincount(window[1:][same], gap_s[same] ** power) for power in (0, 1, 2))
    told = (num >= FEWEST) & (first > 0)
    mean = first[told] / num[told]
    spread = np.sqrt(np.maximum(second[told] / num[told] - mean**2, 0.0))
    return spread / mean, num[told] / num[told].sum()


@pytest.mark.parametrize("service", [*QUICK, "language_m-mid", "language_m-small"])
def test_the_largest_clients_have_the_shares_of_servegen(traces, published, service):
    facts = published[service]
    client, rate, _ = windows_of(traces, service)
    measured = np.sort(np.bincount(client, rate))[::-1] / rate.sum()
    drawn = np.array(
        [
            np.sort(client_shares(seed, 0, facts["clients"], facts["client_rate_lognormal_sigma"]))[::-1]
            for seed in range(400)
        ]
    )
    for top in (1, 10):
        share = measured[:top].sum()
        assert share == pytest.approx(facts["client_share"][f"top{top}"], abs=1e-3)
        sums = drawn[:, :top].sum(axis=1)
        assert abs(share - sums.mean()) < 4 * sums.std(), (top, share, sums.mean(), sums.std())
        # Sharper: it is no rare draw, either.
        assert 0.005 < (sums < share).mean() < 0.995


@pytest.mark.parametrize("service", SERVICES)
def test_clients_are_as_bursty_as_servegens(traces, published, service):
    facts = published[service]
    client, rate, cv = windows_of(traces, service)
    told = np.isfinite(cv)
    real = [(cv[told & (client == one)], rate[told & (client == one)]) for one in np.unique(client[told])]
    made = [generated(facts, seed) for seed in range(SEEDS)]
    for p in (0.5, 0.9):
        wanted = quantile(cv[told], rate[told], p)
        assert wanted == pytest.approx(facts["iat_cv_client_rate_weighted"][str(p)], rel=1e-3)
        values, weights = (np.concatenate(column) for column in zip(*made, strict=True))
        got = quantile(values, weights, p)
        error = np.hypot(resampled(real, p), resampled(made, p))
        assert abs(np.log(got / wanted)) < 4 * error, (p, got, wanted, error)
