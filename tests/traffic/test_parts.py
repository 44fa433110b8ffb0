"""Turns made of parts: the sum's table agrees with parts drawn one by one, and with sums done by hand."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sim import catalog
from sim.errors import SpecError
from sim.spec.workload import Workload
from sim.traffic.classes import class_of, table, workload_tables
from sim.traffic.lengths import CELLS, lookup, table_mean, tokens
from sim.traffic.moments import Drawn
from sim.traffic.parts import MAX_SUM, chances, pieces, some, summed

WHY = "assumed, for a test"
LONG = {"distribution_type": "lognormal", "mean": 8000, "standard_deviation": 9000, "max": 100_000}
PARTS = {
    "retrieved_passages": {
        "number": {"distribution_type": "uniform", "min": 3, "max": 10},
        "tokens": {"distribution_type": "uniform", "min": 256, "max": 1000},
    },
    "images": {
        "number": {"distribution_type": "percentiles", "percentiles": {0: 0, 80: 0, 95: 1, 100: 10}},
        "tokens": 650,
    },
    "files": {"conversation_frac": 0.1, "tokens": LONG},
}


def with_parts(*names, **more):
    """The chat with some parts."""
    chat = catalog.load_workload("interactive-chat").to_dict()
    chosen = {name: PARTS[name] for name in names} | more
    return Workload.from_dict(chat | chosen | {f"{name}_justification": WHY for name in chosen})


def drawn_singly(workload, count, *, begins):
    """New tokens of turns whose parts are drawn one by one."""
    generator = np.random.default_rng(7)
    text = workload.input_sequence_length_per_turn
    total = tokens(table(text, whole=True), generator.random(count)).astype(float)
    for part in (workload.retrieved_passages, workload.images):
        if part is not None:
            number = np.floor(lookup(table(part.number), generator.random(count)) + 0.5)
            for k in range(int(number.max())):
                total += np.where(k < number, tokens(table(part.tokens, whole=True), generator.random(count)), 0)
    if begins and workload.files is not None:
        has_file = generator.random(count) < workload.files.conversation_frac
        total += np.where(has_file, tokens(table(workload.files.tokens, whole=True), generator.random(count)), 0)
    return total


@pytest.mark.parametrize("names", [("images",), ("retrieved_passages",), ("retrieved_passages", "images", "files")])
def test_sums_agree_with_parts_drawn_one_by_one(names):
    workload = with_parts(*names)
    found = workload_tables(workload)
    count = 1_000_000
    for field, begins in (("user_tokens", False), ("first_user_tokens", True)):
        if field not in found:
            assert "files" not in names
            continue
        values = drawn_singly(workload, count, begins=begins)
        error = values.std() / np.sqrt(count)
        assert abs(table_mean(found[field]) - values.mean()) < 4 * error
        # A cell of the table, and four standard errors of the share of draws below a quantile.
        for p in (0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999):
            reach = 1 / CELLS + 4 * np.sqrt(p * (1 - p) / count)
            low, high = np.quantile(values, [max(p - reach, 0.0), min(p + reach, 1.0)])
            quantile = Drawn(found[field], whole=True).quantile(np.array([p]))[0]
            assert low * 0.997 - 1 <= quantile <= high * 1.003 + 1, (field, p)


@settings(max_examples=300)
@example([[1.0, 1.0]], [0.01, 1.0])
@given(
    st.lists(st.lists(st.floats(0.01, 1), min_size=2, max_size=6), min_size=1, max_size=3),
    st.lists(st.floats(0.01, 1), min_size=2, max_size=6),
)
def test_the_mean_of_a_sum_is_the_sum_of_the_means(others, first):
    parts = [np.array([0.0, *first]) / sum(first), *(np.array(other) / sum(other) for other in others)]
    means = [float(np.arange(len(part)) @ part) for part in parts]
    assert table_mean(summed(parts)) == pytest.approx(sum(means), rel=1e-6)


def test_sums_by_hand():
    one_to_six = np.array([0, 1, 1, 1, 1, 1, 1]) / 6
    two = Drawn(summed([one_to_six, one_to_six]), whole=True)
    ways = np.array([1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1]) / 36
    assert two.cdf(np.arange(2, 13)) == pytest.approx(np.cumsum(ways), abs=1 / CELLS)
    assert table_mean(two.table) == pytest.approx(7)
    assert np.all(tokens(summed([np.array([0, 0, 1.0]), np.array([0, 0, 0, 1.0])]), np.linspace(0, 0.999, 99)) == 5)


def test_pieces_by_hand():
    none_or_two = np.where(np.arange(CELLS + 1) < CELLS / 2, 0.0, 2.0)
    found = pieces(none_or_two, np.full(CELLS + 1, 3.0))
    assert found == pytest.approx([0.5, 0, 0, 0, 0, 0, 0.5], abs=1 / CELLS)
    assert some(0.25, np.array([0, 1.0])) == pytest.approx([0.75, 0.25])
    assert chances(np.full(CELLS + 1, 2.0)) == pytest.approx([0, 0, 1])


def test_what_has_no_parts_is_left_as_it_is():
    plain = with_parts()
    assert np.array_equal(
        workload_tables(plain)["user_tokens"], table(plain.input_sequence_length_per_turn, whole=True)
    )
    begins = with_parts(input_sequence_length_first_turn=LONG)
    found = workload_tables(begins)
    assert np.array_equal(found["first_user_tokens"], table(begins.input_sequence_length_first_turn, whole=True))
    assert np.array_equal(found["user_tokens"], workload_tables(plain)["user_tokens"])


def test_the_applications_prompt_comes_after_the_tiers(scenario):
    tier = scenario().tiers["free"]
    tables = workload_tables(with_parts(system_prompt=500, tools=70))
    del tables["turns"]
    made = class_of("free", "free", tier, **tables, min_think_s=0.0, keep_history=True)
    assert made.prefix_tokens == tier.system_prompt_tokens + 570


def test_parts_that_are_too_long_are_refused():
    many = {"number": 3000, "tokens": 1000}
    with pytest.raises(SpecError, match=rf"workload interactive-chat: .*3,000,000 tokens; at most {MAX_SUM:,}"):
        workload_tables(with_parts(images=many))


def test_a_number_needs_a_reason():
    chat = catalog.load_workload("interactive-chat").to_dict()
    with pytest.raises(SpecError) as caught:
        Workload.from_dict(chat | {"tools": 10, "files": PARTS["files"]})
    assert sorted(str(problem) for problem in caught.value.problems) == [
        "files_justification: missing; say where files comes from, or that it is assumed",
        "tools_justification: missing; say where tools comes from, or that it is assumed",
    ]
