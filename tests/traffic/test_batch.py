"""Batch jobs: released within a day, along the trough, as many as described.

Four standard errors over jobs: a false alarm has 6e-5 a comparison, about 60 here; seeds are fixed.
"""

import numpy as np
import pytest

from sim.errors import SpecError
from sim.traffic import build
from sim.traffic.arrivals import FIRST_PROGRAM, MAX_CHUNK_ROWS
from sim.traffic.batch import trough, window
from sim.traffic.daily import MINUTES, DailyRate
from sim.traffic.lengths import table_mean

BATCH = {"workload": "api-service", "tier": "api", "tokens_per_chat_token": 0.5, "jobs_per_day": 3000}
BASE = {"kind": "population", "monthly_users": 400_000, "batch": BATCH}


@pytest.fixture
def jobs(scenario):
    """A function that builds the people and the batch source beside them."""

    def make(run_in="0 h", horizon="24 h", **changes):
        both = build(scenario(traffic=BASE | {"batch": BATCH | changes}, run_in=run_in, horizon=horizon))
        return both.sources

    return make


def arrivals(source):
    return np.concatenate([chunk.rows for chunk in source.chunks()])


def test_the_trough_is_where_people_fall_short_of_their_mean():
    rate = DailyRate(np.repeat(np.linspace(0.5, 1.5, 24), 60))
    filled = trough(rate)
    assert filled.by_minute.mean() == pytest.approx(1.0)
    assert not filled.by_minute[rate.by_minute >= 1].any()
    assert filled.by_minute[0] / filled.by_minute[600] == pytest.approx(0.5 / (1 - rate.by_minute[600]))
    assert np.array_equal(trough(DailyRate(np.full(MINUTES, 2.0))).by_minute, np.ones(MINUTES))


@pytest.mark.parametrize(("begin", "end"), [(3600.0, 7200.0), (79_200.0, 21_600.0), (30.0, 90.0), (5.0, 0.0)])
def test_a_window_is_even_and_may_pass_midnight(begin, end):
    rate = window(begin, end)
    length = (end - begin) % 86400.0
    assert rate.by_minute.mean() == pytest.approx(1.0)
    inside = rate.by_minute > 0
    assert rate.by_minute.max() == pytest.approx(86400.0 / max(length, 60.0), rel=0.51)
    assert abs(inside.sum() - length / 60) < 2
    assert rate.by_minute[int(begin // 60)] > 0
    assert rate.by_minute[int(end // 60)] == 0 or end % 60 or end // 60 == begin // 60


def test_jobs_are_as_many_and_as_large_as_described(jobs, within):
    people, batch = jobs()
    said, rows = batch.describe(), arrivals(batch)
    chat = people.describe()
    tokens = [entry["prompt_tokens"] + entry["output_tokens"] for entry in (said, chat)]
    assert tokens[0] == pytest.approx(0.5 * tokens[1], rel=1e-6)
    inputs = said["inputs"]["batch"]
    assert inputs["jobs_per_day"] == 3000
    assert inputs["requests_per_job"] * 3000 == pytest.approx(said["conversations"])
    assert inputs["requests_per_job"] == pytest.approx(table_mean(batch.size))
    job, first = rows["user"] - 3 * FIRST_PROGRAM, 3 * FIRST_PROGRAM
    assert rows["user"].min() >= first
    counts = np.bincount(job)
    # Jobs come as a Poisson process, so a sum over them has the variance of the sum of squares.
    assert abs(len(rows) - said["requests"]) < 4 * np.sqrt((counts.astype(float) ** 2).sum())
    for column in ("user_tokens", "output_tokens"):
        within(rows[column] - said[f"mean_{column}"], 0.0, column)
    hour = (rows["t_s"] // 3600).astype(int)
    for h in range(24):
        mine = np.bincount(job[hour == h], minlength=len(counts)).astype(float)
        due = said["requests"] * said["hourly_curve"][h] / 24
        assert abs(mine.sum() - due) <= 4 * np.sqrt((mine**2).sum()), h
    # Nothing goes out where people are above their mean.
    busy = people.messages.by_minute > people.messages.by_minute.mean()
    assert not busy[(rows["t_s"] // 60).astype(int)].any()


@pytest.mark.parametrize("changes", [{}, {"release_from": "22 h", "release_until": "4 h"}])
def test_each_job_is_whole_paced_and_done_within_a_day(jobs, changes):
    _, batch = jobs(horizon="4 d", job_size_sigma=1.0, **changes)
    rows = arrivals(batch)
    handed_in = np.concatenate([more for _, more in batch._jobs()])
    job = rows["user"] - 3 * FIRST_PROGRAM
    delay_s = rows["t_s"] - handed_in["handed_in_s"][job]
    assert np.all(handed_in["job"] == np.arange(len(handed_in)) + 3 * FIRST_PROGRAM)
    assert delay_s.min() >= -1e-9
    assert delay_s.max() < 86400.0
    inside = np.flatnonzero((handed_in["handed_in_s"] >= 0) & (handed_in["handed_in_s"] < 3 * 86400.0))
    counts = np.bincount(job, minlength=len(handed_in))
    assert np.array_equal(counts[inside], handed_in["size"][inside])
    mine = rows[job == inside[0]]
    assert np.array_equal(mine["conversation"], np.arange(len(mine)))
    # Evenly along the curve: request i goes out in the i-th of n equal parts of a day's releases.
    volume = batch._volume(mine["t_s"]) - handed_in["volume"][inside[0]]
    part = (volume - (np.arange(len(mine)) + 0.5) / len(mine)) * len(mine)
    assert np.abs(part).max() <= 0.5 + 1e-3
    if changes:
        hour = rows["t_s"] % 86400.0 / 3600
        assert np.all((hour >= 22) | (hour < 4))


def test_rows_are_in_order_once_and_a_longer_run_only_adds(jobs):
    short, longer = (arrivals(jobs(horizon=horizon)[1]) for horizon in ("20 h", "3 d"))
    assert np.array_equal(short, longer[longer["t_s"] < 72_000])
    assert np.all(np.diff(longer["t_s"]) >= 0)
    assert len(np.unique(longer[["user", "conversation"]])) == len(longer)
    assert np.array_equal(np.rint(longer["t_s"] * 1e9) / 1e9, longer["t_s"])
    for chunk in jobs()[1].chunks():
        assert 0 < len(chunk.rows) <= MAX_CHUNK_ROWS
        assert np.all(chunk.rows["bucket"] == 0)


def test_jobs_leave_people_alone_and_have_one_bucket(scenario):
    alone = build(scenario(traffic=BASE | {"batch": None}))
    beside = build(scenario(traffic=BASE))
    rows = arrivals(beside)
    assert np.array_equal(arrivals(alone), rows[rows["user"] < FIRST_PROGRAM])
    assert beside.classes[-1].name == "api/batch"
    assert beside.buckets["capacity"].tolist() == [50.0, 5.0]


def test_jobs_without_a_request_are_refused(scenario):
    few = {"batch": BATCH | {"jobs_per_day": 1e6}}
    with pytest.raises(SpecError, match=r"jobs_per_day: 0.* requests a job, must be >= 1"):
        build(scenario(traffic=BASE | few))
