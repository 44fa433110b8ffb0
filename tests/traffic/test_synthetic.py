"""Load generators."""

import numpy as np
import pytest

from sim.traffic import build

OPEN = {
    "kind": "open_loop",
    "rate_per_s": 5,
    "input_sequence_length": {"distribution_type": "lognormal", "mean": 500, "standard_deviation": 400},
    "output_sequence_length": {"distribution_type": "percentiles", "percentiles": "azure-2023-conv-output"},
    "tier": "free",
}
CLOSED = {
    "kind": "closed_loop",
    "concurrency": 70_000,
    "requests_per_user": 4,
    "reissue_delay_s": 0.5,
    "input_sequence_length": 512,
    "output_sequence_length": 128,
    "tier": "plus",
}


def arrivals(source):
    return np.concatenate([chunk.rows for chunk in source.chunks()])


def test_a_poisson_process_has_its_rate_and_its_lengths(scenario, within):
    source = build(scenario(traffic=OPEN, run_in=0, horizon="2 h"))
    said, found = source.describe(), arrivals(source)
    assert said["requests"] == 36_000
    # Counts of a Poisson process in separate seconds are independent.
    within(np.bincount(found["t_s"].astype(int), minlength=7200), 36_000, "requests")
    gaps = np.diff(found["t_s"])
    # Of exponential gaps, Var((x - m)^2) = 8 m^4, so the cv of n of them has standard error 1 / sqrt(n).
    assert abs(gaps.std() / gaps.mean() - 1) < 4 / np.sqrt(len(gaps))
    assert said["mean_user_tokens"] == pytest.approx(500)
    within(found["user_tokens"] - said["mean_user_tokens"], 0, "user tokens")
    within(found["output_tokens"] - said["mean_output_tokens"], 0, "output tokens")
    within(found["user_tokens"] + 1000 - said["prompt_tokens"] / 36_000, 0, "prompt")
    assert np.array_equal(found["user"], np.arange(len(found)))
    assert set(found["num_turns"]) == {1}
    assert set(found["bucket"]) == {-1}


def test_burstiness_is_the_shape_of_the_gaps(scenario):
    for burstiness in (0.25, 4.0):
        source = build(scenario(traffic={**OPEN, "burstiness": burstiness}, run_in=0, horizon="2 h"))
        gaps = np.diff(arrivals(source)["t_s"])
        deviations = (gaps - gaps.mean()) ** 2
        error = deviations.std() / np.sqrt(len(gaps)) / (2 * gaps.std()) + gaps.std() / np.sqrt(len(gaps))
        assert abs(gaps.std() - burstiness**-0.5 / 5) < 4 * error


def test_the_number_of_requests_is_kept(scenario):
    source = build(scenario(traffic={**OPEN, "num_requests": 1234}))
    found = arrivals(source)
    assert len(found) == 1234
    assert found["t_s"][0] >= -6 * 3600
    assert source.describe()["requests"] == 1234
    # A number beyond the horizon's is no promise.
    source = build(scenario(traffic={**OPEN, "num_requests": 10**9}, run_in=0, horizon="1 h"))
    assert source.describe()["requests"] == 5 * 3600


def test_a_closed_loop_is_one_row_a_user(scenario):
    source = build(scenario(traffic=CLOSED, run_in=0))
    chunks = [chunk.rows for chunk in source.chunks()]
    assert [len(chunk) for chunk in chunks] == [65_536, 4464]
    found = np.concatenate(chunks)
    assert np.array_equal(found["user"], np.arange(70_000))
    for column, value in {"t_s": 0, "num_turns": 4, "user_tokens": 512, "output_tokens": 128, "bucket": 0}.items():
        assert np.all(found[column] == value), column
    (traffic_class,) = source.classes
    assert traffic_class.min_think_s == 0.5
    assert np.all(traffic_class.gap_s == 0)
    assert not traffic_class.keep_history
    said = source.describe()
    assert (said["requests"], said["output_tokens"]) == (280_000, 280_000 * 128)
    assert said["hourly_curve"] is None


def test_one_process_sends_the_first_requests_one_after_another(scenario):
    source = build(scenario(traffic={**CLOSED, "reissue_interval_s": "1 ms", "concurrency": 4}, run_in=0))
    (rows,) = (chunk.rows for chunk in source.chunks())
    assert rows["t_s"].tolist() == [0.0, 0.001, 0.002, 0.003]
    assert source.classes[0].reissue_interval_s == 0.001
    assert source.describe()["inputs"]["closed_loop"]["reissue_interval_s"] == 0.001


def test_prompts_that_are_sent_again_have_one_text_and_one_length(scenario):
    lengths = {"distribution_type": "uniform", "min": 100, "max": 900}
    traffic = {**OPEN, "num_prompts": 3, "num_requests": 8, "input_sequence_length": lengths}
    (chunk,) = build(scenario(traffic=traffic, run_in=0)).chunks()
    rows, segments = chunk
    assert rows["user"].tolist() == list(range(8))
    assert np.all(rows["num_segments"] == 1)
    assert segments["tokens"].tolist() == rows["user_tokens"].tolist()
    for column in (segments["key"], rows["user_tokens"], rows["output_tokens"]):
        assert column[:5].tolist() == column[3:].tolist()
    assert len(set(segments["key"].tolist())) == 3
    assert len(set(rows["user_tokens"].tolist())) == 3


def test_names_of_tables_are_looked_up_all_at_once(scenario):
    unknown = {"distribution_type": "percentiles", "percentiles": "azure-2023-con-output"}
    with pytest.raises(Exception, match="Did you mean azure-2023-conv-output") as caught:
        build(scenario(traffic={**OPEN, "input_sequence_length": unknown, "output_sequence_length": unknown}))
    assert [p.path for p in caught.value.problems] == [
        "traffic.input_sequence_length",
        "traffic.output_sequence_length",
    ]
