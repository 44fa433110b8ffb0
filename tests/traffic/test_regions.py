"""Regions, languages, weeks and crowds: what is generated is what is expected, and nothing moves what it need not.

Sums are compared within four standard errors over users, of whom there are so many that they are normal: a false alarm
has 6e-5 a comparison, and there are about 400 here. Seeds are fixed.
"""

import numpy as np
import pytest

from sim import catalog
from sim.errors import SpecError
from sim.lifecycle.tokenizers import length_factors, tokenizer_of
from sim.traffic import build
from sim.traffic.lengths import table_mean
from sim.traffic.unfold import unfold

USERS = 60_000
REGIONS = {
    "west": {"user_frac": 0.5, "utc_offset_h": -6, "languages": {"English": 0.7, "Spanish": 0.3}},
    "east": {"user_frac": 0.3, "utc_offset_h": 5.5, "languages": {"Hindi": 0.6, "English": 0.4}},
    "far": {"user_frac": 0.2, "utc_offset_h": 12, "weekend_frac": 0.3, "languages": {"Japanese": 1}},
}
BASE = {
    "kind": "population",
    "monthly_users": USERS,
    "curve": "one-region",
    "regions": REGIONS,
    "weekend_frac": 0.6,
    "start_weekday": "thursday",
}


def arrivals(source):
    return np.concatenate([chunk.rows for chunk in source.chunks()])


def keys(rows):
    return set(zip(rows["user"].tolist(), rows["conversation"].tolist(), strict=True))


def keyed(rows):
    return rows[np.lexsort((rows["conversation"], rows["user"]))]


@pytest.fixture
def people(scenario):
    """A function that builds the base population with changes of its traffic."""

    def make(horizon="24 h", run_in="6 h", seed=1, report_interval="15 min", **changes):
        return build(
            scenario(
                report_interval=report_interval,
                traffic=BASE | changes,
                horizon=horizon,
                run_in=run_in,
                seed=seed,
                model="llama-3.1-8b",
                fleet__pools__main__model="llama-3.1-8b",
            )
        )

    return make


def region_of(source, users):
    return source.people.region(users.astype(np.uint64))


def requests_of(source, seed=1, horizon_s=86400.0):
    """All requests that come in [0, horizon)."""
    rows = np.concatenate([block.rows for block in unfold(source, seed, horizon_s=horizon_s)])
    return rows[rows["t_s"] >= 0]


def by_user(users, weights=None):
    return np.bincount(users, weights, minlength=USERS)


def test_people_live_and_speak_where_and_what_they_should(people, within):
    source = people()
    users = np.arange(USERS)
    region = region_of(source, users)
    language = source.people.language(users.astype(np.uint64), region)
    assert source.languages == ("English", "Spanish", "Hindi", "Japanese")
    for at, given in enumerate(REGIONS.values()):
        within(region == at, given["user_frac"] * USERS)
        for code, name in enumerate(source.languages):
            here = language[region == at] == code
            if 0.0 < (share := given["languages"].get(name, 0.0)) < 1.0:
                within(here, share * len(here))
            else:
                assert here.sum() == share * len(here)
    said = source.describe()["inputs"]["population"]["language_share"]
    assert said == pytest.approx({"English": 0.47, "Spanish": 0.15, "Hindi": 0.18, "Japanese": 0.2})
    rows = arrivals(source)
    assert np.array_equal(rows["language"], language[rows["user"]])


def test_each_region_keeps_its_own_hours(people, within):
    source = people()
    said, found = source.describe(), requests_of(source)
    hour = (found["t_s"] // 3600).astype(int)
    region = region_of(source, found["user"])
    humps = said["inputs"]["population"]["regions"]
    for at, entry in enumerate(humps):
        assert entry["name"] == list(REGIONS)[at]
        for h in range(24):
            within(by_user(found["user"][(region == at) & (hour == h)]), entry["hourly_requests"][h], f"{at}, {h}")
    total = np.sum([entry["hourly_requests"] for entry in humps], axis=0)
    assert total.sum() == pytest.approx(said["requests"], rel=1e-9)
    assert said["hourly_curve"] == pytest.approx(total / total.mean())
    assert said["requests"] == pytest.approx(USERS * 0.25 * 8, rel=1e-9)
    # The local curve's highest hour is 12 to 13: 18 UTC in the west, 7 in the east, 0 far away.
    peaks = [int(np.argmax(entry["hourly_requests"])) for entry in humps]
    assert (peaks[0], peaks[2]) == (18, 0)
    assert peaks[1] in (6, 7)


@pytest.mark.parametrize("run_in", [0, "30 h"])
def test_rows_are_in_order_and_each_comes_once(people, run_in):
    source = people(horizon="40 h", run_in=run_in, events=[{"kind": "launch", "at": "9 h", "peak_factor": 4}])
    rows = arrivals(source)
    assert np.all(np.diff(rows["t_s"]) >= 0)
    assert len(keys(rows)) == len(rows)
    assert rows["t_s"][0] >= (-108_000 if run_in else 0)
    assert rows["t_s"][-1] < 144_000
    assert np.array_equal(np.rint(rows["t_s"] * 1e9) / 1e9, rows["t_s"])


def test_a_longer_run_only_adds(people):
    growth = {"growth_per_month": 0.5, "events": [{"kind": "launch", "at": "9 h", "peak_factor": 4}]}
    day = arrivals(people(run_in=0, **growth))
    longer = arrivals(people(horizon="4 d", run_in="2 d", **growth))
    inside = longer[(longer["t_s"] >= 0) & (longer["t_s"] < 86400)]
    assert np.array_equal(day, inside)


def test_a_quieter_day_only_takes_away(people):
    usual = arrivals(people(run_in=0))
    for changes, factor in (({"season_frac": 0.5}, 0.5), ({"weekend_frac": 0.1, "start_weekday": "saturday"}, None)):
        quiet = arrivals(people(run_in=0, **changes))
        assert len(quiet) < 0.8 * len(usual)
        kept = np.isin(usual[["user", "conversation"]], quiet[["user", "conversation"]])
        assert np.array_equal(keyed(usual[kept]), keyed(quiet))
        if factor is not None:
            counts = by_user(quiet["user"]) - factor * by_user(usual["user"])
            assert abs(counts.sum()) < 4 * counts.std() * np.sqrt(USERS)


def test_a_launch_only_adds(people, within):
    launch = {"kind": "launch", "at": "15 h", "peak_factor": 5, "rise": "30 min", "decay": "2 h"}
    usual, more = people(), people(events=[launch])
    before, after = arrivals(usual), arrivals(more)
    extra = ~np.isin(after[["user", "conversation"]], before[["user", "conversation"]])
    assert np.array_equal(after[~extra], before)
    assert after["t_s"][extra].min() >= 15 * 3600
    said = [source.describe()["conversations"] for source in (usual, more)]
    within(by_user(after["user"][extra]), said[1] - said[0], "extra conversations")
    # They come in every region, at its own hour's height.
    in_hour = after["t_s"][extra] // 3600 == 16
    base = before["t_s"] // 3600 == 16
    for at in range(3):
        ratio = np.sum(region_of(more, after["user"][extra][in_hour]) == at)
        there = np.sum(region_of(more, before["user"][base]) == at)
        # From 30 to 90 minutes after the rise began the crowd falls from 4 to 4 exp(-1/2) times the usual rate.
        mean = 4 * 2 * (np.exp(0) - np.exp(-0.5)) if there else 0
        assert abs(ratio - mean * there) < 4 * np.sqrt((1 + 4 * mean) * mean * there) + 0.15 * ratio


def test_two_weeks_have_their_weekends_growth_season_and_launch(people, within):
    seed = 3
    launch = {"kind": "launch", "at": "200 h", "peak_factor": 3, "rise": "1 h", "decay": "4 h"}
    source = people(
        horizon="14 d", seed=seed, season_frac=0.8, growth_per_month=0.6, events=[launch], monthly_users=20_000
    )
    found, regions = requests_of(source, seed, 14 * 86400.0), list(REGIONS.values())
    region = region_of(source, found["user"])
    said = source.describe()
    within(by_user(found["user"]), said["requests"], "requests")
    offset_h = np.array([given["utc_offset_h"] for given in regions])
    day = ((found["t_s"] / 3600 + offset_h[region]) // 24).astype(int)
    hour = (found["t_s"] // 3600).astype(int)
    weekend = (day + 3) % 7 >= 5
    crowded = (hour >= 199) & (hour < 199 + 48)  # and as long as its conversations last
    growth = 1.6 ** (np.arange(-1, 16) / (365.25 / 12))
    for at, given in enumerate(regions):
        here = region == at
        # Days that lie wholly inside, and are not the crowd's: nothing else differs between them.
        first, last = (1 if offset_h[at] > 0 else 0), (13 if offset_h[at] < 0 else 14)
        days = [d for d in range(first, last) if not crowded[here & (day == d)].any()]
        usual = given["user_frac"] * 20_000 * 0.25 * 8 * 0.8
        off = given.get("weekend_frac", 0.6)
        for want_weekend in (False, True):
            chosen = [d for d in days if ((d + 3) % 7 >= 5) == want_weekend]
            due = sum(usual * growth[d + 1] * (off if want_weekend else 1.0) for d in chosen)
            rows = found["user"][here & np.isin(day, chosen)]
            # Conversations that go on past midnight, or stem from the day before, are a few in a hundred of a day's;
            # only where a weekend begins or ends do they not make up for each other.
            edges = 0.03 * usual * abs(1.0 - off) * len(chosen)
            counts = by_user(rows)
            assert abs(counts.sum() - due) < 4 * counts.std() * np.sqrt(USERS) + edges, (at, want_weekend)
    assert weekend.any()
    # The launch's own: what comes on its two days beyond what would have come.
    without = people(horizon="14 d", seed=seed, season_frac=0.8, growth_per_month=0.6, monthly_users=20_000).describe()
    rest = requests_of(
        people(horizon="14 d", seed=seed, season_frac=0.8, growth_per_month=0.6, monthly_users=20_000),
        seed,
        14 * 86400.0,
    )
    within(by_user(found["user"]) - by_user(rest["user"]), said["requests"] - without["requests"], "launch")


def test_texts_are_as_long_as_their_language_makes_them(people, within):
    source = people()
    kind, tokenizer = source.classes[0], tokenizer_of(catalog.load_model("llama-3.1-8b"))
    assert kind.length_factor.tolist() == [each.value for each in length_factors(source.languages, tokenizer)]
    assert kind.length_factor[2] > kind.length_factor[1] > kind.length_factor[0]
    rows = arrivals(source)
    for code, factor in enumerate(kind.length_factor):
        mine = rows[rows["language"] == code]
        for column, table in (("user_tokens", kind.user_tokens), ("output_tokens", kind.output_tokens)):
            within(mine[column] - table_mean(factor * table), 0.0, f"{column} in {source.languages[code]}")
    # All requests, prompts with their histories too, as described.
    said, found = source.describe(), requests_of(source)
    for column in ("prompt_tokens", "output_tokens"):
        within(by_user(found["user"], found[column]), said[column], column)
    for at, entry in enumerate(said["by_class"].values()):
        mine = found[found["class_id"] == at]
        within(by_user(mine["user"], mine["user_tokens"] - entry["mean_user_tokens"]), 0.0, "user tokens")


def test_languages_leave_all_else_alone(people):
    told = arrivals(people())
    plain = {name: {k: v for k, v in each.items() if k != "languages"} for name, each in REGIONS.items()}
    untold = people(regions=plain)
    assert untold.languages == ("all",)
    assert untold.classes[0].length_factor is None
    rows = arrivals(untold)
    names = ["t_s", "user", "conversation", "num_turns", "class_id", "bucket"]
    assert np.array_equal(told[names], rows[names])
    assert not rows["language"].any()
    english = {name: each | {"languages": {"English": 1}} for name, each in REGIONS.items()}
    assert set(arrivals(people(regions=english))["language"]) == {0}


def test_one_region_in_utc_is_no_regions(scenario):
    base = {"kind": "population", "monthly_users": 20_000}
    whole = build(scenario(traffic=base | {"regions": {"all": {"user_frac": 1, "utc_offset_h": 0}}}))
    assert np.array_equal(arrivals(build(scenario(traffic=base))), arrivals(whole))


def test_an_unknown_language_is_told_once(people):
    with pytest.raises(SpecError) as caught:
        people(regions={}, languages={"Hindu": 0.5, "English": 0.5})
    (problem,) = caught.value.problems
    assert problem.path == "traffic.languages"
    assert problem.message == "no language Hindu. Did you mean Hindi?"


def test_an_unknown_language_is_told_where_it_stands(people):
    east = {"user_frac": 0.5, "utc_offset_h": 8, "languages": {"Hindu": 1.0}}
    west = {"user_frac": 0.5, "utc_offset_h": 0, "languages": {"English": 1.0}}
    with pytest.raises(SpecError) as caught:
        people(regions={"east": east, "west": west}, languages={"Frensh": 1.0})
    told = {problem.path: problem.message for problem in caught.value.problems}
    assert told["traffic.languages"] == "no language Frensh. Did you mean French?"
    assert told["traffic.regions.east.languages"] == "no language Hindu. Did you mean Hindi?"
    assert len(told) == 2


def test_a_horizon_beyond_the_numbers_of_days_is_refused(people):
    with pytest.raises(SpecError, match="a population's days have numbers up to 28671, got 3e"):
        people(horizon="30000 d", report_interval="1 d", monthly_users=1000)


def test_a_crowd_of_more_conversations_than_have_numbers_is_refused(people):
    with pytest.raises(SpecError, match=r"4096 that have numbers; lower .* or what makes days busier"):
        people(events=[{"kind": "launch", "at": 0, "peak_factor": 100}])
    with pytest.raises(SpecError, match="4096 that have numbers"):
        people(horizon="600 d", growth_per_month=0.5, monthly_users=10)
