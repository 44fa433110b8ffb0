"""What a tier's reaction may say, and what becomes of it."""

import math

import pytest

from sim.errors import SpecError
from sim.metrics.records import ENDINGS
from sim.plane.building_classes import TRIED_AGAIN
from sim.spec import Reaction, Scenario, Tier
from sim.spec.reaction import MAX_RETRIES, NOT_MENDED
from sim.traffic.classes import class_of

SCENARIO = {
    "name": "tried",
    "model": "llama-3.1-8b",
    "hardware": "h100-sxm-80gb",
    "traffic": {"kind": "open_loop", "rate_per_s": 1, "input_sequence_length": 5, "output_sequence_length": 5},
    "fleet": {"pools": {"main": {"replicas": 1}}},
}


def with_reaction(**given):
    """A scenario whose tier reacts."""
    return Scenario.from_dict(SCENARIO | {"tiers": {"default": {"reaction": given}}})


def test_nobody_reacts_unless_told_to():
    assert Tier().reaction is None
    assert class_of("a", "a", Tier()).reaction is None


def test_the_default_is_openais_python_client():
    # openai-python: DEFAULT_MAX_RETRIES 2, INITIAL_RETRY_DELAY 0.5 s x 2^n up to MAX_RETRY_DELAY 8 s, less up to 25 %.
    made = class_of("a", "a", with_reaction().tiers["default"]).reaction
    assert (made.retry_frac, made.max_retries, made.backoff_factor, made.max_backoff_s) == (1.0, 2, 2.0, 8.0)
    assert (made.backoff_s[0], made.backoff_s[-1]) == (0.75 * 0.5, 0.5)
    assert (made.leave_frac, made.slow_s, made.slow_leave_frac) == (0.0, math.inf, 0.0)


def test_endings_become_their_codes():
    given = ("abandoned", "shed")
    made = class_of("a", "a", with_reaction(retry_on=given).tiers["default"]).reaction
    assert tuple(ENDINGS[code] for code in made.retried) == given


def test_spec_and_plane_know_the_same_failures_that_may_mend():
    assert {ENDINGS[code] for code in TRIED_AGAIN} == set(Reaction().retry_on)
    assert set(NOT_MENDED) == set(ENDINGS) - set(Reaction().retry_on) - {"completed", "in_flight"}


@pytest.mark.parametrize(
    ("given", "path", "words"),
    [
        ({"retry_on": ["refused"]}, "retry_on", "refused is never tried again: a question that is too long"),
        ({"retry_on": ["shed", "blocked"]}, "retry_on", "blocked is never tried again: a classifier says the same"),
        ({"retry_on": ["shedd"]}, "retry_on.0", "Did you mean shed?"),
        ({"max_retries": MAX_RETRIES + 1}, "max_retries", "must be <= 63"),
        ({"slow_leave_frac": 0.5}, "slow_ttft", "slow_leave_frac needs to know which answers are slow"),
        ({"retry_frac": 1.5}, "retry_frac", "must be <= 1"),
    ],
)
def test_a_mistake_is_told_where_it_is(given, path, words):
    with pytest.raises(SpecError) as error:
        with_reaction(**given)
    (problem,) = error.value.problems
    assert problem.path == f"tiers.default.reaction.{path}"
    assert words in problem.message


def test_a_scenario_with_a_reaction_makes_the_round_trip():
    given = with_reaction(retry_on=["shed"], backoff="2 s", max_backoff=None, slow_ttft="10 s", slow_leave_frac=0.2)
    again = Scenario.from_yaml(given.to_yaml())
    assert again.digest == given.digest
    assert given.tiers["default"].reaction.backoff.mean == 2.0
