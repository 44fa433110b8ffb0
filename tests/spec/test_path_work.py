"""What a path may consist of, what is refused and why, and what becomes of it in the plane's World."""

import numpy as np
import pytest

from sim import catalog
from sim.errors import SpecError
from sim.fleet.build import build
from sim.spec import read_scenario

LONG = """\
name: long
model: llama-3.1-8b
hardware: h100-sxm-80gb
traffic: {kind: open_loop, rate_per_s: 1, input_sequence_length: 100, output_sequence_length: 10}
tiers: {default: {unsafe_frac: 0.1}}
fleet:
  pools:
    guard: {}
    main: {}
  paths:
    default:
      - {pool: guard, kind: classify, classifier: llama-guard-3-8b, refusal_tokens: 30}
      - {kind: delay, duration: 2 s, adds_tokens: 500, frac: 0.5}
      - {pool: main, output_tokens: 40}
      - {pool: main, prompt_extra_tokens: 20}
      - {pool: guard, kind: classify, prompt: exchange, escalate_frac: 0.2}
      - {pool: main}
"""
AT = "fleet.paths.default"


def test_a_path_of_all_kinds_round_trips():
    scenario = read_scenario(LONG)
    visits = scenario.fleet.paths["default"]
    assert [visit.kind for visit in visits] == ["classify", "delay", "generate", "generate", "classify", "generate"]
    assert (visits[1].pool, visits[1].duration.mean, visits[1].frac) == (None, 2.0, 0.5)
    assert read_scenario(scenario.to_yaml()) == scenario


def test_it_becomes_the_planes():
    built = build(read_scenario(LONG))
    guard, delay, draft, candidate, judge, answer = built.world.paths["default"]
    known = catalog.load_classifier("llama-guard-3-8b")
    assert guard.true_positive_rate == [known.recall]
    assert guard.false_positive_rate == [known.false_positive_rate]
    assert guard.template_tokens == known.template_tokens
    assert (guard.refusal_tokens[0], draft.output_tokens[-1]) == (30, 40)
    assert (delay.pool, delay.delay_s[0], delay.adds_tokens[0]) == (-1, 2.0, 500)
    assert (candidate.prompt_extra_tokens, judge.prompt, judge.escalate_frac) == (20, "exchange", 0.2)
    assert answer.frac == 1.0
    assert built.world.classes[0].unsafe_frac == 0.1
    assert built.groups.has_flags
    sources = {row["name"]: row["source"] for row in built.assumptions}
    assert "Llama Guard 3 model card" in sources[f"{AT}.0.classifier"]


def test_what_a_visit_says_goes_before_its_classifier():
    text = LONG.replace("classifier: llama-guard-3-8b", "classifier: llama-guard-3-8b, false_positive_rate: 0.01")
    guard = build(read_scenario(text)).world.paths["default"][0]
    assert guard.false_positive_rate == [0.01]
    assert guard.true_positive_rate == [catalog.load_classifier("llama-guard-3-8b").recall]


def test_rates_by_language_of_the_classifier_and_of_the_visit():
    spoken = "{Hindi: 0.5, English: 0.3, German: 0.2}"
    text = f"""\
name: languages
model: llama-3.1-8b
hardware: h100-sxm-80gb
traffic: {{kind: population, monthly_users: 1000, languages: {spoken}}}
tiers: {{free: {{user_frac: 1}}}}
fleet:
  pools: {{guard: {{}}, main: {{}}}}
  paths:
    default:
      - pool: guard
        kind: classify
        classifier: llama-guard-3-1b
        rates_by_language: {{German: {{true_positive_rate: 0.6, false_positive_rate: 0.2}}}}
      - {{pool: main}}
"""
    built = build(read_scenario(text))
    guard, known = built.world.paths["default"][0], catalog.load_classifier("llama-guard-3-1b")
    found = dict(zip(built.source.languages, guard.true_positive_rate, strict=True))
    assert found == {"Hindi": known.by_language["Hindi"].recall, "English": known.recall, "German": 0.6}
    assert np.allclose(sorted(guard.false_positive_rate), [0.09, 0.09, 0.2])
    with pytest.raises(SpecError, match=r"no user has this language: Germn\. Did you mean German"):
        build(read_scenario(text.replace("{German: {true", "{Germn: {true")))


GUARD = "{pool: guard, kind: classify, classifier: llama-guard-3-8b, refusal_tokens: 30}"
DELAY = "{kind: delay, duration: 2 s, adds_tokens: 500, frac: 0.5}"


@pytest.mark.parametrize(
    ("old", "new", "messages"),
    [
        (DELAY, "{kind: delay}", [f"{AT}.1.duration: missing; a visit of kind delay needs it"]),
        (DELAY, "{kind: delay, duration: 1 s, pool: main}", [f"{AT}.1.pool: not used by a visit of kind delay"]),
        (DELAY, "{output_tokens: 3}", [f"{AT}.1.pool: missing; a visit of kind generate needs it"]),
        (DELAY, "{pool: main, duration: 1 s}", [f"{AT}.1.duration: belongs to a visit of kind delay; remove it"]),
        (
            GUARD,
            "{pool: guard, kind: classify, keep_in_history: true}",
            [f"{AT}.0.keep_in_history: belongs"],
        ),
        (
            GUARD,
            "{pool: guard, kind: classify, true_positive_rate: 0.5}",
            [f"{AT}.0.false_positive_rate: missing"],
        ),
        ("llama-guard-3-8b, ", "llama-guard-3-8b, block_frac: 0.1, ", [f"{AT}.0.block_frac: give block_frac, or the"]),
        ("      - {pool: main}\n", "      - {pool: main, frac: 0.5}\n", [f"{AT}.5.frac: must be 1: every request"]),
        (
            "      - {pool: main}\n",
            "      - {pool: main, output_tokens: 5}\n",
            [f"{AT}.5.output_tokens: the traffic"],
        ),
        ("      - {pool: main}\n", "", [f"{AT}.4.kind: a path ends with a generate visit"]),
        (DELAY, "{pool: guard, kind: classify, escalate_frac: 0.5}", [f"{AT}.1.escalate_frac: there is no answer"]),
        (
            "escalate_frac: 0.2",
            "escalate_frac: 0.2, frac: 0.5",
            [f"{AT}.4.frac: must be 1 where escalate_frac"],
        ),
        (
            "prompt_extra_tokens: 20",
            "output_tokens: 20",
            [f"{AT}.3.output_tokens: the traffic says how long an answer is that is decided on"],
        ),
        ("escalate_frac: 0.2", "escalate_frac: 1.2", [f"{AT}.4.escalate_frac: must be <= 1"]),
    ],
)
def test_what_is_refused_and_why(old, new, messages):
    assert old in LONG
    with pytest.raises(SpecError) as caught:
        read_scenario(LONG.replace(old, new), "f.yaml")
    found = [str(problem) for problem in caught.value.problems]
    assert len(found) == len(messages), found
    for problem, message in zip(found, messages, strict=True):
        assert message in problem


def test_an_answer_that_is_split_has_delays_and_classifiers_before_it_only():
    text = LONG[: LONG.index("    default:")] + "    default: [{pool: guard}, {pool: main, kind: prefill}, "
    with pytest.raises(SpecError, match="no generate visit comes before prefill and decode"):
        read_scenario(text + "{pool: guard, kind: decode}]\n")


def test_a_classifier_that_does_not_exist():
    with pytest.raises(SpecError, match="no classifier llama-guard-3-9b"):
        build(read_scenario(LONG.replace("llama-guard-3-8b", "llama-guard-3-9b")))


def test_the_examples_of_the_page_are_paths(repository):
    page = (repository / "docs" / "paths.md").read_text(encoding="utf-8")
    example = page.partition("```yaml\n")[2].partition("```")[0]
    head = LONG[: LONG.index("tiers:")]
    pools = "  pools: {guard: {}, main: {}, small: {}, judge: {}, large: {}}\n"
    scenario = read_scenario(head + example.replace("fleet:\n", "fleet:\n" + pools))
    assert {"default", "agent", "constitutional", "cascade", "router"} == {*scenario.fleet.paths}
    build(scenario)
