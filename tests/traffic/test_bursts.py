"""Bursts on an intensity: the mean is the intensity's, the dispersion that of the closed form, and draws are keyed."""

from dataclasses import replace

import numpy as np
import pytest

from sim.traffic import bursts
from sim.traffic.bursts import BurstKind, Starts
from sim.traffic.fit.bursts import fit_bursts
from sim.traffic.fit.counts import Excess, Slow, count_variance, counts, expected_fano, fano, smoothed, windows_of
from sim.traffic.fit.recorded import Recorded, time_grid

SPAN_S = 3600.0
RELATIVE = np.array([0.5, 1.5, 1.2, 0.8])
# Rate, share, mean size and spread of each kind: what the traces need, from nearly Poisson to very bursty.
KINDS = {
    "poisson": (BurstKind(4.0),),
    "small": (BurstKind(2.0, 3.0, 5.0), BurstKind(2.0)),
    "two scales": (BurstKind(1.3, 61.0, 3.0), BurstKind(1.3, 164.0, 31.0)),
    "at once": (BurstKind(3.0, 2.0, 0.0),),
}


def starts(kinds, seed=1, relative=RELATIVE, start_s=0.0, end_s=SPAN_S):
    return Starts(seed, kinds, SPAN_S / len(RELATIVE), relative, start_s, end_s)


def times(source):
    return np.concatenate([*source.slices(), np.zeros(0)])


def excesses(kinds):
    total = sum(kind.rate_per_s for kind in kinds)
    return tuple(Excess(2 * k.rate_per_s / total * (k.mean_size - 1), k.spread_s) for k in kinds)


def slow(kinds):
    rate = sum(kind.rate_per_s for kind in kinds)
    return Slow(SPAN_S / len(RELATIVE), rate * RELATIVE, SPAN_S)


@pytest.mark.parametrize("name", KINDS)
def test_mean_and_fano_factor_are_those_of_the_closed_form(name):
    # 300 realisations; four standard errors of their mean: a false alarm in 16,000 for each number.
    kinds = KINDS[name]
    found = [times(starts(kinds, seed)) for seed in range(300)]
    edges_s = np.linspace(0.0, SPAN_S, len(RELATIVE) + 1)
    by_interval = np.array([np.histogram(t, edges_s)[0] for t in found])
    expected = slow(kinds).rate_per_s * np.diff(edges_s)
    error = by_interval.std(axis=0, ddof=1) / np.sqrt(len(found))
    assert np.all(np.abs(by_interval.mean(axis=0) - expected) < 4 * error)
    for i, mean in enumerate(expected):
        variance = count_variance(900.0, mean / 900.0, expected.sum() / SPAN_S, excesses(kinds))
        # A sample variance of nearly normal counts has a relative error of sqrt(2 / n); clusters make tails heavier.
        assert by_interval[:, i].var(ddof=1) == pytest.approx(variance, rel=4 * np.sqrt(3 / len(found)))
    for window_s in (1.0, 10.0, 60.0):
        values = np.array([counts(t, window_s, SPAN_S) for t in found], dtype=float)
        ratio = values.var(axis=1, ddof=1) / values.mean()
        error = ratio.std(ddof=1) / np.sqrt(len(found))
        assert abs(ratio.mean() - expected_fano(window_s, slow(kinds), excesses(kinds))) < 4 * error, window_s


@pytest.mark.parametrize("start_s", [-700.0, 0.0, 1000.0])
def test_times_are_stationary_from_the_start(start_s):
    kinds = (BurstKind(2.0, 40.0, 30.0),)
    found = [times(starts(kinds, seed, np.ones(4), start_s, start_s + 60.0)) for seed in range(1500)]
    num = np.array([len(each) for each in found])
    assert abs(num.mean() - 120.0) < 4 * num.std() / np.sqrt(len(num))
    early = np.array([(each < start_s + 10.0).sum() for each in found])
    assert abs(early.mean() - 20.0) < 4 * early.std() / np.sqrt(len(early))


def test_times_are_in_order_in_range_and_whole_nanoseconds():
    found = times(starts(KINDS["two scales"], start_s=-100.0, end_s=5000.0))
    assert np.all(np.diff(found) >= 0)
    assert found[0] >= -100
    assert found[-1] < 5000
    assert np.array_equal(found, np.rint(found * 1e9) / 1e9)
    # After its last interval the intensity begins again.
    again = [np.histogram(times(starts((BurstKind(500.0),), end_s=7200.0)), [a, a + 900])[0][0] for a in (0, 3600)]
    assert again[0] == pytest.approx(again[1], abs=6 * np.sqrt(2 * again[0]))


def test_nothing_depends_on_slices_and_a_longer_run_only_adds(monkeypatch):
    source = starts(KINDS["two scales"], start_s=-50.0)
    whole = times(source)
    assert np.array_equal(times(replace(source, end_s=9000.0))[: len(whole)], whole)
    for rows, batch in ((700, 1 << 16), (65_536, 5)):
        monkeypatch.setattr(bursts, "MAX_CHUNK_ROWS", rows)
        monkeypatch.setattr(bursts, "_BATCH", batch)
        assert np.array_equal(times(source), whole)
        assert max(map(len, source.slices())) <= rows


def test_nothing_comes_where_the_intensity_is_zero():
    found = times(starts((BurstKind(5.0, 4.0, 100.0),), relative=np.array([0.0, 2.0, 0.0, 2.0]), start_s=-500.0))
    assert found[0] >= 900
    assert not ((found >= 1800) & (found < 2700)).any()
    assert len(found) > 10_000


@pytest.mark.parametrize("name", ["small", "two scales"])
def test_fitted_bursts_are_those_that_were_generated(name):
    # From counts of ten days, not one hour, so that what is asked is the method's own error.
    kinds, days = KINDS[name], 10
    span_s = 86400.0 * days
    found = times(Starts(3, kinds, 3600.0, np.ones(1), 0.0, span_s))
    flat = Slow(span_s, np.array([len(found) / span_s]), span_s)
    windows_s = [0.5, 1, 2, 5, 10, 20, 30, 60, 120]
    fitted = fit_bursts(windows_s, [fano(found, w, span_s) for w in windows_s], flat)
    true = [kind for kind in excesses(kinds) if kind.excess]
    # At least as many kinds as it takes; together they add what the true ones add.
    for window_s in windows_s:
        assert expected_fano(window_s, flat, fitted) == pytest.approx(expected_fano(window_s, flat, true), rel=0.06)
    if len(fitted) == len(true):
        for a, b in zip(fitted, true, strict=True):
            assert (a.excess, a.spread_s) == pytest.approx((b.excess, b.spread_s), rel=0.25)


def test_a_poisson_process_needs_no_bursts():
    found = times(starts((BurstKind(20.0),), relative=np.ones(4), end_s=36_000.0))
    flat = Slow(36_000.0, np.array([len(found) / 36_000.0]), 36_000.0)
    windows_s = [0.5, 1.0, 10.0, 60.0]
    fitted = fit_bursts(windows_s, [fano(found, w, 36_000.0) for w in windows_s], flat)
    assert sum(kind.excess for kind in fitted) < 0.15


def test_smoothing_keeps_the_total_and_a_straight_line_in_the_middle():
    rng = np.random.default_rng(1)
    found = np.sort(7200.0 * np.sqrt(rng.random(400_000)))
    found_slow = smoothed(found, 7200.0)
    assert found_slow.rate_per_s @ found_slow.widths_s == pytest.approx(400_000)
    middle_s = (found_slow.edges_s[1:] + found_slow.edges_s[:-1]) / 2
    inside = slice(6, -6)
    line = 2 * 400_000 / 7200.0 * middle_s / 7200.0
    assert found_slow.rate_per_s[inside] == pytest.approx(line[inside], rel=0.02)
    # 1000 s are three intervals of five minutes and one cut short.
    assert len(smoothed(found[found < 1000], 1000.0).rate_per_s) == 4
    assert smoothed(found, 40 * 86400.0).interval_s == 300.0 * 40


def test_recorded_steps_are_found():
    rng = np.random.default_rng(2)
    fine = np.sort(rng.random(5000)) * 3000
    assert time_grid(fine) == 0.0
    steps = np.floor(fine / 3.0) * 3.0 + rng.choice([0.0, 0.001], 5000)
    assert time_grid(np.sort(np.floor(fine / 3.0) * 3.0)) == 3.0
    assert time_grid(np.sort(steps)) == 3.0
    tokens = np.ones(5000, dtype=np.int64)
    coarse = Recorded(np.floor(fine / 3.0) * 3.0, tokens, tokens, None, 3000.0, 3.0)
    assert windows_of(coarse) == [12.0, 15.0, 30.0, 60.0, 120.0]
