"""Expected tokens of conversations agree with conversations drawn one by one."""

from dataclasses import replace

import numpy as np
import pytest

from sim.spec import Distribution
from sim.traffic.arrivals import ARRIVAL, NO_LIMIT, TrafficClass
from sim.traffic.expect import conversation_tokens
from sim.traffic.lengths import quantile_table
from sim.traffic.rows import fill


def table(**fields):
    return quantile_table(Distribution.from_dict(fields), whole=True)


TURNS = table(distribution_type="geometric", mean=4, max=30)


def chat(prefix_tokens, max_context_tokens, keep_history):
    return TrafficClass(
        name="chat",
        tier="free",
        path="default",
        priority=0,
        prefix_tokens=prefix_tokens,
        prefix_group="",
        user_tokens=table(distribution_type="lognormal", mean=100, standard_deviation=150, max=1500),
        output_tokens=table(distribution_type="exponential", mean=300, max=1500),
        gap_s=np.zeros(1025),
        patience_s=None,
        min_think_s=0.0,
        keep_history=keep_history,
        max_context_tokens=max_context_tokens,
        is_program=False,
    )


@pytest.mark.parametrize(
    ("prefix_tokens", "max_context_tokens", "keep_history"),
    [(0, NO_LIMIT, False), (200, NO_LIMIT, True), (200, 8192, True), (500, 4096, True)],
)
def test_expected_tokens(prefix_tokens, max_context_tokens, keep_history, expand, within):
    traffic_class = chat(prefix_tokens, max_context_tokens, keep_history)
    rows = np.zeros(100_000, dtype=ARRIVAL)
    rows["user"] = np.arange(len(rows))
    fill(rows, 5, TURNS, traffic_class)
    turns = expand(rows, traffic_class, 5)
    prompt, output = conversation_tokens(traffic_class, TURNS)
    for values, expected in ((turns.prompt_tokens, prompt), (turns.output_tokens, output)):
        within(np.bincount(turns.row, values) - expected, 0.0)
    if max_context_tokens < NO_LIMIT and keep_history:
        free, _ = conversation_tokens(chat(prefix_tokens, NO_LIMIT, keep_history), TURNS)
        assert prompt < 0.999 * free  # the limit is felt


@pytest.mark.parametrize(("max_context_tokens", "keep_history"), [(NO_LIMIT, False), (NO_LIMIT, True), (9000, True)])
def test_a_first_turn_of_its_own_and_a_language(max_context_tokens, keep_history, expand, within):
    document = table(distribution_type="gamma", mean=2000, standard_deviation=1000, max=6000)
    begins = replace(chat(200, max_context_tokens, keep_history), first_user_tokens=document)
    lengths = ("first_user_tokens", "user_tokens", "output_tokens")
    longer = replace(begins, **{name: 1.4 * getattr(begins, name) for name in lengths})
    rows = np.zeros(100_000, dtype=ARRIVAL)
    rows["user"] = np.arange(len(rows))
    fill(rows, 6, TURNS, longer)
    turns = expand(rows, longer, 6)
    prompt, output = conversation_tokens(begins, TURNS, 1.4)
    for values, expected in ((turns.prompt_tokens, prompt), (turns.output_tokens, output)):
        within(np.bincount(turns.row, values) - expected, 0.0)
