"""Recorded cases are read exactly, or refused with everything that is wrong with them."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sim.errors import TraceError
from sim.fleet.golden import CONFIG_KEYS, FILES, as_world, find_cases, read_case, segment_key

RECORDED = Path(__file__).parents[1] / "golden"


@pytest.fixture
def case(tmp_path):
    """A copy of a small case, to be spoilt."""
    return Path(shutil.copytree(RECORDED / "tiny_pool", tmp_path / "tiny_pool"))


def message(folder):
    with pytest.raises(TraceError) as caught:
        read_case(folder)
    return str(caught.value)


def edit(path, **changes):
    """Change keys of a JSON object; `...` removes one."""
    data = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in data.items() if value is not ...}))


def test_cases_are_found_where_they_are(case, tmp_path):
    assert len(find_cases([RECORDED])) >= 6
    assert find_cases([case, tmp_path, case]) == [case]
    (tmp_path / "empty").mkdir()
    with pytest.raises(TraceError) as caught:
        find_cases([tmp_path / "empty", tmp_path / "absent"])
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'empty'}  no recorded case here or one folder below: {', '.join(FILES)}",
        f"{tmp_path / 'absent'}  no such folder",
    ]


def test_a_case_is_one_replica_and_its_arrivals():
    case = read_case(RECORDED / "multi_turn_preempt")
    world, (rows, segments) = as_world(case, "blocks")
    (pool,) = world.pools
    assert (pool.num_gpu_blocks, pool.max_num_batched_tokens, pool.cache) == (300, 512, "blocks")
    assert pool.max_num_active_seqs == 0
    times = case.config["step_time"]
    # One decode at context 10 beside a prefill of 3 tokens.
    assert pool.step_times.step_s(4, 1, 10, 2, 6) == pytest.approx(
        times["c0"] + 4 * times["c1"] + 10 * times["c2"] + 6 * times["c3"], rel=1e-12
    )
    assert rows["t_s"].tolist() == sorted(request["arrival"] for request in case.requests)
    assert rows["num_segments"].sum() == len(segments)
    for row, stretch in zip(rows, np.split(segments, np.cumsum(rows["num_segments"])[:-1]), strict=True):
        (request,) = [request for request in case.requests if request["id"] == row["user"]]
        assert stretch["tokens"].tolist() == [n for _, n in request["prompt"]]
        assert stretch["tokens"].sum() == row["user_tokens"]
        assert stretch["key"].tolist() == [segment_key(name, world.seed) for name, _ in request["prompt"]]


def test_segments_have_keys_of_their_own():
    names = [name for n in range(100) for name in (f"out:{n}", f"u{n}", f"out:x{n}")]
    assert len({segment_key(name, 1) for name in names}) == len(names)
    assert segment_key("out:3", 1) != segment_key("out:3", 2)
    assert segment_key("sys", 1) == segment_key("sys", 2)


def test_priorities_become_classes():
    case = read_case(RECORDED / "priority_preempt")
    world, (rows, _) = as_world(case)
    given = [world.classes[class_id].priority for class_id in rows["class_id"]]
    assert given == [request["priority"] for request in case.requests]
    assert len(set(given)) > 1


def test_every_file_is_needed(case):
    for name in FILES:
        (case / name).rename(case / "aside")
        assert message(case) == f"{case / name}  cannot be read: No such file or directory"
        (case / "aside").rename(case / name)


CONFIGS = {
    "max_num_sequences: unknown key. Did you mean max_num_seqs?": {"max_num_sequences": 4},
    "max_num_seqs: missing": {"max_num_seqs": ...},
    'max_num_seqs: must be a whole number from 1 on, got "8"': {"max_num_seqs": "8"},
    "num_gpu_blocks: must be a whole number from 2 on, got 1": {"num_gpu_blocks": 1},
    'policy: must be fcfs or priority, got "sjf"': {"policy": "sjf"},
    "watermark: must be a number from 0 to 1, got 1.5": {"watermark": 1.5},
    "async_scheduling: must be true or false, got 1": {"async_scheduling": 1},
    "step_time.c3: missing": {"step_time": {"c0": 1, "c1": 0, "c2": 0}},
    "step_time.c1: must be a time from 0 on [s], got -1": {"step_time": {"c0": 1, "c1": -1, "c2": 0, "c3": 0}},
    "step_time.c4: unknown key.": {"step_time": {"c0": 1, "c1": 0, "c2": 0, "c3": 0, "c4": 0}},
    "max_num_batched_tokens: must be at least max_num_seqs (8)": {"max_num_batched_tokens": 7},
}


@pytest.mark.parametrize("says", CONFIGS)
def test_wrong_settings_are_named(case, says):
    edit(case / "config.json", **CONFIGS[says])
    assert message(case).startswith(f"{case / 'config.json'}  {says}")


def test_all_wrong_settings_come_at_once(case):
    (case / "config.json").write_text("{}")
    assert len(message(case).splitlines()) == len(CONFIG_KEYS)
    (case / "config.json").write_text("[1]")
    assert message(case) == f"{case / 'config.json'}  must be an object, got [1]"
    (case / "config.json").write_text('{"a": ')
    assert message(case).startswith(f"{case / 'config.json'}  not JSON: ")


REQUESTS = {
    "[0].prompt: must be a list of [segment, tokens], got []": {"prompt": []},
    '[0].prompt: must be a list of [segment, tokens], got [["a", 0]]': {"prompt": [["a", 0]]},
    "[0].output: must be a whole number from 1 on, got 0": {"output": 0},
    "[0].arrival: must be a time from 0 on [s], got NaN": {"arrival": float("nan")},
    "[0].id: must be a whole number from 0 on, got 1.5": {"id": 1.5},
    '[0].priority: must be a whole number, got "high"': {"priority": "high"},
    "[1].id: 1 is another request's id too": {"id": 1},
    "request 0: a prompt of 96 tokens leaves no room in max_model_len": {"prompt": [["a", 50], ["b", 46]]},
}


@pytest.mark.parametrize("says", REQUESTS)
def test_wrong_requests_are_named(case, says):
    path = case / "requests.json"
    requests = json.loads(path.read_text())
    requests[0] |= REQUESTS[says]
    path.write_text(json.dumps(requests))
    assert f"{path}  {says}" in message(case)


def test_labels_of_requests_are_let_be(case):
    path = case / "requests.json"
    path.write_text(json.dumps([request | {"session": 3} for request in json.loads(path.read_text())]))
    assert read_case(case).requests[0]["session"] == 3
    path.write_text("[]")
    assert f"{path}  no requests" in message(case)


def test_wrong_steps_are_named_by_line(case):
    path = case / "steps.jsonl.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    lines[2] = "{"
    lines[4] = lines[4].replace('"free":', '"freed":')
    lines[5] = lines[5].replace('"sched":[[', '"sched":[["x",')
    del lines[7]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    found = message(case).splitlines()
    assert found[0].startswith(f"{path}:3  not JSON: ")
    assert f"{path}:5  free: missing" in found
    assert any(line.startswith(f"{path}:6  sched: must be a list of [id, whole number,") for line in found)
    assert len(found) == 20
    path.write_bytes(path.read_bytes()[:100])
    assert "steps.jsonl.gz  the gzip file is damaged or cut off" in message(case)


def test_wrong_records_are_named_by_line(case):
    path = case / "requests_out.csv"
    head, first, *rest = path.read_text().splitlines()
    cells = first.split(",")
    path.write_text("\n".join([head, ",".join([*cells[:3], "many", *cells[4:]]), *rest]))
    assert message(case) == f'{path}:2  prompt_tokens: must be a whole number, got "many"'
    path.write_text("\n".join([head, *rest]))
    assert message(case) == f"{path}  no row for request {cells[0]}"
    path.write_text("\n".join([head, first, *rest, ",".join(["777", *cells[1:]])]))
    assert message(case) == f"{path}  requests.json has no request 777"
    path.write_text("\n".join([head.replace("ttft", "TTFT"), first, *rest]))
    assert message(case) == f"{path}:1  the header lacks ttft"


def test_a_batch_policy_may_be_named_and_says_what_it_does_not_know(case):
    path = case / "config.json"
    edit(path, batch_policy="static")
    assert as_world(read_case(case))[0].pools[0].batch_policy == "static"
    edit(path, max_num_active_seqs=3, async_scheduling=True)
    names = "max_num_active_seqs", "async_scheduling"
    assert message(case).splitlines() == [f"{path}  {name}: not known to static" for name in names]
    edit(path, batch_policy="dynamic")
    allowed = "vllm_v1 or prefill_first or reserve_full or static"
    assert message(case) == f'{path}  batch_policy: must be {allowed}, got "dynamic"'
