"""How often a call is repeated, with a clock that only the calls move."""

import itertools

import pytest

from sim.calibrate.microbench.protocol import Limits, measure, summarise

LIMITS = Limits(warm_up=3, num_least=3, num_wanted=10, num_most=60, error_frac=0.005, cap_s=0.5)


class FakeTimer:
    """Each sample takes what `times` says."""

    def __init__(self, times):
        self._times, self._now, self.taken = times, 0.0, []

    def now(self):
        return self._now

    def samples(self, call, count):
        taken = []
        for _ in range(count):
            call()
            taken.append(next(self._times))
        self._now += sum(taken)
        self.taken += taken
        return taken


def cycle(*times):
    return FakeTimer(itertools.cycle(times))


def run(timer, limits=LIMITS):
    calls = []
    found = measure(lambda: calls.append(1), timer, limits)
    assert len(calls) == len(timer.taken)
    return found


def test_steady_times_need_no_more_than_wanted():
    found = run(cycle(1e-4))
    assert (found.median_s, found.iqr_s, found.min_s) == (1e-4, 0.0, 1e-4)
    assert 10 <= found.num_samples <= 20


def test_noisy_times_are_sampled_to_the_most():
    assert run(cycle(1e-4, 2e-4, 3e-4)).num_samples == 60


def test_more_samples_only_until_the_median_is_sure():
    assert 10 < run(cycle(1.00e-4, 1.01e-4, 1.02e-4, 1.03e-4)).num_samples < 60


@pytest.mark.parametrize(("time_s", "samples"), [(0.2, 3), (10.0, 3), (0.04, 9)])
def test_slow_calls_stop_at_the_cap(time_s, samples):
    timer = cycle(time_s)
    assert run(timer).num_samples == samples
    assert len(timer.taken) == samples + LIMITS.warm_up


def test_the_warm_up_is_no_sample():
    times = itertools.chain([1.0, 1.0, 1.0], itertools.repeat(1e-3))
    found = run(FakeTimer(times), Limits(cap_s=10))
    assert found.median_s == 1e-3
    assert found.iqr_s == 0.0


def test_median_and_quartiles_by_hand():
    found = summarise([5.0, 1.0, 4.0, 2.0, 3.0])
    assert (found.median_s, found.iqr_s, found.min_s, found.num_samples) == (3.0, 2.0, 1.0, 5)
