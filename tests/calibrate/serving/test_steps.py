"""Steps read from a log are those that were played."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.calibrate.serving.steps import Steps, change_between, one_step
from sim.metrics.records import COMPLETED

NIM = {"source": "NVIDIA-DLI-nim.csv", "engine": "NIM/TensorRT-LLM", "version": "NIM 1.x"}
LOADS = [
    {"load": "concurrency=1"},
    {"load": "concurrency=4", "osl": "64"},
    {"load": "concurrency=4", "osl": "64", "version": "0.10.0"},  # each step waits for the schedule
    {"load": "concurrency=3", "isl": "200", "osl": "50", **NIM},
    {"load": "concurrency=6", "osl": "50", "engine": "SGLang", "version": "0.5.5"},  # prefill pauses decodes
    {"load": "inf rate (all 40 prompts at once)", "osl": "64"},
    {"load": "rate=8 req/s", "isl": "200", "osl": "100", "notes": "100 requests"},
    {"load": "max_num_seqs=16 (saturated)", "osl": "64"},
    {"load": "concurrency=3", "isl": "3000", "osl": "700"},  # contexts pass knots of decode attention
    {"load": "rate=40 req/s", "source": "BLIS sim-to-real", "osl": "30", "notes": "max_num_seqs=128; 150 requests"},
]


@pytest.mark.parametrize("load", LOADS)
def test_times_from_the_tables_are_the_times_played(basis_for, played, load):
    setup, _, basis = basis_for({}, model="Llama-3.2-1B", **load)
    _, _, steps = played(setup, basis.profile)
    # Runs of thousands of steps are sums in another order than the plane's.
    assert steps.time_s(basis.profile.step_times) == pytest.approx(steps.end_s - steps.begin_s, rel=2e-12)
    assert np.all(steps.begin_s[1:] >= steps.end_s[:-1])


@pytest.mark.parametrize("load", LOADS)
def test_the_steps_carry_the_requests_tokens(basis_for, played, load):
    setup, _, basis = basis_for({}, model="Llama-3.2-1B", **load)
    plan, records, steps = played(setup, basis.profile)
    rows = records.rows
    emitted = int((steps.emitting * steps.num_steps).sum())
    prefilled = int((steps.tokens - steps.decodes).sum())
    if plan.steady:  # the horizon cuts requests off: those that are under way have records too
        assert set(rows["ending"]) > {COMPLETED}
    else:
        assert emitted == rows["output_tokens"].sum()
        assert prefilled == (rows["prompt_tokens"] - rows["cached_tokens"]).sum()
    assert np.all(steps.emitting <= setup.pool.max_num_seqs)
    pure = steps.prefills == 0
    assert np.all(steps.tokens[pure] == steps.decodes[pure])
    assert np.all(steps.pairs[pure] == 0)
    assert np.all(steps.num_steps[~pure] == 1)


def test_a_preempted_request_is_computed_again(basis_for, played):
    """The last token that is computed again may be taken for a decode: steps are as long to 1e-4 all the same."""
    setup, _, basis = basis_for({}, load="concurrency=100", isl="4000", osl="1000")
    _, records, steps = played(setup, basis.profile)
    rows = records.rows
    assert rows["num_preemptions"].sum() > 0
    assert (steps.tokens - steps.decodes).sum() > rows["prompt_tokens"].sum()
    assert (steps.emitting * steps.num_steps).sum() == pytest.approx(rows["output_tokens"].sum(), rel=1e-4)
    assert steps.time_s(basis.profile.step_times) == pytest.approx(steps.end_s - steps.begin_s, rel=1e-4)


def test_a_single_step(basis_for):
    _, _, basis = basis_for({}, load="decode_batch~7", isl="1000")
    times = basis.profile.step_times
    assert one_step(7, 7000).time_s(times)[0] == pytest.approx(times.step_s(7, 7, 7000, 7), rel=1e-12)


@given(
    lengths=st.lists(st.tuples(st.floats(0.001, 1.0), st.floats(0.0, 1.0)), min_size=1, max_size=8),
    changes=st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=8, max_size=8),
    spans=st.lists(st.tuples(st.floats(-1, 12), st.floats(0, 12)), min_size=1, max_size=5),
)
def test_changes_between_times_are_the_sum_over_steps_by_their_share(lengths, changes, spans):
    ends = np.cumsum([length + gap for length, gap in lengths])
    begins = ends - [length for length, _ in lengths]
    count = len(lengths)
    steps = dataclasses.replace(blank(count), begin_s=begins, end_s=ends)
    change = np.array(changes[:count])
    from_s = np.array([begin for begin, _ in spans])
    to_s = from_s + [length for _, length in spans]
    found = change_between(steps, list(change.T), from_s, to_s)
    for i, (low, high) in enumerate(zip(from_s, to_s, strict=True)):
        covered = np.clip(np.minimum(ends, high) - np.maximum(begins, low), 0.0, None) / (ends - begins)
        assert found[i] == pytest.approx(covered @ change, abs=1e-9)


def blank(count):
    whole = np.zeros(count, dtype=np.int64)
    return Steps(np.zeros(count), np.zeros(count), whole, whole, whole, whole, whole, whole, whole)
