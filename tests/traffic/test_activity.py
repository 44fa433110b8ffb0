"""Users' activity: exact means, the share who come, and Poisson counts."""

import numpy as np
import pytest
from scipy import special

from sim.errors import SpecError
from sim.traffic.activity import LEVELS, Activity, levels

FRAC, RATE = [0.9, 0.1], [0.5, 2.0]
USERS = np.arange(400_000, dtype=np.uint64)
DAY = np.uint64(4096)


@pytest.fixture(scope="module")
def activity():
    return Activity.fitted(FRAC, RATE, 0.25)


@pytest.mark.parametrize("sigma", [0.0, 0.5, 1.7, 4.0])
def test_levels_are_those_of_a_lognormal_with_mean_one(sigma):
    level = levels(sigma)
    assert level.mean() == pytest.approx(1.0, rel=1e-9)
    assert np.all(np.diff(level) >= -1e-12)
    middle = np.exp(-0.5 * sigma**2)
    assert level[LEVELS // 2] == pytest.approx(middle, rel=0.01)


def test_the_wanted_share_comes(activity):
    assert activity.active_frac == pytest.approx(0.25, rel=1e-9)
    # Checked against the integral over the lognormal itself, not its levels.
    z = special.ndtri((np.arange(200_000) + 0.5) / 200_000)
    level = np.exp(activity.sigma * z - 0.5 * activity.sigma**2)
    idle = sum(f * np.exp(-r * level).mean() for f, r in zip(FRAC, RATE, strict=True))
    assert 1 - idle == pytest.approx(0.25, abs=1e-3)


def test_counts_are_poisson_given_tier_and_level(activity):
    tables = activity.tables()
    come, counts = tables.conversations(1, USERS, DAY)
    number = np.zeros(len(USERS))
    number[come.astype(int)] = counts
    tier = activity.tier(1, USERS)
    assert abs((tier == 1).mean() - 0.1) < 4 * np.sqrt(0.09 / len(USERS))
    for index, rate in enumerate(RATE):
        mine = number[tier == index]
        assert abs(mine.mean() - rate) < 4 * mine.std() / np.sqrt(len(mine))
        for n in range(6):
            share = special.pdtr(n, rate * levels(activity.sigma)).mean()
            got = (mine <= n).mean()
            assert abs(got - share) < 4 * np.sqrt(share * (1 - share) / len(mine))


def test_people_keep_their_habits_from_day_to_day(activity):
    tables = activity.tables()
    number = np.zeros((2, len(USERS)))
    for day in range(2):
        come, counts = tables.conversations(1, USERS, DAY + np.uint64(day))
        number[day, come.astype(int)] = counts
    mean = number.mean()
    # Var(E[n | user]) = E[(rate * level)^2] - mean^2: what two days have in common.
    second = np.mean([(r * levels(activity.sigma)) ** 2 for r in RATE], axis=1) @ FRAC
    product = number[0] * number[1]
    assert abs(product.mean() - second) < 4 * product.std() / np.sqrt(len(USERS))
    assert product.mean() > 3 * mean**2


def test_shares_out_of_reach_are_refused():
    with pytest.raises(SpecError, match=r"by \S+ to 0\.441 of the users"):
        Activity.fitted(FRAC, RATE, 0.5)
    with pytest.raises(SpecError, match="daily_active_frac"):
        Activity.fitted(FRAC, RATE, 1e-6)
