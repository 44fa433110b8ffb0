"""A run's folder: the files that other programs may lean on, with their keys, and what `--json` prints."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import sim
from sim.cli import app
from sim.metrics.records import ENDINGS
from sim.metrics.timeline import INTERVAL

FILES = {"result.json", "run_info.json", "requests.parquet", "timeline.parquet", "scenario.yaml", "report.html"}
# The keys of `vllm bench serve --save-result` that hold for any backend, but for the date.
VLLM = {
    "endpoint_type", "backend", "label", "model_id", "tokenizer_id", "num_prompts", "request_rate", "burstiness",
    "max_concurrency", "duration", "completed", "failed", "total_input_tokens", "total_output_tokens",
    "request_throughput", "request_goodput", "output_throughput", "total_token_throughput",
}  # fmt: skip
LATENCIES = {
    f"{kind}_{name}_ms" for kind in ("mean", "median", "std", "p99") for name in ("ttft", "tpot", "itl", "e2el")
}
OWN = {
    "version", "digest", "seed", "horizon_s", "warmup_s", "saturation", "cost", "energy", "cache", "by_tier", "by_pool",
    "by_language", "calibration",
}  # fmt: skip
BY_TIER = {
    "num_requests", "num_user_messages", "user_message_success_frac", "slo_attainment_frac", "cost_usd",
    "cost_usd_per_1m_output_tokens", "cost_usd_per_user_month", *(f"num_{ending}" for ending in ENDINGS),
}  # fmt: skip
INFO = {"clock", "leap", "wall_s", "requests_per_wall_s", "peak_rss_bytes", "host", "date"}
# A quarter of an hour of everything: tiers, guards, API, impatient people, an autoscaler, faults, a run-in.
ARGUMENTS = (
    "meridian-1", "--override", "small", "--duration", "15 min", "--seed", "5", "--set", "run_in=10 min",
)  # fmt: skip


def call(*arguments):
    ended = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "200"}).invoke(app, arguments)
    assert ended.exit_code == 0, ended.output
    return ended


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a run."""
    out = tmp_path_factory.mktemp("run") / "out"
    call("run", *ARGUMENTS, "--out", str(out))
    return out


@pytest.fixture(scope="module")
def result(folder):
    return json.loads((folder / "result.json").read_text())


def test_the_files_are_there(folder):
    assert {path.name for path in folder.iterdir()} >= FILES


def test_the_result_has_the_promised_keys(result):
    assert result.keys() >= VLLM | LATENCIES | {"sim"}
    assert "date" not in result
    assert result["sim"].keys() >= OWN
    assert set(result["sim"]["by_tier"]) == {"free", "plus", "pro", "api"}
    for tier in result["sim"]["by_tier"].values():
        assert tier.keys() >= BY_TIER | LATENCIES
        assert tier["num_requests"] == sum(tier[f"num_{ending}"] for ending in ENDINGS) > 0
    assert (result["sim"]["seed"], result["sim"]["horizon_s"], result["sim"]["warmup_s"]) == (5, 900.0, 600.0)
    assert result["sim"]["version"] == sim.__version__


def test_what_depends_on_the_machine_stands_apart(folder, result):
    info = json.loads((folder / "run_info.json").read_text())
    assert info.keys() >= INFO
    assert not INFO & result.keys()
    assert (info["clock"], info["leap"]) == ("compiled", True)
    assert info["requests_per_wall_s"] == pytest.approx(result["num_prompts"] / info["wall_s"])


def test_the_sample_of_requests_stands_for_all_of_them(folder, result):
    table = pq.read_table(folder / "requests.parquet").to_pandas()
    assert table["weight"].sum() == pytest.approx(result["num_prompts"], rel=1e-9)
    by_ending = table.groupby("ending", observed=True)["weight"].sum()
    for ending in set(ENDINGS) - {"completed"}:
        rows = table[table["ending"] == ending]
        assert len(rows) == by_ending.get(ending, 0.0) == result["sim"]["endings"][f"num_{ending}"]
    assert table["arrived_s"].min() >= 0.0
    assert not table.duplicated(["user", "conversation", "turn"]).any()


def test_the_timeline_has_a_row_for_each_interval_and_pool(folder, result):
    table = pq.read_table(folder / "timeline.parquet")
    assert set(table.column_names) == set(INTERVAL.names)
    rows = table.to_pandas()
    assert set(rows["pool"]) == set(result["sim"]["by_pool"]) == {"main", "api", "guard", "api-guard"}
    for _, pool in rows.groupby("pool", observed=True):
        assert pool["t_s"].tolist() == [-600.0, 0.0]
        assert pool["width_s"].tolist() == [600.0, 900.0]


def test_the_written_scenario_gives_the_same_again(folder, tmp_path):
    call("run", str(folder / "scenario.yaml"), "--out", str(tmp_path))
    for name in FILES - {"run_info.json", "report.html"}:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_a_report_can_be_drawn_again_from_the_run(folder):
    done = sim.run(sim.load(folder / "scenario.yaml"))
    assert done.result == json.loads((folder / "result.json").read_text())
    assert len(done.requests) == pq.read_metadata(folder / "requests.parquet").num_rows
    assert done.figures


class References(HTMLParser):
    """Whatever a page's elements ask the browser to fetch, and its styles."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.styles, self._tag = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._tag = tag
        self.fetched += [value for name, value in attrs if name in {"src", "href", "srcset", "action", "data"}]
        self.styles += [value for name, value in attrs if name == "style"]

    def handle_data(self, data):
        if self._tag == "style":
            self.styles.append(data)


def test_the_report_asks_for_nothing_from_a_network(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = References(text)
    assert [value for value in page.fetched if not value.startswith(("#", "data:"))] == []
    assert page.styles
    assert not re.search(r"@import|url\(\s*['\"]?(?!data:|#)", " ".join(page.styles))
    # Scripts and styles may come from the page itself alone, and no script may fetch.
    policy = re.search(r'http-equiv="Content-Security-Policy"\s+content="([^"]*)"', text).group(1)
    assert policy.startswith("default-src 'none';")
    assert "connect-src" not in policy
    assert "http" not in policy


def test_json_stands_alone_on_standard_output(tmp_path, repository):
    command = [sys.executable, "-m", "sim", "run", "quickstart", "--json", "--duration", "1 min", "--out", "here"]
    env = os.environ | {"PYTHONPATH": str(repository)}
    ended = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    printed = json.loads(ended.stdout)
    assert ended.stderr == f"Report: {os.path.join('here', 'report.html')}\n"  # noqa: PTH118  (as the system writes it)
    assert printed.pop("run_info") == json.loads((tmp_path / "here" / "run_info.json").read_text())
    assert printed == json.loads((tmp_path / "here" / "result.json").read_text())


def test_a_second_run_takes_the_place_of_the_first(tmp_path):
    call("run", "quickstart", "--duration", "1 min", "--no-report", "--out", str(tmp_path))
    first = json.loads((tmp_path / "result.json").read_text())
    call("run", "quickstart", "--duration", "2 min", "--no-report", "--out", str(tmp_path))
    second = json.loads((tmp_path / "result.json").read_text())
    assert (first["sim"]["horizon_s"], second["sim"]["horizon_s"]) == (60.0, 120.0)
    assert second["num_prompts"] > first["num_prompts"] > 0
