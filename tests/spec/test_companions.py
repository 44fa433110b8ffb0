"""What a scenario may say of classifiers beside the answer."""

import pytest
from pydantic import ValidationError

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
