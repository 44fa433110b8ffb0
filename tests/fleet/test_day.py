"""A day of meridian-1 against what its own source expects of it (`result["sim"]["expected"]`).

Every comparison is made within four standard errors, of these sources:

* People: what a user does is not independent of itself (a user holds several conversations, each of several messages,
  and use is heavy-tailed), so users are the units. The error of a sum is the root of the summed squares of the users'
  residuals, taken from the run; that of a mean per message comes from residuals X - mean x messages (the ratio
  estimate). At full scale the same squares for each message are taken from the small day.
* The API: counts of stationary renewal processes, one a client, of known rate and burstiness; see `count_variance`.
* Tokens of API requests: each request is drawn by itself, so requests are the units.
"""

import numpy as np
import pytest
from recorder import Recorder
from scipy import special

import sim
from sim import catalog
from sim.metrics.records import COMPLETED
from sim.traffic import draws
from sim.traffic.arrivals import FIRST_PROGRAM
from sim.traffic.clients import client_shares
from sim.traffic.lengths import weibull_shape

PEOPLE = ("free", "plus", "pro")
API = "api/api"
# The longest conversations last some hours: so long before t = 0 must begin what sends messages after it.
RUN_IN = {"run_in": "6 h"}
# Nothing blocked, nobody leaves: every answer enters its conversation's history.
PATIENT = {f"tiers.{tier}.patience": None for tier in PEOPLE}
HOURS = 24


class Day:
    """A day, its records of people summed by user, and what its source expects."""

    def __init__(self, *override, **changes):
        self.scenario = sim.load("meridian-1", override=[*override[:1], "plain", *override[1:]], set=RUN_IN | changes)
        recorder = Recorder(self.scenario)
        self.result, self.records = recorder.result, recorder.measured
        self.expected = self.result["sim"]["expected"]
        self.people = recorder.built.source.sources[0].people
        self.classes = [kind.name for kind in recorder.built.source.classes]
        self.num_users = self.scenario.traffic.monthly_users

    def of(self, name):
        """The records of a class."""
        return self.records[self.records["class_id"] == self.classes.index(name)]

    def chat(self):
        """The records of people."""
        return self.records[self.records["user"] < FIRST_PROGRAM]

    def by_user(self, rows, values=None):
        """Sum of values (default: number of rows) of each user."""
        return np.bincount(rows["user"], values, self.num_users)


def spread(by_unit):
    """Standard error of a sum of independent, equally distributed units."""
    return np.sqrt(((by_unit - by_unit.mean()) ** 2).sum())


def third_moment(cv, weibull):
    """Third central moment of gaps of mean 1: of gamma ones 2 cv^4, of Weibull ones from its moments Gamma(1 + n/k)."""
    shape = np.array([weibull_shape(each) for each in cv])
    first, second, third = (special.gamma(1.0 + n / shape) for n in (1, 2, 3))
    return np.where(weibull, third / first**3 - 3.0 * second / first**2 + 2.0, 2.0 * cv**4)


def count_variance(mean, cv, weibull):
    """Variance of the number of renewals in a window, where `mean` are expected.

    In a stationary process it grows towards cv^2 mean + 1/6 + cv^4/2 - mu_3/3 for gaps of mean 1 (Cox, Renewal Theory,
    1962, section 4.5). It lies above this line and above `mean` for cv > 1, below both for cv < 1. The nearer is taken,
    so a bursty client's variance is never overstated.
    """
    line = cv**2 * mean + 1.0 / 6.0 + cv**4 / 2.0 - third_moment(cv, weibull) / 3.0
    return np.where(cv > 1.0, np.maximum(mean, line), np.minimum(mean, line))


def api_variance(scenario, expected, requests):
    """Variance of the number of API requests in a window in which so many are expected."""
    api, seed = scenario.traffic.api, scenario.seed
    clients = np.arange(api.num_clients, dtype=np.uint64) + np.uint64(FIRST_PROGRAM)
    key = draws.key(seed, draws.CLIENT_RATE)
    u, v = (draws.uniform(draws.bits(key, clients, np.uint64(n), np.uint64(0))) for n in (1, 2))
    levels = np.array(expected["inputs"]["api"]["burstiness_cv"])
    shares = client_shares(seed, FIRST_PROGRAM, api.num_clients, api.client_rate_sigma)
    cv = levels[(u * len(levels)).astype(int)]
    return float(count_variance(requests * shares, cv, v < api.weibull_frac).sum())


def api_hours(expected):
    """Expected API requests of each hour."""
    hourly = np.array(catalog.load_curve(catalog.load_workload("api-service").curve).hourly)
    return expected["by_class"][API]["requests"] * hourly / hourly.sum()


@pytest.fixture(scope="module")
def day():
    """A hundredth of the day, as it is."""
    return Day("small")


@pytest.fixture(scope="module")
def plain():
    """The same day without guard and with patient people."""
    return Day("small", "no-guard", **PATIENT)


# ------------------------------------------------------------------ counts


@pytest.mark.parametrize("tier", PEOPLE)
def test_messages_and_conversations_of_each_tier(day, tier):
    rows, expected = day.of(tier), day.expected["by_class"][tier]
    messages = day.by_user(rows)
    assert abs(messages.sum() - expected["requests"]) < 4 * spread(messages)
    starts = day.by_user(rows[rows["turn"] == 0])
    assert abs(starts.sum() - expected["conversations"]) < 4 * spread(starts)


def test_messages_in_all_are_users_times_share_times_use(day):
    traffic = day.scenario.traffic
    expected = traffic.monthly_users * traffic.daily_active_frac * traffic.messages_per_active_user_per_day
    assert sum(day.expected["by_class"][tier]["requests"] for tier in PEOPLE) == pytest.approx(expected, rel=1e-12)
    messages = day.by_user(day.chat())
    assert abs(messages.sum() - expected) < 4 * spread(messages)


def test_people_who_come(day):
    expected = day.expected["inputs"]["population"]["daily_active_users"]
    chat = day.chat()
    num = np.count_nonzero(day.by_user(chat[chat["turn"] == 0]))
    # Each user comes or does not: a binomial number.
    assert abs(num - expected) < 4 * np.sqrt(expected * (1 - expected / day.num_users))


def test_requests_of_the_api(day):
    expected = day.expected["by_class"][API]["requests"]
    assert abs(len(day.of(API)) - expected) < 4 * np.sqrt(api_variance(day.scenario, day.expected, expected))


def test_share_of_each_tier(day):
    chat, share = day.chat(), day.expected["tier_share"]
    messages, num_api = day.by_user(chat), len(day.of(API))
    total = len(day.records)
    api = api_variance(day.scenario, day.expected, day.expected["by_class"][API]["requests"])
    for tier in PEOPLE:
        own = day.by_user(day.of(tier))
        error = np.hypot(spread(own - share[tier] * messages), share[tier] * np.sqrt(api))
        assert abs(own.sum() - share[tier] * total) < 4 * error
    error = np.hypot((1 - share["api"]) * np.sqrt(api), share["api"] * spread(messages))
    assert abs(num_api - share["api"] * total) < 4 * error


def test_the_hourly_curve(day):
    expected = day.expected["requests"] * np.array(day.expected["hourly_curve"]) / HOURS
    chat, api = day.chat(), api_hours(day.expected)
    hour, hour_of_chat = ((rows["arrived_s"] // 3600).astype(int) for rows in (day.records, chat))
    for h in range(HOURS):
        people = spread(day.by_user(chat[hour_of_chat == h]))
        error = np.sqrt(people**2 + api_variance(day.scenario, day.expected, api[h]))
        assert abs(np.count_nonzero(hour == h) - expected[h]) < 4 * error, h


def test_each_region_has_its_humps(day):
    chat = day.chat()
    region = day.people.region(chat["user"].astype(np.uint64))
    hour = (chat["arrived_s"] // 3600).astype(int)
    given, wanted = day.scenario.traffic.regions, day.expected["inputs"]["population"]["regions"]
    assert [entry["name"] for entry in wanted] == list(given)
    for at, (name, entry) in enumerate(zip(given, wanted, strict=True)):
        for h in range(HOURS):
            messages = day.by_user(chat[(region == at) & (hour == h)])
            assert abs(messages.sum() - entry["hourly_requests"][h]) < 4 * spread(messages), (name, h)
    # The highest hour of all together is 1.5 of the mean.
    total = np.sum([entry["hourly_requests"] for entry in wanted], axis=0)
    assert total.max() / total.mean() == pytest.approx(1.5, abs=0.01)


def test_languages_are_spoken_in_their_shares(day):
    chat, result = day.chat(), day.result["sim"]["by_language"]
    shares = day.expected["inputs"]["population"]["language_share"]
    messages = day.by_user(chat)
    for code, (name, share) in enumerate(shares.items()):
        own = day.by_user(chat[chat["language"] == code])
        assert abs(own.sum() - share * messages.sum()) < 4 * spread(own - share * messages), name
        assert result[name]["num_requests"] == own.sum()


@pytest.mark.parametrize("tier", PEOPLE)
def test_turns_of_a_conversation(day, tier):
    rows, mean = day.of(tier), day.expected["by_class"][tier]["mean_turns"]
    residual = day.by_user(rows) - mean * day.by_user(rows[rows["turn"] == 0])
    assert abs(residual.sum()) < 4 * spread(residual)


# ------------------------------------------------------------------ tokens


@pytest.mark.parametrize("tier", PEOPLE)
def test_tokens_of_people(plain, tier):
    rows, expected = plain.of(tier), plain.expected["by_class"][tier]
    first = rows[rows["turn"] == 0]
    new_tokens = first["prompt_tokens"] - plain.scenario.tiers[tier].system_prompt_tokens
    for given, values, mean in (
        (first, new_tokens, expected["mean_user_tokens"]),
        (rows, rows["prompt_tokens"], expected["prompt_tokens"] / expected["requests"]),
        (rows, rows["requested_tokens"], expected["mean_output_tokens"]),
    ):
        residual = plain.by_user(given, values) - mean * plain.by_user(given)
        assert abs(residual.sum()) < 4 * spread(residual)


def test_tokens_of_the_api(plain):
    rows, expected = plain.of(API), plain.expected["by_class"][API]
    prefix = plain.scenario.tiers["api"].system_prompt_tokens
    for values, mean in (
        (rows["prompt_tokens"] - prefix, expected["mean_user_tokens"]),
        (rows["prompt_tokens"], expected["prompt_tokens"] / expected["requests"]),
        (rows["requested_tokens"], expected["mean_output_tokens"]),
    ):
        assert abs((values - mean).sum()) < 4 * spread(values)


def test_a_turn_without_an_answer_leaves_no_history(day, plain):
    # The same people send the same messages on both days; only the histories can differ.
    names = ["user", "conversation", "turn"]
    some, all_ = (np.sort(each.chat(), order=names) for each in (day, plain))
    keys = [rows[names].astype([(name, "i8") for name in names]).view("i8").reshape(-1, 3) for rows in (some, all_)]
    packed = [(key[:, 0] << 35) + ((key[:, 1] & 0xFFFFFF) << 11) + key[:, 2] for key in keys]
    _, at, there = np.intersect1d(*packed, assume_unique=True, return_indices=True)
    assert len(at) > 0.99 * len(some)
    some, all_ = some[at], all_[there]
    assert np.array_equal(some["requested_tokens"], all_["requested_tokens"])
    # Did every earlier turn that was measured get its answer?
    starts = np.flatnonzero(np.diff(packed[0][at] >> 11, prepend=-1))
    missed = np.cumsum(some["ending"] != COMPLETED)
    before = np.concatenate([[0], missed[:-1]])
    answered = before == np.repeat(before[starts], np.diff(starts, append=len(some)))
    whole = np.repeat(some["turn"][starts] == 0, np.diff(starts, append=len(some)))
    assert np.array_equal(some["prompt_tokens"][answered & whole], all_["prompt_tokens"][answered & whole])
    assert (some["prompt_tokens"] <= all_["prompt_tokens"]).all()
    assert np.count_nonzero(some["prompt_tokens"] < all_["prompt_tokens"]) > 0


# ------------------------------------------------------------------ the result's own numbers


def test_the_result_holds_the_sums_of_the_records(day):
    by_tier = day.result["sim"]["by_tier"]
    for name, tier in zip(day.classes, (*PEOPLE, "api"), strict=True):
        rows, found = day.of(name), by_tier[tier]
        answered = rows[rows["ending"] == COMPLETED]
        hour = (rows["arrived_s"] // 3600).astype(int)
        assert found["num_requests"] == found["num_user_messages"] == len(rows)
        assert found["num_completed"] == len(answered)
        assert found["num_conversations"] == np.count_nonzero(rows["turn"] == 0)
        assert found["hourly_arrivals"] == np.bincount(hour, minlength=HOURS).tolist()
        assert found["total_input_tokens"] == answered["prompt_tokens"].sum()
        assert found["total_output_tokens"] == answered["output_tokens"].sum()
        assert np.array_equal(answered["output_tokens"], answered["requested_tokens"])
    assert day.result["num_prompts"] == len(day.records) == sum(found["num_requests"] for found in by_tier.values())
    assert day.result["completed"] == np.count_nonzero(day.records["ending"] == COMPLETED)


# ------------------------------------------------------------------ the whole day


@pytest.mark.slow
def test_the_whole_day_of_ten_million_users(day):
    scenario = sim.load("meridian-1", override=["plain"], set=RUN_IN)
    result = sim.run(scenario).result
    expected, by_tier = result["sim"]["expected"], result["sim"]["by_tier"]
    assert sum(expected["by_class"][tier]["requests"] for tier in PEOPLE) == pytest.approx(20e6, rel=1e-12)
    scale = scenario.traffic.monthly_users / day.num_users  # so many times the units of the small day

    def error(by_user):
        return np.sqrt(scale) * spread(by_user)

    chat = day.chat()
    num_messages = sum(by_tier[tier]["num_requests"] for tier in PEOPLE)
    assert abs(num_messages - 20e6) < 4 * error(day.by_user(chat))
    for tier in PEOPLE:
        rows, wanted, found = day.of(tier), expected["by_class"][tier], by_tier[tier]
        messages, starts = day.by_user(rows), day.by_user(rows[rows["turn"] == 0])
        assert abs(found["num_requests"] - wanted["requests"]) < 4 * error(messages)
        assert abs(found["num_conversations"] - wanted["conversations"]) < 4 * error(starts)
        residual = found["num_requests"] - wanted["mean_turns"] * found["num_conversations"]
        assert abs(residual) < 4 * error(messages - wanted["mean_turns"] * starts)
        mean = wanted["mean_output_tokens"]
        residual = found["total_output_tokens"] - mean * found["num_completed"]
        assert abs(residual) < 4 * error(day.by_user(rows, rows["requested_tokens"]) - mean * messages)
    num_api = expected["by_class"][API]["requests"]
    assert abs(by_tier["api"]["num_requests"] - num_api) < 4 * np.sqrt(api_variance(scenario, expected, num_api))
    hourly = np.sum([tier["hourly_arrivals"] for tier in by_tier.values()], axis=0)
    wanted, api = expected["requests"] * np.array(expected["hourly_curve"]) / HOURS, api_hours(expected)
    hour = (chat["arrived_s"] // 3600).astype(int)
    for h in range(HOURS):
        variance = error(day.by_user(chat[hour == h])) ** 2 + api_variance(scenario, expected, api[h])
        assert abs(hourly[h] - wanted[h]) < 4 * np.sqrt(variance), h
