"""``tokenfleet traffic``."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from sim.traffic.traces import read_trace
from sim.traffic.traces.clients import read_clients, write_clients

AZURE = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 08:15:46.0000000,250,40
2023-11-16 08:15:56.0000000,520,120
2023-11-16 08:16:06.0000000,1800,75
2023-11-16 08:16:26.0000000,60,9
"""
PEOPLE = """\
model: llama-3.1-8b
hardware: h100-sxm-80gb
horizon: 2 h
traffic: {kind: population, monthly_users: 3000}
tiers:
  free: {user_frac: 0.9}
  paid: {user_frac: 0.1, relative_use: 3, system_prompt_tokens: 600}
fleet:
  pools:
    main: {replicas: 1}
  paths:
    default: [{pool: main}]
overrides:
  more: {traffic.monthly_users: 6000}
"""
CLOSED = (
    "{kind: closed_loop, concurrency: 3, requests_per_user: 5, input_sequence_length: 9, output_sequence_length: 4}"
)


@pytest.fixture
def azure(tmp_path):
    path = tmp_path / "azure.csv"
    path.write_text(AZURE)
    return "azure.csv"


@pytest.fixture
def people(tmp_path):
    path = tmp_path / "people.yaml"
    path.write_text(PEOPLE)
    return "people.yaml"


@pytest.fixture
def statistics(tokenfleet):
    """A function of arguments that returns what the command prints as JSON."""

    def told(*arguments):
        ran = tokenfleet("traffic", *arguments, "--json")
        assert ran.exit_code == 0, ran.stderr
        return json.loads(ran.stdout)

    return told


def test_a_trace(statistics, azure):
    found = statistics(azure)
    assert found["num_requests"] == 4
    assert found["span_s"] == 40.0
    assert found["prompt_tokens"]["p50_tokens"] == 385.0
    assert found["arrivals"]["spacing"]["max_s"] == 20.0
    assert (found["sessions"], found["reuse"]) == (None, None)
    assert found["traffic"]["kind"] == "trace"


def test_a_scenario(statistics, people):
    found = statistics(people, "--ttft", "1 s", "--tpot", "20 ms")
    assert found["span_s"] == 7200.0
    assert found["traffic"]["tpot_s"] == 0.02
    assert set(found["shares"]["tier"]) == {"free", "paid"}
    assert found["sessions"]["mean_turns"] > 1
    assert not found["sessions"]["inferred"]
    assert found["gap"]["min_s"] > 2.0
    assert found["users"]["people"]["num_users"] > 100
    more = statistics(people, "--override", "more")
    assert 1.6 < more["num_requests"] / found["num_requests"] < 2.5


def test_a_change_of_seed_and_duration(statistics, people):
    found = statistics(people)
    assert statistics(people, "--seed", "2")["num_requests"] != found["num_requests"]
    assert statistics(people, "--duration", "1 h")["span_s"] == 3600.0
    assert statistics(people, "--set", "traffic.monthly_users=300")["num_requests"] < found["num_requests"] / 4


def test_a_workload(tokenfleet, statistics):
    ran = tokenfleet("traffic", "interactive-chat", "--duration", "1 h")
    assert ran.exit_code == 0, ran.stderr
    assert "does not say when conversations start: 1 a second" in ran.stdout
    found = statistics("interactive-chat", "--rate", "30/min", "--duration", "1 h")
    assert found["traffic"]["note"] is None
    assert 1500 < found["sessions"]["num_sessions"] < 2100  # 1,800, with four standard errors to spare


def test_a_closed_loop_needs_to_know_how_long_answers_take(tokenfleet, statistics, people):
    changes = ("--set", f"traffic={CLOSED}", "--set", "tiers={default: {}}")
    ran = tokenfleet("traffic", people, *changes)
    assert ran.exit_code == 2
    assert "--ttft" in ran.stderr
    found = statistics(people, *changes, "--ttft", "1 s")
    assert (found["num_requests"], found["span_s"]) == (15, 4.0)


def test_a_folder_holds_the_statistics_and_the_figures(tokenfleet, people, tmp_path):
    ran = tokenfleet("traffic", people, "--out", "here/it/is")
    assert ran.exit_code == 0, ran.stderr
    folder = tmp_path / "here" / "it" / "is"
    told = json.loads((folder / "traffic.json").read_text())
    page = (folder / "traffic.html").read_text()
    assert told["num_requests"] > 100
    for key in ("rates", "dispersion", "lengths", "gaps", "turns", "reuse"):
        assert f'id="{key}"' in page
    assert "<script src" not in page


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "csv.gz"])
def test_what_is_exported_is_read_again(tokenfleet, statistics, people, tmp_path, ending):
    found = statistics(people)
    ran = tokenfleet("traffic", people, "--export", f"out.{ending}")
    assert ran.exit_code == 0, ran.stderr
    assert ran.stdout == ""
    again = statistics(f"out.{ending}")
    assert again["num_requests"] == found["num_requests"]
    assert again["prompt_tokens"] == found["prompt_tokens"]
    assert again["output_tokens"] == found["output_tokens"]
    if ending == "parquet":
        assert again["gap"]["p50_s"] == pytest.approx(found["gap"]["p50_s"], abs=1e-6)
        assert again["shares"]["tier"] == found["shares"]["tier"]
    if ending in ("parquet", "jsonl"):
        assert again["reuse"]["unlimited"] == pytest.approx(found["reuse"]["unlimited"])
    if ending == "csv.gz":
        first = gzip.decompress((tmp_path / "out.csv.gz").read_bytes()).splitlines()[0]
        assert first == b"TIMESTAMP,ContextTokens,GeneratedTokens"


def test_the_format_can_be_named(tokenfleet, azure, tmp_path):
    ran = tokenfleet("traffic", azure, "--export", "out.txt", "--to", "vidur")
    assert ran.exit_code == 0, ran.stderr
    blocks = list(read_trace(tmp_path / "out.txt", "vidur"))
    assert np.array_equal(blocks[0].prompt_tokens, [250, 520, 1800, 60])


@pytest.mark.parametrize(
    ("options", "num", "span_s"),
    [
        (("--cut", "5 s:25 s"), 2, 10.0),
        (("--cut", "15s:"), 2, 20.0),
        (("--cut", ":15s"), 2, 10.0),
        (("--scale", "2"), 4, 20.0),
        (("--shift", "1 h"), 4, 40.0),
        (("--duration", "25 s"), 3, 20.0),
        (("--cut", "5s:", "--scale", "10"), 3, 3.0),
    ],
)
def test_operations(statistics, azure, options, num, span_s):
    found = statistics(azure, *options)
    assert (found["num_requests"], found["span_s"]) == (num, pytest.approx(span_s))
    told = {"--cut": "cut", "--thin": "thin", "--scale": "scale", "--shift": "shift", "--duration": "cut"}
    assert [said.split()[0] for said in found["traffic"]["operations"]] == [told[each] for each in options[::2]]


def test_thinning_keeps_whole_sessions(statistics, people):
    whole, some = statistics(people), statistics(people, "--thin", "0.3")
    assert some["num_requests"] == pytest.approx(0.3 * whole["num_requests"], rel=0.25)
    assert some["sessions"]["mean_turns"] > 1.5


def test_a_bad_trace_is_repaired_only_when_asked(tokenfleet, statistics, tmp_path):
    lines = AZURE.splitlines()
    (tmp_path / "bad.csv").write_text(
        "\n".join([*lines[:2], lines[4], "2023-11-16 08:15:50.0,-4,3", *lines[2:4]]) + "\n"
    )
    ran = tokenfleet("traffic", "bad.csv")
    assert ran.exit_code == 2
    assert "bad.csv:4" in ran.stderr
    assert "--repair" in ran.stderr
    found = statistics("bad.csv", "--repair")
    assert found["num_requests"] == 4
    assert found["traffic"]["rows"]["repairs"] == {"length": 1, "order": 2}
    assert "Repaired before it was read" in tokenfleet("traffic", "bad.csv", "--repair").stdout


def test_a_workload_is_fitted_and_looked_at(tokenfleet, statistics):
    changes = ("--set", "traffic.rate_per_s=1", "--set", "traffic.num_requests=null", "--duration", "20 min")
    assert tokenfleet("traffic", "quickstart", *changes, "--export", "mine.csv").exit_code == 0
    ran = tokenfleet("traffic", "--fit", "mine.csv", "--json")
    assert ran.exit_code == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert Path(told["workload"]) == Path("runs/mine/workload.yaml")
    assert isinstance(told["passed"], bool)
    rows = {row["quantity"]: row for row in told["goodness"]}
    assert rows["input tokens p50"]["passed"]
    assert rows["input tokens p50"]["low"] < rows["input tokens p50"]["trace"] < rows["input tokens p50"]["high"]
    assert any(row["passed"] is None and row["low"] is None for row in rows.values())
    assert "input tokens p50" in ran.stderr
    found = statistics(told["workload"], "--duration", "20 min")
    assert found["num_requests"] == pytest.approx(1200, abs=4 * 1200**0.5)
    assert found["traffic"]["note"] is None  # it says itself when conversations start


def test_a_fit_sees_what_the_operations_leave(tokenfleet, statistics, tmp_path):
    changes = ("--set", "traffic.rate_per_s=1", "--set", "traffic.num_requests=null", "--duration", "20 min")
    assert tokenfleet("traffic", "quickstart", *changes, "--export", "mine.csv").exit_code == 0
    lines = (tmp_path / "mine.csv").read_text().splitlines()
    (tmp_path / "mine.csv").write_text("\n".join([*lines[:9], lines[3], *lines[9:]]) + "\n")
    ran = tokenfleet("traffic", "--fit", "mine.csv", "--cut", "5min:15min", "--scale", "2")
    assert ran.exit_code == 2
    assert "mine.csv:10" in ran.stderr
    ran = tokenfleet("traffic", "--fit", "mine.csv", "--cut", "5min:15min", "--scale", "2", "--repair", "--out", "here")
    assert ran.exit_code == 0, ran.stderr
    assert "1 rows moved" in ran.stderr or "1 rows that repeat another" in ran.stderr
    text = (tmp_path / "here" / "workload.yaml").read_text()
    assert "mine.csv, cut from 300 s to 900 s, scale rate 2" in " ".join(text.split())
    found = statistics("here/workload.yaml", "--duration", "5 min")
    assert found["num_requests"] == pytest.approx(600, abs=4 * (2 * 600) ** 0.5)  # of the trace and of the fit


def test_programs_are_fitted_to_a_description_of_clients(tokenfleet, tmp_path):
    rows = [f"{client},{t_s},{2.0**client:g},1.5,Gamma,1,1" for client in range(8) for t_s in range(0, 86400, 600)]
    (tmp_path / "clients.csv").write_text("\n".join(["client,t_s,rate_rps,iat_cv,arrival_dist,p1,p2", *rows]) + "\n")
    folder = tmp_path / "described"
    write_clients(folder, read_clients(tmp_path / "clients.csv"))
    ran = tokenfleet("traffic", "--fit", "clients.csv")
    assert ran.exit_code == 0, ran.stderr
    assert "share of the largest 1" in ran.stdout
    fitted = yaml.safe_load((tmp_path / "runs" / "clients" / "api.yaml").read_text())
    assert fitted["api"]["num_clients"] == 8
    assert fitted["api"]["client_rate_sigma"] == pytest.approx(np.log(2) * 63**0.5 / 12**0.5, abs=1e-4)
    scenario = yaml.safe_load(PEOPLE)
    scenario["traffic"] |= fitted
    scenario["tiers"]["api"] = {"user_frac": 0}
    (tmp_path / "pasted.yaml").write_text(yaml.safe_dump(scenario))
    assert tokenfleet("check", "pasted.yaml").exit_code == 0
    told = json.loads(tokenfleet("traffic", "--fit", "described", "--json", "--out", "again").stdout)
    assert Path(told["api"]) == Path("again/api.yaml")
    assert yaml.safe_load((tmp_path / "again" / "api.yaml").read_text()) == fitted
    ran = tokenfleet("traffic", "--fit", "clients.csv", "--thin", "0.5")
    assert ran.exit_code == 2
    assert "holds no requests" in ran.stderr
    assert "--fit" in tokenfleet("traffic", "clients.csv").stderr


def test_two_kinds_of_traffic_side_by_side(tokenfleet, statistics, azure):
    told = statistics(azure, "--compare", "interactive-chat", "--duration", "1 h")
    assert told["compared_with"]["traffic"]["name"] == "interactive-chat"
    ran = tokenfleet("traffic", azure, "--compare", "interactive-chat", "--duration", "1 h")
    line = next(line for line in ran.stdout.splitlines() if line.strip().startswith("prompt [tokens], p50"))
    assert line.split()[-1].endswith("%")


@pytest.mark.usefixtures("azure")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("meridian1",), "Did you mean meridian-1?"),
        (("nowhere.csv",), "no file nowhere.csv"),
        (("azure.csv", "--format", "azur"), "azur"),
        (("azure.csv", "--cut", "3s"), "FROM:TO"),
        (("azure.csv", "--cut", "3s:1s"), "ends before it begins"),
        (("azure.csv", "--cut", "3 apples:"), "unknown unit"),
        (("azure.csv", "--cut", "2 h:3 h"), "no request is left"),
        (("azure.csv", "--thin", "2"), "at most 1"),
        (("azure.csv", "--scale", "0"), "more than 0"),
        (("azure.csv", "--shift", "-1s"), "at least 0"),
        (("azure.csv", "--rate", "3/s"), "--scale"),
        (("azure.csv", "--override", "x"), "--override"),
        (("azure.csv", "--export", "out.xyz"), "does not tell a format"),
        (("azure.csv", "--export", "out.csv", "--to", "azurre"), "Did you mean azure?"),
        (("azure.csv", "--export", "no/such/folder/out.csv"), "cannot be written"),
        (("azure.csv", "--out", "azure.csv"), "azure.csv"),
        (("interactive-chat", "--repair"), "only the file of a trace"),
        (("interactive-chat", "--fit"), "--fit"),
        (("azure.csv", "--fit", "--scale", "2"), "too few to fit"),
        (("azure.csv", "--fit", "--export", "out.csv"), "not together with --fit"),
        (("azure.csv", "--fit", "--compare", "voice"), "not together with --fit"),
        (("chat.json",), "--set traffic.rate_per_s=2"),
        (("part.csv",), "looks like azure, but has no GeneratedTokens"),
        (("empty.csv",), "the file is empty"),
        ((".",), "no trace in folder ."),
        (("quickstart", "--set", "traffic.rate=2"), "traffic.rate"),
        (("quickstart", "--ttft", "fast"), "--ttft"),
    ],
)
def test_mistakes_are_explained(tokenfleet, tmp_path, arguments, said):
    (tmp_path / "chat.json").write_text('[{"conversations": [{"from": "human", "value": "hi"}]}]')
    (tmp_path / "part.csv").write_text("TIMESTAMP,ContextTokens\n2023-11-16 08:15:46.0000000,250\n")
    (tmp_path / "empty.csv").write_text("")
    ran = tokenfleet("traffic", *arguments)
    assert ran.exit_code == 2, ran.stdout
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_several_mistakes_are_told_at_once(tokenfleet, azure):
    ran = tokenfleet("traffic", azure, "--thin", "2", "--ttft", "fast", "--cut", "1")
    assert ran.exit_code == 2
    for option in ("--thin", "--ttft", "--cut"):
        assert option in ran.stderr
