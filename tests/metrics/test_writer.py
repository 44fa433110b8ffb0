import hashlib
import json
import os

import numpy as np
import pyarrow.parquet as pq
import pytest
from synthetic import GROUPS, collect, done, finished, measured

from sim.errors import SpecError
from sim.metrics.collector import KEPT, SampleSize
from sim.metrics.records import COMPLETED, ENDINGS
from sim.metrics.tables import requests_table
from sim.metrics.writer import check_output, read_run, write_run

FILES = {
    "result.json",
    "run_info.json",
    "assumptions.json",
    "scenario.yaml",
    "requests.parquet",
    "timeline.parquet",
    "histograms.parquet",
}


@pytest.fixture(scope="module")
def run_and_requests():
    return finished(5000, saturated=True)


@pytest.fixture(scope="module")
def folder(run_and_requests, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "deep" / "run"
    write_run(folder, *run_and_requests)
    return folder


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_all_files_are_there_and_have_the_same_bytes_every_time(folder, tmp_path):
    write_run(tmp_path, *finished(5000, saturated=True))
    assert digests(tmp_path) == digests(folder)
    assert set(digests(folder)) == FILES


def test_an_earlier_run_is_replaced(folder, run_and_requests, tmp_path):
    for name in FILES:
        (tmp_path / name).write_text("old")
    write_run(tmp_path, *run_and_requests)
    assert digests(tmp_path) == digests(folder)


def test_what_is_read_is_what_was_written(folder, run_and_requests):
    run = run_and_requests[0]
    again = read_run(folder)
    assert again.result == run.result
    assert again.info == run.info
    assert again.assumptions == run.assumptions
    assert (again.tiers, again.pools, again.scenario_yaml) == (run.tiers, run.pools, run.scenario_yaml)
    assert again.timeline.tobytes() == run.timeline.tobytes()
    assert {(t, m) for t in again.histograms for m in again.histograms[t]} == {
        (t, m) for t in run.histograms for m in run.histograms[t]
    }
    for tier, by_metric in run.histograms.items():
        for metric, counts in by_metric.items():
            assert np.array_equal(again.histograms[tier][metric], counts)


def test_unknown_numbers_of_the_timeline_survive(tmp_path, run_and_requests):
    run, requests = run_and_requests
    run.timeline["margin_frac"][3] = np.nan
    run.timeline["growth_stderr_per_s"][4] = np.inf
    write_run(tmp_path, run, requests)
    again = read_run(tmp_path).timeline
    assert np.isnan(again["margin_frac"][3])
    assert again["growth_stderr_per_s"][4] == np.inf
    assert pq.read_table(tmp_path / "timeline.parquet")["margin_frac"].null_count == 1


def test_requests_have_names_in_place_of_codes_and_null_where_nothing_happened(folder):
    frame = pq.read_table(folder / "requests.parquet").to_pandas()
    rows = measured(done(5000))
    assert len(frame) == len(rows)
    assert set(frame["ending"]) == set(ENDINGS)
    assert set(frame["tier"]) == {tier.name for tier in GROUPS.tiers}
    assert set(frame["kept"]) <= set(KEPT)
    assert frame["arrived_s"].is_monotonic_increasing
    completed = frame[frame["ending"] == "completed"]
    assert np.allclose(completed["ttft_s"], completed["first_token_s"] - completed["arrived_s"])
    assert "cost_usd" not in frame  # a request's own share is no tier's cost
    assert frame["busy_cost_usd"].sum() == pytest.approx(rows["cost_usd"].sum())
    one_token = completed["output_tokens"] == 1
    assert one_token.any()
    assert completed["tpot_s"].isna().equals(one_token)
    rest = frame[frame["ending"] != "completed"]
    assert rest[["ttft_s", "e2el_s", "slo_met"]].isna().all(axis=None)
    assert rest.loc[rest["ending"] == "shed", "pool"].isna().all()


def test_rows_and_collector_agree_on_who_met_the_slo():
    rows = done(4000)
    collector = collect(rows, size=SampleSize())
    frame = requests_table(collector).to_pandas()
    judged = frame[frame["slo_met"].notna()]
    assert set(judged["tier"]) == {"free", "pro"}
    cells = [i for i, c in enumerate(GROUPS.classes) if c.tier != "api"]
    met = collector.num_met.reshape(len(GROUPS.classes), -1, collector.num_met.shape[-1])
    assert judged["slo_met"].sum() == met[cells, :, -1].sum()
    assert len(judged) == ((frame["ending"] == ENDINGS[COMPLETED]) & (frame["tier"] != "api")).sum()


def test_result_is_plain_json(folder):
    text = (folder / "result.json").read_text()
    assert json.loads(text)["sim"]["saturation"]["verdict"] == "saturated"
    assert "NaN" not in text


def test_an_output_folder_is_made_and_left_empty(tmp_path):
    check_output(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_an_output_folder_that_is_a_file_is_refused_with_advice(tmp_path):
    (tmp_path / "taken").write_text("")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(SpecError, match="--out") as caught:
            check_output(folder)
        assert str(folder) in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_an_output_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(SpecError, match="cannot write"):
        check_output(tmp_path)
    tmp_path.chmod(0o700)


def test_a_file_that_cannot_be_written_is_a_clear_error(tmp_path, run_and_requests):
    (tmp_path / "result.json").mkdir()
    with pytest.raises(SpecError, match="cannot write"):
        write_run(tmp_path, *run_and_requests)


def test_a_folder_without_a_run_is_a_clear_error(tmp_path):
    with pytest.raises(SpecError, match="no complete run"):
        read_run(tmp_path)
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(SpecError, match="no complete run"):
        read_run(tmp_path)
