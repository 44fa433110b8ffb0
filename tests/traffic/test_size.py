"""Scenarios too large to compute are refused before anything is generated."""

import pytest

from sim.errors import SpecError
from sim.traffic import build

LENGTHS = {"input_sequence_length": 512, "output_sequence_length": 128, "tier": "free"}
OPEN = {"kind": "open_loop", "rate_per_s": 1e9, **LENGTHS}
API = {"workload": "api-service", "tier": "free", "tokens_per_chat_token": 1e12}
CLOSED = {"kind": "closed_loop", "concurrency": 10_000_000, "requests_per_user": 1_000_000_000, **LENGTHS}


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"traffic": OPEN}, "lower traffic.rate_per_s or horizon"),
        ({"traffic": OPEN | {"rate_per_s": 1}, "horizon": 1e300, "report_interval": 1e299}, "or horizon"),
        ({"traffic": OPEN | {"rate_per_s": 1}, "run_in": 1e15}, "lower traffic.rate_per_s or horizon"),
        ({"traffic": CLOSED}, "lower traffic.concurrency or traffic.requests_per_user"),
        ({"traffic.monthly_users": 10**10, "horizon": "30 d"}, "lower traffic.monthly_users or horizon"),
        ({"traffic.api": API}, "lower traffic.api.tokens_per_chat_token or horizon"),
    ],
)
def test_too_many_requests_are_refused(scenario, changes, remedy):
    with pytest.raises(SpecError, match=r"about .* requests expected.*days of computing at 500,000 a second") as caught:
        build(scenario(**changes))
    assert str(caught.value).endswith(remedy)


def test_a_high_rate_of_few_requests_is_allowed(scenario):
    source = build(scenario(traffic=OPEN | {"num_requests": 1000}))
    assert sum(len(chunk.rows) for chunk in source.chunks()) == 1000
