"""Statistics of streams: each against a plain computation on the whole, whatever the parts it came in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_cache import TimeToLive

from sim.traffic.reuse import LeastRecentlyUsed, Unlimited
from sim.traffic.statistics.pairs import Pairs
from sim.traffic.statistics.prefixes import Prefixes
from sim.traffic.statistics.rates import Counts, Series, Spacing
from sim.traffic.statistics.seen import Labels
from sim.traffic.statistics.sessions import infer
from sim.traffic.statistics.shares import MAX_USERS, Shares, Users
from sim.traffic.statistics.values import ERROR_FRAC, Values

SHARES = (0.0, 0.01, 0.3, 0.5, 0.77, 0.999, 1.0)


def in_parts(seed, column):
    """A column in a few parts, none empty."""
    rng = np.random.default_rng(seed)
    return np.split(column, np.sort(rng.choice(np.arange(1, len(column)), size=min(4, len(column) - 1), replace=False)))


def filled(what, seed, *columns):
    """A statistic that has seen the columns part by part."""
    for part in zip(*(in_parts(seed, column) for column in columns), strict=True):
        what.add(*part)
    return what


@given(st.lists(st.integers(0, 3000), min_size=2, max_size=60), st.integers(0, 9))
def test_few_values_are_described_exactly(values, seed):
    found = filled(Values(), seed, np.array(values))
    assert found.is_exact
    assert np.allclose(found.quantiles(SHARES), np.quantile(values, SHARES))
    told = found.described("tokens")
    assert told["num"] == len(values)
    assert told["mean_tokens"] == pytest.approx(np.mean(values))
    assert told["std_tokens"] == pytest.approx(np.std(values), abs=1e-9)
    assert (told["min_tokens"], told["max_tokens"]) == (min(values), max(values))


def test_many_whole_numbers_below_4096_stay_exact():
    values = np.random.default_rng(1).integers(0, 4096, 20_000)
    found = filled(Values(exact_rows=5000, whole=True), 1, values)
    assert not found.is_exact
    assert np.array_equal(found.quantiles(SHARES), np.quantile(values, SHARES))


@pytest.mark.parametrize("whole", [False, True])
def test_many_values_are_within_the_stated_error(whole):
    values = np.random.default_rng(2).lognormal(3.0, 3.0, 50_000)
    values = np.floor(values) if whole else values
    found = filled(Values(exact_rows=100, whole=whole), 2, values)
    shares = np.linspace(0, 1, 400)
    ours = found.quantiles(shares.tolist())
    low, high = (np.quantile(values, shares, method=method) for method in ("lower", "higher"))
    assert (ours >= low * (1 - ERROR_FRAC)).all()
    assert (ours <= high * (1 + ERROR_FRAC)).all()
    assert (ours != np.quantile(values, shares)).any()
    assert found.mean == pytest.approx(values.mean(), rel=1e-12)
    assert found.deviation == pytest.approx(values.std(), rel=1e-9)


TIMES = st.lists(st.floats(0, 50), min_size=2, max_size=80).map(lambda times: np.sort(np.array(times)))


@given(TIMES, st.integers(0, 9), st.sampled_from([0.5, 1.0, 7.0, 100.0]))
def test_counts_by_window(times_s, seed, window_s):
    found = filled(Counts(window_s), seed, times_s)
    counts = np.bincount((times_s // window_s).astype(int))
    told = found.described(times_s[-1])
    full = counts[: int(times_s[-1] // window_s)]
    assert told["num_windows"] == len(full)
    for key, some in (("fano", full), ("fano_with_last", counts)):
        if len(some) > 1 and some.sum():
            assert told[key] == pytest.approx(some.var() / some.mean())
        else:
            assert told[key] is None
    if full.sum():
        assert told["peak_to_mean"] == pytest.approx(full.max() / full.mean())
        assert told["peak_per_s"] == pytest.approx(full.max() / window_s)
    # Who watched longer saw empty windows.
    longer = np.append(counts, np.zeros(3, dtype=int))
    told = found.described(window_s * len(longer))
    assert told["fano"] == pytest.approx(longer.var() / longer.mean())


@given(TIMES, st.integers(0, 9))
def test_spacing(times_s, seed):
    times_s = times_s * 60.0
    told = filled(Spacing(), seed, times_s).described()
    gaps_s = np.diff(times_s)
    if gaps_s.sum() > 0:
        assert told["cv"] == pytest.approx(gaps_s.std() / gaps_s.mean())
    assert told["equal_frac"] == np.mean(gaps_s == 0)
    expected = []
    for k in range(6):
        inside = np.diff(times_s[(times_s >= 600 * k) & (times_s < 600 * (k + 1))])
        if len(inside) > 1 and inside.sum() > 0:
            expected.append(inside.std() / inside.mean())
    assert told["cv_by_10min"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("cv", "seed"), [(1.0, 3), (2.0, 4)])
def test_a_renewal_process_has_its_own_dispersion(cv, seed):
    # Over long windows the index of dispersion of counts of a renewal process is the squared CV of its spacings.
    shape = cv**-2.0
    times_s = np.cumsum(np.random.default_rng(seed).gamma(shape, 1.0 / (50.0 * shape), 400_000))
    spacing, counts = filled(Spacing(), 1, times_s).described(), filled(Counts(10.0), 1, times_s).described(times_s[-1])
    assert spacing["cv"] == pytest.approx(cv, rel=0.02)
    # The standard error of a variance of n normal counts is sqrt(2 / n); four of them.
    assert counts["fano"] == pytest.approx(cv**2, rel=4 * np.sqrt(2 / counts["num_windows"]) + 0.01)


def test_a_series_doubles_its_bins():
    times_s = np.sort(np.random.default_rng(5).uniform(0, 100_000, 5000))
    group = np.random.default_rng(6).integers(0, 3, 5000)
    series = Series()
    for begin in range(0, 5000, 700):
        series.add(times_s[begin : begin + 700], group[begin : begin + 700], 3)
    told = series.rates(("a", "b", "c"), 100_000.0)
    width_s = told["width_s"]
    assert width_s == 80.0
    for code, name in enumerate("abc"):
        counts = np.bincount((times_s[group == code] // width_s).astype(int), minlength=1250)
        assert np.allclose(np.array(told["by_name"][name]) * width_s, counts)


def test_rank_correlation():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(7)
    a = rng.integers(0, 50, 3000)
    b = a + rng.integers(0, 80, 3000)
    pairs = filled(Pairs(), 1, a, b)
    assert pairs.num == 3000
    assert pairs.spearman() == pytest.approx(spearmanr(a, b).statistic)
    thinned = Pairs(room=500)
    for begin in range(0, 3000, 170):
        thinned.add(a[begin : begin + 170], b[begin : begin + 170])
    assert thinned.num == 375
    assert thinned.spearman() == pytest.approx(spearmanr(a[::8], b[::8]).statistic)
    assert Pairs().spearman() is None


def test_rank_correlation_of_a_constant_does_not_exist():
    assert filled(Pairs(), 1, np.ones(9), np.arange(9)).spearman() is None


# Prompts as paths in a tree: a block says all before it.
PROMPTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=40)


def blocks(path):
    return [hash(tuple(path[: end + 1])) for end in range(len(path))]


@settings(deadline=None)
@given(PROMPTS, st.lists(st.integers(0, 40), min_size=40, max_size=40))
def test_reuse_is_that_of_each_cache_by_itself(prompts, waits_s):
    ttl_s, sizes = (5.0, 60.0), (3, 10)
    found = Prefixes(10, ttl_s, sizes)
    caches = [*map(TimeToLive, ttl_s), Unlimited(), *map(LeastRecentlyUsed, sizes)]
    hits, tokens, times_s = [0] * len(caches), [0] * len(caches), np.cumsum(waits_s).astype(float)
    for path, t_s in zip(prompts, times_s, strict=False):
        long = 10 * len(path) - 3
        found.add(float(t_s), long, blocks(path))
        for at, cache in enumerate(caches):
            timed = isinstance(cache, TimeToLive)
            hit = cache.use(float(t_s), blocks(path)) if timed else cache.use(blocks(path))
            hits[at] += hit
            tokens[at] += min(10 * hit, long)
    told = found.described()
    rows = [*told["by_ttl"], told["unlimited"], *told["by_cache_size"]]
    num_blocks = sum(map(len, prompts))
    assert [row["block_frac"] for row in rows] == pytest.approx([hit / num_blocks for hit in hits])
    assert [row["token_frac"] for row in rows] == pytest.approx(
        [part / (10 * num_blocks - 3 * len(prompts)) for part in tokens]
    )
    assert told["num_distinct_blocks"] == len({block for path in prompts for block in blocks(path)})


def test_cache_sizes_are_told_for_all_requests():
    found = Prefixes(10, (), (100,))
    found.add(0.0, 10, [1])
    assert found.described(sample_frac=0.1)["by_cache_size"][0]["cache_tokens"] == 10_000


def test_sessions_go_by_the_deepest_block():
    system = 7
    prompts = [[system, 1], [system, 2], [system, 1, 11], [system, 2, 21], [system, 1, 11, 12], [system, 3]]
    prompts += [[system, 1000 + k] for k in range(20)]  # the system prompt is used by more than 20
    found = infer(prompts)
    assert found.parent[:6].tolist() == [-1, -1, 0, 1, 2, -1]
    assert found.session[:6].tolist() == [0, 1, 0, 1, 0, 2]
    assert np.sort(found.turns).tolist() == [1] * 21 + [2, 3]


def test_shares_by_name():
    shares, prompt, output = Shares(), np.array([10, 20, 30]), np.array([1, 2, 3])
    shares.add(Labels(np.array([0, 0, 0]), ["a"]), prompt, output)
    shares.add(Labels(np.array([1, 0, 1]), ["a", "b", "c"]), prompt, output)
    told = shares.described()
    assert set(told) == {"a", "b"}
    assert told["a"]["num_requests"] == 4
    assert told["b"]["prompt_token_frac"] == pytest.approx(40 / 120)
    assert sum(each["output_token_frac"] for each in told.values()) == pytest.approx(1.0)
    assert told["b"]["mean_output_tokens"] == 2.0


@given(st.lists(st.integers(0, 4), min_size=2, max_size=120), st.integers(0, 9))
def test_users(who, seed):
    user = np.array(who)
    times_s = np.cumsum(np.random.default_rng(seed).exponential(1.0, len(who)))
    told = filled(Users(), seed, user, times_s).described()
    num = np.bincount(user)
    num = np.sort(num[num > 0])[::-1]
    assert (told["num_users"], told["max_requests"]) == (len(num), num[0])
    assert told["top_1_frac"] == pytest.approx(num[0] / num.sum())
    assert told["ln_requests_std"] == pytest.approx(np.log(num).std(), abs=1e-9)
    cvs = []
    for each in np.unique(user):
        gaps_s = np.diff(times_s[user == each])
        if len(gaps_s) >= 9:
            cvs.append(gaps_s.std() / gaps_s.mean())
    if cvs:
        assert min(cvs) - 1e-6 <= told["p50_cv"] <= told["p90_cv"] <= max(cvs) + 1e-6
    else:
        assert "p50_cv" not in told


def test_users_beyond_the_bound_are_left_out():
    users = Users()
    users.add(np.array([1, MAX_USERS, 1]), np.arange(3.0))
    assert users.described()["num_users"] == 1
    nobody = Users()
    nobody.add(np.array([MAX_USERS]), np.zeros(1))
    assert nobody.described() is None
