"""Drifts of a scenario, and the monitors of a run: what they change, what they say, and what they refuse."""

import json

import pytest

import sim
from sim.errors import SpecError
from sim.fleet.run import run

SMALL = """
model: llama-3.1-8b
hardware: h100-sxm-80gb
horizon: 20 min
traffic: {kind: open_loop, rate_per_s: 1, num_requests: 900, input_sequence_length: {distribution_type: uniform,
  min: 50, max: 150}, output_sequence_length: {distribution_type: uniform, min: 20, max: 60}}
tiers: {default: {system_prompt_tokens: 320}}
fleet:
  pools: {guard: {replicas: 1}, main: {replicas: 2}}
  paths: {default: [{pool: guard, kind: classify, prompt: user}, {pool: main}]}
"""
HALF_S = 450.0


def scenario(tmp_path, extra=""):
    """A small fleet whose second half may drift."""
    file = tmp_path / "small.yaml"
    file.write_text(SMALL + extra)
    return sim.load(str(file))


def halves(tmp_path, kind, **fields):
    """The requests of a run before and after a drift in its middle, both clocks being the same."""
    told = ", ".join(f"{name}: {value}" for name, value in fields.items())
    base = scenario(tmp_path, f"drifts: [{{at: {HALF_S} s, kind: {kind}{', ' if told else ''}{told}}}]\n")
    compiled, simpy = run(base), run(base, clock="simpy")
    assert json.dumps(compiled.result) == json.dumps(simpy.result)
    assert compiled.result["sim"]["operations"] == [{"t_s": HALF_S, "do": kind}]
    late = compiled.requests["arrived_s"] >= HALF_S
    return compiled.requests[~late], compiled.requests[late]


def test_prompts_become_longer(tmp_path):
    before, after = halves(tmp_path, "longer_prompts", factor=2)
    assert before["prompt_tokens"].mean() - 320 == pytest.approx(100, rel=0.1)
    assert after["prompt_tokens"].mean() - 320 == pytest.approx(200, rel=0.1)
    assert after["output_tokens"].mean() == pytest.approx(before["output_tokens"].mean(), rel=0.1)


def test_answers_become_longer(tmp_path):
    before, after = halves(tmp_path, "longer_answers", factor=1.5)
    assert after["output_tokens"].mean() / before["output_tokens"].mean() == pytest.approx(1.5, rel=0.1)
    assert after["prompt_tokens"].mean() == pytest.approx(before["prompt_tokens"].mean(), rel=0.05)


def test_a_busted_cache_finds_nothing(tmp_path):
    before, after = halves(tmp_path, "cache_busting")
    assert before["cached_tokens"].mean() > 300
    assert after["cached_tokens"].iloc[1:].max() == 0  # the first may have been under way


def test_a_strict_classifier_blocks(tmp_path):
    before, after = halves(tmp_path, "strict_classifier", pool="guard", block_frac=0.5)
    assert (before["ending"] == "blocked").sum() <= 1  # under way at the drift
    assert (after["ending"] == "blocked").mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("drifts: [{at: 1 s, kind: longer_prompts}]", "missing; longer_prompts needs it"),
        ("drifts: [{at: 1 s, kind: cache_busting, factor: 2}]", "not used by cache_busting"),
        ("drifts: [{at: 1 s, kind: cache_busting, tiers: [gold]}]", "no tier of that name: gold"),
        ("drifts: [{at: 1 s, kind: strict_classifier, pool: gard, block_frac: 0.1}]", "no pool of that name: gard"),
        ("drifts: [{at: 1 s, kind: strict_classifier, pool: main, block_frac: 0.1}]", "no path has a visit of kind"),
        ("monitoring: {}", "needs a horizon of at least 28 days"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, extra, message):
    with pytest.raises(SpecError, match=message):
        scenario(tmp_path, extra + "\n")
