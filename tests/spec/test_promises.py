"""What a scenario may promise its tiers, and what it is told where that does not fit together."""

import pytest

from sim.errors import SpecError
from sim.spec import Gateway, Scenario

BASE = {
    "name": "tiers",
    "model": "llama-3.1-8b",
    "hardware": "h100-sxm-80gb",
    "traffic": {
        "kind": "open_loop", "rate_per_s": 1, "tier": "free", "input_sequence_length": 5, "output_sequence_length": 5,
    },
    "tiers": {"free": {"path": "chat"}},
    "fleet": {
        "pools": {"main": {}, "little": {}}, "paths": {"chat": [{"pool": "main"}], "small": [{"pool": "little"}]},
    },
}  # fmt: skip
BUCKET = {"requests_per_minute": 60, "burst": 10}


def scenario(**tier):
    return Scenario.from_dict(BASE | {"tiers": {"free": {"path": "chat"} | tier}})


@pytest.mark.parametrize(
    ("tier", "place", "what"),
    [
        ({"user_limit": {}}, "user_limit", "limits nothing"),
        ({"user_limit": {"messages": 10}}, "user_limit.window", "missing"),
        ({"user_limit": {"window": "5 h", "rate_limit": BUCKET}}, "user_limit.window", "needs messages"),
        ({"user_limit": {"messages": 1, "window": "5 h", "fall_back": "smal"}}, "fall_back", "no path of that name"),
        ({"rate_limit": BUCKET | {"input_token_burst": 5}}, "input_token_burst", "needs input_tokens_per_minute"),
        (
            {"rate_limit": BUCKET | {"output_tokens_charged": "max_output_tokens"}},
            "output_tokens_charged",
            "needs output_tokens_per_minute",
        ),
        (
            {"rate_limit": BUCKET | {"output_tokens_per_minute": 100, "output_tokens_charged": "max_output_tokens"}},
            "output_tokens_charged",
            "needs the tier's max_output_tokens",
        ),
        (
            {
                "max_output_tokens": 200,
                "rate_limit": BUCKET | {"output_tokens_per_minute": 100, "output_tokens_charged": "max_output_tokens"},
            },
            "output_tokens_charged",
            "no request would ever be let in",
        ),
        ({"reserved_frac": 1.5}, "reserved_frac", "1"),
        ({"weight": 0}, "weight", "0"),
    ],
)
def test_limits_that_do_not_fit_together_are_told(tier, place, what):
    with pytest.raises(SpecError) as caught:
        scenario(**tier)
    (problem,) = caught.value.problems
    assert place in problem.path
    assert what in problem.message


def test_places_are_promised_once():
    tiers = {"free": {"path": "chat", "reserved_frac": 0.7}, "plus": {"path": "chat", "reserved_frac": 0.4}}
    with pytest.raises(SpecError, match="must not sum to more than 1"):
        Scenario.from_dict(BASE | {"tiers": tiers})


def test_a_closed_loop_must_not_ask_again_at_once_where_it_may_be_shed():
    loop = {"kind": "closed_loop", "concurrency": 2, "requests_per_user": 2, "tier": "free"}
    loop |= {"input_sequence_length": 5, "output_sequence_length": 5}
    given = BASE | {"traffic": loop, "tiers": {"free": {"path": "chat", "max_queue": 3}}}
    with pytest.raises(SpecError, match="0 with a max_queue: who is refused asks again at once"):
        Scenario.from_dict(given)
    assert Scenario.from_dict(given | {"traffic": loop | {"reissue_delay_s": 1.0}})


def test_a_gateway_has_a_tenth_more_places_than_run_unless_it_says():
    assert Gateway().places(256) == 281
    assert Gateway(max_outstanding=7).places(256) == 7


def test_a_gateway_serves_a_pool_as_a_whole():
    pools = {"main": {"gateway": {}, "replicas": 2, "reserved": {"free": 1}}, "little": {}}
    fleet = BASE["fleet"] | {"pools": pools, "placement": "partitioned"}
    with pytest.raises(SpecError, match="parted among tiers or regions"):
        Scenario.from_dict(BASE | {"fleet": fleet})
