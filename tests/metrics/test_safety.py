"""The safety tax against arithmetic by hand, the ledger and the flags."""

import math

import pytest

import sim
from sim import catalog
from sim.report import text

PROMPT, ANSWER, TEMPLATE = 1000, 300, 200
N = 3_000
GUARD_8B, MODEL_70B = 8e9, 70e9

SCENARIO = f"""
name: safety
model: llama-3.1-70b
hardware: h100-sxm-80gb
horizon: 15 min
drain: true
traffic: {{kind: open_loop, rate_per_s: 5, num_requests: {N}, input_sequence_length: {PROMPT},
          output_sequence_length: {ANSWER}}}
tiers: {{default: {{unsafe_frac: 0.05}}}}
fleet:
  pools:
    main: {{replicas: 3, tensor_parallel_size: 4}}
    guard: {{model: llama-guard-3-8b, replicas: 1, enable_prefix_caching: false}}
  paths:
    default: []
"""
CHECK = {"pool": "guard", "kind": "classify", "prompt": "exchange", "template_tokens": TEMPLATE}
INPUT = {"pool": "guard", "kind": "classify", "prompt": "user", "template_tokens": TEMPLATE}
ANSWERS = {"pool": "main"}


def safety_of(path, **changes):
    scenario = sim.Scenario.from_yaml(SCENARIO.replace("default: []", f"default: {path}"))
    for name, value in changes.items():
        scenario = scenario.replace(name.replace("__", "."), value)
    result = sim.run(scenario).result
    return result, result["sim"].get("safety")


def active(model, num_gpus):
    """Parameters that a token visits: all but the input embedding."""
    gpu = catalog.load_gpu("h100-sxm-80gb")
    return sim.compile(catalog.load_model(model), gpu, tensor_parallel_size=num_gpus).num_active_parameters


def test_an_8b_guard_that_reads_the_exchange_of_a_70b_model_is_13_percent():
    """Both read the prompt, the guard also the answer and its instructions; visits x tokens x 2 N."""
    result, found = safety_of([ANSWERS, CHECK])
    guard = N * (TEMPLATE + PROMPT + ANSWER + 1) * 2 * active("llama-guard-3-8b", 1)
    main = N * (PROMPT + ANSWER) * 2 * active("llama-3.1-70b", 4)
    assert result["completed"] == N
    assert found["compute_overhead"] == pytest.approx(guard / main, rel=1e-12)
    assert found["compute_frac"] == pytest.approx(guard / (guard + main), rel=1e-12)
    by_name = GUARD_8B * (TEMPLATE + PROMPT + ANSWER) / (MODEL_70B * (PROMPT + ANSWER))
    assert by_name == pytest.approx(0.13, abs=0.005)
    assert found["compute_overhead"] == pytest.approx(by_name, rel=0.06)  # embeddings are not visited


def test_its_dollars_are_those_of_the_ledger():
    result, found = safety_of([INPUT, ANSWERS, CHECK])
    cost = result["sim"]["cost"]
    spent = cost["by_feature"]
    assert found["features"] == ["input_check", "output_check"]
    assert found["cost_usd"] == pytest.approx(spent["input_check"] + spent["output_check"])
    assert found["cost_usd"] == pytest.approx(result["sim"]["by_pool"]["guard"]["total_usd"])
    assert found["cost_frac"] == pytest.approx(found["cost_usd"] / math.fsum(spent.values()))
    assert found["usd_per_1k_requests"] == pytest.approx(found["cost_usd"] * 1e3 / result["completed"])
    pools = result["sim"]["by_pool"]
    busy = {name: pool["busy_frac"] * pool["gpu_hours"] for name, pool in pools.items()}
    assert found["gpu_time_frac"] == pytest.approx(busy["guard"] / (busy["guard"] + busy["main"]), rel=1e-6)


def test_added_time_to_first_token_is_that_of_the_visits_ahead():
    """In series, the wait is the admission's; a check of the whole answer withholds it until the verdict."""
    result, found = safety_of([INPUT, ANSWERS])
    assert found["mean_verdict_ms"] == 0.0
    assert found["mean_added_ttft_ms"] == pytest.approx(result["sim"]["by_tier"]["default"]["mean_admission_ms"])
    plain, _ = safety_of([ANSWERS])
    result, found = safety_of([ANSWERS, CHECK])
    assert found["mean_added_ttft_ms"] == found["mean_verdict_ms"] > 0.0
    assert result["mean_ttft_ms"] - found["mean_verdict_ms"] == pytest.approx(plain["mean_ttft_ms"], rel=1e-9)


def test_errors_are_those_of_the_flags_and_the_sentence_has_them():
    """3,000 requests, 5 % unsafe: within five standard errors of the rates."""
    rates = {"true_positive_rate": 0.9, "false_positive_rate": 0.04}
    result, found = safety_of([INPUT | rates, ANSWERS])
    flags = result["sim"]["flags"]
    for name in ("num_false_refusals", "false_refusal_frac", "num_unsafe_passed", "unsafe_caught_frac"):
        assert found[name] == flags[name]
    assert found["false_refusal_frac"] == pytest.approx(0.04, abs=5 * math.sqrt(0.04 * 0.96 / (0.95 * N)))
    assert found["unsafe_caught_frac"] == pytest.approx(0.9, abs=5 * math.sqrt(0.9 * 0.1 / (0.05 * N)))
    said = text.safety(result)
    assert f"{found['num_false_refusals']} refused wrongly, {found['num_unsafe_passed']} unsafe ones answered" in said


def test_there_is_no_tax_without_classifiers_and_a_judge_of_answers_is_none():
    _, found = safety_of([ANSWERS])
    assert found is None
    judge = CHECK | {"escalate_frac": 0.3}
    result, found = safety_of([{"pool": "guard"}, judge, ANSWERS])
    assert found is None
    assert text.safety(result) is None


def test_a_critique_may_be_booked_as_a_check():
    """Draft, critique and revision by one model: its arithmetic is divided as its time."""
    check = {"feature": "output_check"}
    critique = ANSWERS | {"prompt_extra_tokens": 80, "output_tokens": 150} | check
    result, found = safety_of([ANSWERS, critique, ANSWERS | {"prompt_extra_tokens": 40} | check])
    assert found["features"] == ["output_check"]
    assert found["compute_frac"] == pytest.approx(found["gpu_time_frac"])
    assert found["cost_usd"] == pytest.approx(result["sim"]["cost"]["by_feature"]["output_check"])
