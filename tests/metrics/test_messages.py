"""Messages that were tried several times, senders who left, and what a language costs."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import GROUPS, bits, collect, done, facts, gaps, intervals, measured

from sim.metrics.collector import Collector, SampleSize
from sim.metrics.records import COMPLETED, FAILED, IN_FLIGHT, SHED
from sim.metrics.summary import summarise

FACTORS = np.array([1.0, 4.0, 2.5])  # of en, hi, sw


def tried_again(seed=1, num=3_000):
    """Finished requests, a third of whose messages were shed once before, and a ninth twice; some senders left."""
    rows = done(num, seed=seed, first_s=0.0)
    rows["attempt"] = np.random.default_rng(seed).choice(3, num, p=[6 / 9, 2 / 9, 1 / 9])
    rows["left"] = (rows["ending"] != COMPLETED) & (rows["turn"] % 2 == 0)
    rows["serial"] *= 3
    before = []
    for attempt in (1, 2):
        again = rows[rows["attempt"] >= attempt].copy()
        again["attempt"] = attempt - 1
        again["ending"] = SHED
        again["left"] = again["output_tokens"] = again["cached_tokens"] = 0
        again["serial"] += attempt
        again["retry_of"] = -1
        for name in ("cost_usd", "busy_s", "guard_s"):
            again[name] = 0.0
        before.append(again)
    return rows, np.concatenate([*before, rows])


def told(rows, groups=GROUPS):
    """The result of a run that left these rows."""
    collector = Collector(groups, bits, num_hours=24)
    collector.add(rows)
    return summarise(facts(), collector, gaps(), intervals())["sim"]


def test_a_message_is_its_first_attempt_and_succeeds_at_most_once():
    last, rows = tried_again()
    tiers = told(rows)["by_tier"]
    for number, (name, tier) in enumerate(tiers.items()):
        mine = rows[GROUPS.tier_of_class[rows["class_id"]] == number]
        final = last[GROUPS.tier_of_class[last["class_id"]] == number]
        assert tier["num_requests"] == len(mine)
        assert tier["num_user_messages"] == len(final) == (mine["attempt"] == 0).sum()
        assert tier["num_retries"] == final["attempt"].sum() > 100 * (name == "free")
        assert tier["retries_per_user_message"] == pytest.approx(final["attempt"].mean())
        known = (final["ending"] != IN_FLIGHT).sum()
        assert tier["user_message_success_frac"] == pytest.approx((final["ending"] == COMPLETED).sum() / known)
        assert tier["num_left"] == final["left"].sum()
        assert tier["cost_usd_per_1k_user_messages"] == pytest.approx(1e3 * tier["cost_usd"] / len(final))
        assert sum(tier["hourly_arrivals"]) == len(mine)


def test_conversations_and_turns_are_counted_by_messages():
    last, rows = tried_again()
    again, alone = told(rows)["by_tier"], told(last)["by_tier"]
    last["attempt"] = 0
    once = told(last)["by_tier"]
    for name, tier in again.items():
        for key in ("num_conversations", "mean_turns"):
            assert tier[key] == once[name][key] != alone[name][key]


def test_the_sample_does_not_depend_on_the_order_of_attempts():
    rows = np.repeat(done(500, first_s=0.0), 4)  # four attempts at each turn, alike in all but their number
    rows["attempt"] = np.tile(np.arange(4), 500)
    rows["ending"] = FAILED
    size = SampleSize(completed_rows=10, not_completed_rows=700, slowest_rows=10)
    reference = collect(rows, size=size).sample()
    assert 400 < len(reference[0]) < 2_000
    for seed in (1, 2):
        other = collect(rows[np.random.default_rng(seed).permutation(len(rows))], size=size).sample()
        for a, b in zip(reference, other, strict=True):
            assert a.tobytes() == b.tobytes()


def with_factors(*factors):
    """The groups, their classes knowing these length factors."""
    classes = [replace(kind, length_factor=factor) for kind, factor in zip(GROUPS.classes, factors, strict=True)]
    return replace(GROUPS, classes=tuple(classes))


def test_what_a_language_costs_is_told_by_words_of_english():
    rows = measured(done(4_000, seed=3))
    result = told(rows, with_factors(*[FACTORS] * 4))
    completed = rows[rows["ending"] == COMPLETED]
    assert len({result["by_language"][name]["length_factor"] for name in GROUPS.languages}) == 3
    for number, name in enumerate(GROUPS.languages):
        found = result["by_language"][name]
        tokens = completed["output_tokens"][completed["language"] == number].sum()
        words = 0.75 * tokens / FACTORS[number]
        assert found["length_factor"] == pytest.approx(FACTORS[number])
        assert found["cost_usd_per_1k_english_words"] == pytest.approx(1e3 * found["cost_usd"] / words)


def test_without_factors_nobody_knows_how_much_english_it_is():
    rows = measured(done(1_000, seed=3))
    for groups in (GROUPS, with_factors(FACTORS, FACTORS, None, FACTORS)):
        for found in told(rows, groups)["by_language"].values():
            assert found["length_factor"] is found["cost_usd_per_1k_english_words"] is None


def test_classes_are_told_one_by_one_and_add_up_to_their_tiers():
    rows = measured(done(4_000, seed=3))
    result = told(rows)
    assert list(result["by_class"]) == [kind.name for kind in GROUPS.classes]
    for tier in GROUPS.tiers:
        mine = [result["by_class"][kind.name] for kind in GROUPS.classes if kind.tier == tier.name]
        for key in ("num_requests", "num_user_messages", "total_output_tokens", "cost_usd", "energy_kwh"):
            total = sum(found[key] for found in mine)
            assert result["by_tier"][tier.name][key] == pytest.approx(total)


def test_where_each_tier_is_one_class_classes_are_not_told_again():
    groups = replace(GROUPS, classes=(GROUPS.classes[0], GROUPS.classes[1], GROUPS.classes[3]))
    rows = measured(done(1_000, seed=3))
    rows["class_id"] = np.minimum(rows["class_id"], 2)
    assert "by_class" not in told(rows, groups)


def test_classes_of_a_tier_may_share_a_row_of_gaps():
    alone = told(measured(done(1_000, seed=3)))
    shared = replace(GROUPS, classes=tuple(replace(kind, itl_row=min(kind.itl_row, 1)) for kind in GROUPS.classes[:3]))
    collector = Collector(shared, bits, num_hours=24)
    pooled = np.stack([gaps()[0], gaps()[1] + gaps()[2]])
    found = summarise(facts(), collector, pooled, intervals())["sim"]
    assert found["by_tier"]["pro"]["p99_itl_ms"] == alone["by_tier"]["pro"]["p99_itl_ms"] is not None
