"""What a scenario may say of classifiers beside the answer."""

import re

import pytest
from pydantic import ValidationError

from sim.errors import SpecError
from sim.spec import read_scenario
from sim.spec.companions import before_check, check_of, order_problems
from sim.spec.visit import Visit

GATE = {"pool": "guard", "kind": "classify", "mode": "gate", "prompt": "user"}
ANSWER = {"pool": "main"}
CHECK = {"pool": "guard", "kind": "classify", "mode": "stream", "prompt": "answer"}


def problems(*visits):
    """What is wrong with a path, by field."""
    return dict(order_problems({"chat": tuple(map(Visit.model_validate, visits))}))


def test_a_check_is_the_classifier_behind_the_answer():
    visits = [Visit.model_validate(given) for given in (GATE, ANSWER, CHECK)]
    assert check_of(visits) is visits[2]
    assert before_check(visits) == visits[:2]
    assert check_of(visits[:2]) is None
    assert before_check(visits[:2]) == visits[:2]


def test_gate_and_stream_stand_where_they_can():
    assert problems(GATE, ANSWER, CHECK) == {}
    assert problems({**CHECK, "prompt": "user"}, ANSWER).keys() == {"paths.chat.0.mode"}
    assert problems({**GATE, "prompt": "answer"}, ANSWER).keys() == {"paths.chat.0.prompt"}
    assert problems(ANSWER, {**CHECK, "prompt": "user"}).keys() == {"paths.chat.1.prompt"}
    assert problems(ANSWER, {**GATE, "prompt": "answer"}).keys() == {"paths.chat.1.mode"}
    assert problems(GATE, GATE, ANSWER).keys() == {"paths.chat.1.mode"}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"pool": "main", "mode": "gate"}, "mode"),
        ({"pool": "main", "chunk_tokens": 100}, "chunk_tokens"),
        ({**GATE, "carry_over_tokens": 10}, "carry_over_tokens"),
        ({**GATE, "release": "hold_back"}, "release"),
    ],
)
def test_fields_belong_to_who_uses_them(given, field):
    with pytest.raises(ValidationError, match=field):
        Visit.model_validate(given)


# ------------------------------------------------------------------ with gateways, and in regions

FLEET = """\
name: beside
model: llama-3.1-8b
hardware: h100-sxm-80gb
traffic: {kind: open_loop, rate_per_s: 1, input_sequence_length: 100, output_sequence_length: 10}
fleet:
  pools:
    main: {replicas: 3, regions: {us: 2, eu: 1}}
    guard: {replicas: 2, regions: {us: 1, eu: 1}}
  regions:
    us: {users: {all: 20 ms}, regions: {eu: 40 ms}}
    eu: {users: {all: 50 ms}}
  paths:
    default:
      - {pool: guard, kind: classify, mode: gate, prompt: user}
      - {pool: main}
      - {pool: guard, kind: classify, mode: stream, prompt: answer}
"""


def told(text):
    """What a user is told of a scenario's mistakes: where they are, and what."""
    with pytest.raises(SpecError) as raised:
        read_scenario(text)
    return [(problem.path, problem.line, problem.message) for problem in raised.value.problems]


def test_a_pool_of_classifiers_beside_the_answer_may_have_a_gateway():
    text = FLEET.replace(", regions: {us: 2, eu: 1}", "").replace(", regions: {us: 1, eu: 1}", ", gateway: {}")
    text = re.sub(r"  regions:\n(    .*\n){2}", "", text)
    assert read_scenario(text).fleet.pools["guard"].gateway is not None


def test_classifiers_beside_the_answer_are_wherever_their_requests_may_be():
    assert read_scenario(FLEET).fleet.regions.keys() == {"us", "eu"}
    wrong = told(FLEET.replace("{us: 1, eu: 1}", "{us: 2}"))
    assert [where[:2] for where in wrong] == [("fleet.paths.default.0.pool", 14), ("fleet.paths.default.2.pool", 16)]
    assert wrong[0][2] == (
        "guard has no replicas in region eu, where pool main has; a classifier beside the answer runs where its "
        "request is: add some to fleet.pools.guard.regions, or set mode: serial, which goes where replicas are"
    )
    assert wrong[1][2].endswith("runs where its request is: add some to fleet.pools.guard.regions")
    assert len(told(FLEET.replace("{us: 1, eu: 1}", "{us: 2, eu: 0}"))) == 2


@pytest.mark.parametrize(
    ("draft", "said"),
    [
        ("{pool: main, output_tokens: 20}", "no draft, and no answer that may do, beside a gate or a check"),
        ("{pool: main, escalate_frac: 0.2}", "no draft, and no answer that may do, beside a gate or a check"),
    ],
)
def test_drafts_are_not_simulated_beside_classifiers(draft, said):
    wrong = told(FLEET.replace("      - {pool: main}\n", f"      - {draft}\n      - {{pool: main}}\n"))
    assert ("fleet.paths.default.1", 15) in [(path, line) for path, line, _ in wrong]
    assert any(message.startswith(said) for _, _, message in wrong)
