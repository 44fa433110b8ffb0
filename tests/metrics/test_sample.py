import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from synthetic import bits

from sim.metrics.sample import LargestRows, Rows, StratifiedSample, fair_share

RECORD = np.dtype([("id", "i8"), ("value", "f8")])


def rows(num, num_strata, seed=0):
    draw = np.random.default_rng(seed)
    records = np.zeros(num, RECORD)
    records["id"] = np.arange(num)
    records["value"] = draw.lognormal(size=num)
    stratum = draw.choice(num_strata, num, p=np.arange(1, num_strata + 1) / sum(range(1, num_strata + 1)))
    entity = np.arange(num, dtype=np.uint64)
    return Rows.of(records, stratum, bits(entity, entity, entity))


def ids(kept):
    return sorted(kept.records["id"].tolist())


@given(st.lists(st.integers(0, 500), min_size=1, max_size=20), st.integers(0, 2000))
def test_a_fair_share_is_the_largest_that_fits(population, capacity):
    population = np.array(population)
    share = fair_share(population, capacity)
    assert np.minimum(population, share).sum() <= capacity
    if share < population.max():
        assert np.minimum(population, share + 1).sum() > capacity


@given(st.integers(0, 3000), st.integers(1, 5), st.sampled_from([10, 100, 5000]), st.sampled_from([1, 7, 300]))
def test_the_sample_is_the_smallest_hashes_however_the_rows_come(num, num_strata, capacity, chunk):
    given_rows = rows(num, num_strata)
    sample = StratifiedSample(RECORD, num_strata, capacity)
    order = np.random.default_rng(1).permutation(num)
    for start in range(0, num, chunk * 50):
        sample.add(given_rows.take(order[start : start + chunk * 50]))
    kept, weight = sample.finish()

    population = np.bincount(given_rows.stratum, minlength=num_strata)
    share = fair_share(population, max(capacity, num_strata))
    expected = []
    for s in range(num_strata):
        inside = np.flatnonzero(given_rows.stratum == s)
        expected += inside[np.argsort(given_rows.bits[inside])][:share].tolist()
    assert ids(kept) == sorted(expected)
    assert np.allclose(np.bincount(kept.stratum, weights=weight, minlength=num_strata), population)


def test_weighted_sums_are_unbiased():
    num, repeats = 4000, 300
    truth = rows(num, 3).records["value"].sum()
    estimates = []
    for seed in range(repeats):
        given_rows = rows(num, 3)
        entity = np.arange(num, dtype=np.uint64)
        given_rows = given_rows._replace(bits=bits(entity, entity, np.full(num, seed, np.uint64)))
        sample = StratifiedSample(RECORD, 3, 300)
        sample.add(given_rows)
        kept, weight = sample.finish()
        estimates.append((kept.records["value"] * weight).sum())
    error = np.std(estimates, ddof=1) / np.sqrt(repeats)
    assert abs(np.mean(estimates) - truth) < 4 * error
    assert error < 0.01 * truth  # so that a bias of a few percent would be seen


@given(st.integers(0, 2000), st.sampled_from([0, 1, 50]), st.integers(1, 400), st.booleans())
def test_the_largest_are_kept_and_all_others_handed_back_once(num, capacity, chunk, ties):
    given_rows = rows(num, 2)
    values = np.floor(given_rows.records["value"]) if ties else given_rows.records["value"]
    largest = LargestRows(RECORD, capacity)
    back = []
    for start in range(0, num, chunk):
        which = np.arange(start, min(start + chunk, num))
        back += largest.add(values[which], given_rows.take(which))
    kept, evicted = largest.finish()
    expected = np.lexsort((given_rows.bits, -values))[:capacity]
    assert ids(kept) == sorted(expected.tolist())
    others = [i for part in [*back, evicted] for i in part.records["id"][part.where].tolist()]
    assert sorted(ids(kept) + others) == list(range(num))


def test_memory_stays_bounded():
    sample = StratifiedSample(RECORD, 2, 100)
    largest = LargestRows(RECORD, 50)
    for seed in range(60):
        some = rows(500, 2, seed)
        some = some._replace(bits=bits(some.bits, some.bits, np.full(500, seed, np.uint64)))
        for others in largest.add(some.records["value"], some):
            sample.add(others)
        assert sample._num_held <= 2 * 100 + 500
        assert largest._num_held <= 2 * 50 + 500
