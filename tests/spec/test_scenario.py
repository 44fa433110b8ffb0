"""Scenarios: defaults, rules between the parts, and YAML and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.errors import SpecError
from sim.spec import Scenario, Slo, read_scenario

SMALL = """\
model: llama-3.1-8b
hardware: h100-sxm-80gb
traffic:
  kind: open_loop
  rate_per_s: 600 req/min
  input_sequence_length: 512
  output_sequence_length: 128
fleet:
  pools:
    main: {replicas: 2}
"""

PEOPLE = """\
model: m
hardware: h
horizon: 2 h
run_in: 10 min
traffic:
  kind: population
  monthly_users: 10M
  api: {workload: api-service, tier: api}
tiers:
  free: {user_frac: 90 %, path: chat, patience: 30 s}
  paid: {user_frac: 0.1, path: chat, slo: {ttft_s: 500 ms}}
  api: {path: direct, rate_limit: {requests_per_minute: 10 req/s, burst: 5}}
slo: {ttft_s: 2 s}
fleet:
  pools:
    guard: {model: g}
    main: {replicas: 4, tensor_parallel_size: 4}
  paths:
    chat: [{pool: guard, kind: classify, template_tokens: 200, block_frac: 1 %}, {pool: main}]
    direct: [{pool: main}]
  operations:
    - {at: 1 h, do: drain, pool: main, replicas: 2}
    - {at: 30 min, do: add, pool: main, replicas: 3}
"""


def _fails(text: str, old: str, new: str) -> list[str]:
    assert old in text
    with pytest.raises(SpecError) as caught:
        read_scenario(text.replace(old, new), "f.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_what_is_not_said_has_a_default():
    scenario = read_scenario(SMALL, "folder/small-one.yaml")
    assert (scenario.name, scenario.seed, scenario.horizon_s) == ("small-one", 1, 86400.0)
    assert list(scenario.tiers) == ["default"]
    (visit,) = scenario.fleet.paths["default"]
    assert (visit.pool, visit.kind) == ("main", "generate")
    assert scenario.traffic.rate_per_s == 10.0


def test_a_pool_takes_from_the_scenario_what_it_does_not_say():
    scenario = read_scenario(PEOPLE, "f.yaml")
    assert (scenario.pool("guard").model, scenario.pool("main").model) == ("g", "m")
    assert (scenario.pool("guard").hardware, scenario.pool("guard").max_replicas) == ("h", 1)
    assert scenario.pool("main").max_replicas == 7
    assert scenario.pool("main").num_gpus_per_replica == 4


def test_a_tier_takes_its_targets_from_the_scenario():
    scenario = read_scenario(PEOPLE, "f.yaml")
    assert scenario.slo_of("free") == Slo(ttft_s=2)
    assert scenario.slo_of("paid") == Slo(ttft_s=0.5)


@pytest.mark.parametrize(
    ("text", "drain", "drains"),
    [(SMALL, "", True), (PEOPLE, "", False), (SMALL, "drain: no\n", False), (PEOPLE, "drain: true\n", True)],
)
def test_days_stop_at_the_horizon_and_generators_drain(text, drain, drains):
    assert read_scenario(drain + text, "f.yaml").drains is drains


@pytest.mark.parametrize(
    ("text", "old", "new", "messages"),
    [
        (SMALL, "600 req/min", "-1", ["f.yaml:5  traffic.rate_per_s: must be > 0, got -1"]),
        (
            SMALL,
            "rate_per_s",
            "rate_pers",
            ["f.yaml:3  traffic.rate_per_s: missing.", "f.yaml:5  traffic.rate_pers: unknown"],
        ),
        (SMALL, "512", ".nan", ["f.yaml:6  traffic.input_sequence_length: nan is not finite"]),
        (
            SMALL,
            "open_loop",
            "openloop",
            ['f.yaml:4  traffic.kind: "openloop" is not allowed. Did you mean open_loop?'],
        ),
        (SMALL, "model:", "modle:", ["f.yaml:1  modle: unknown field. Did you mean model?"]),
        (
            SMALL,
            "model: llama-3.1-8b",
            "",
            ["f.yaml:10  fleet.pools.main: no model: give it here or as the scenario's `model`"],
        ),
        (SMALL, "main:", "70b:", ['f.yaml:10  fleet.pools.70b: "70b" is no name']),
        (
            SMALL,
            "replicas: 2",
            "replicas: 2, max_replicas: 1",
            ["f.yaml:10  fleet.pools.main.max_replicas: must be >= replicas"],
        ),
        (
            SMALL,
            "replicas: 2",
            "max_num_seqs: 9000",
            ["f.yaml:10  fleet.pools.main.max_num_batched_tokens: must be >= max_n"],
        ),
        (
            SMALL,
            "replicas: 2",
            "enable_chunked_prefill: no, max_model_len: 10000",
            ["f.yaml:10  fleet.pools.main.max_num_batched_tokens: must be >= max_model_len (10000) where enable"],
        ),
        (
            SMALL,
            "replicas: 2",
            "gpu_memory_utilization: 90",
            ["f.yaml:10  fleet.pools.main.gpu_memory_utilization: must be <= 1"],
        ),
        (
            SMALL,
            "replicas: 2",
            "weights: fp9",
            ['f.yaml:10  fleet.pools.main.weights: "fp9" is not allowed. Did you mean fp8?'],
        ),
        (
            SMALL,
            "    main: {replicas: 2}",
            "    main: null",
            ["f.yaml:9  fleet.pools: too few entries: 0; give at least 1"],
        ),
        (
            SMALL,
            "    main: {replicas: 2}",
            "    main: {}\n    more: {}",
            ["f.yaml:8  fleet.paths: missing: say which pools"],
        ),
        (PEOPLE, "90 %", "80 %", ["f.yaml:9  tiers: user_frac must sum to 1 over the tiers, got 0.9"]),
        (
            PEOPLE,
            "tier: api",
            "tier: apis",
            ["f.yaml:8  traffic.api.tier: no tier of that name: apis. Did you mean api?"],
        ),
        (
            PEOPLE,
            "path: direct",
            "path: dirct",
            ["f.yaml:12  tiers.api.path: no path of that name in fleet.paths: dirct. Did you"],
        ),
        (
            PEOPLE,
            "direct: [{pool: main}]",
            "direct: [{pool: man}]",
            ["f.yaml:20  fleet.paths.direct.0.pool: no pool of that name: man."],
        ),
        (
            PEOPLE,
            "1 %}, {pool: main}]",
            "1 %}]",
            ["f.yaml:19  fleet.paths.chat.0.kind: a path ends with a generate visit, or"],
        ),
        (
            PEOPLE,
            "kind: classify, ",
            "",
            ["f.yaml:19  fleet.paths.chat.0.template_tokens: belongs to a visit", "block_frac: belongs to"],
        ),
        (
            PEOPLE,
            "replicas: 2}",
            "replicas: 7}",
            ["f.yaml:22  fleet.operations.0: would leave no replica of pool main"],
        ),
        (
            PEOPLE,
            "tensor_parallel_size: 4",
            "max_replicas: 6",
            ["f.yaml:23  fleet.operations.1: would make 7 replicas of pool main"],
        ),
        (
            PEOPLE,
            "pool: main, replicas: 3",
            "pool: mein, replicas: 3",
            ["f.yaml:23  fleet.operations.1.pool: no pool of that name: mein"],
        ),
        (PEOPLE, "horizon: 2 h", "horizon: 0", ["f.yaml:3  horizon: must be > 0, got 0"]),
        (PEOPLE, "horizon: 2 h", "horizon: 2 GB", ['f.yaml:3  horizon: "2 GB" is an amount of data; expected a time']),
        (PEOPLE, "10M", "0", ["f.yaml:7  traffic.monthly_users: must be > 0, got 0"]),
        (
            PEOPLE,
            "burst: 5",
            "burts: 5",
            ["f.yaml:12  tiers.api.rate_limit.burst: missing", "tiers.api.rate_limit.burts: unknown"],
        ),
    ],
)
def test_what_is_refused_and_why(text, old, new, messages):
    found = _fails(text, old, new)
    assert len(found) == len(messages)
    for problem, message in zip(found, messages, strict=True):
        assert message in problem


def test_operations_act_in_order_of_time():
    scenario = read_scenario(PEOPLE, "f.yaml")
    assert scenario.fleet.peak_replicas("main") == 7  # the earlier operation stands later in the file
    assert scenario.fleet.peak_replicas("guard") == 1


times = st.floats(min_value=1e-3, max_value=1e6)


@given(
    seed=st.integers(min_value=0, max_value=2**63 - 1),
    horizon=times,
    drain=st.none() | st.booleans(),
    rate=st.floats(min_value=1e-6, max_value=1e6),
    mean=st.floats(min_value=1, max_value=1e5),
    deviation=st.floats(min_value=0, max_value=1e5),
    patience=st.none() | times,
    replicas=st.integers(1, 100_000),
    name=st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True),
    description=st.text(),
)
def test_yaml_and_back_is_the_same(seed, horizon, drain, rate, mean, deviation, patience, replicas, name, description):
    length = {"distribution_type": "lognormal", "mean": mean, "standard_deviation": deviation}
    generator = {"rate_per_s": rate, "input_sequence_length": length, "output_sequence_length": mean, "tier": name}
    scenario = Scenario.from_dict(
        {
            "name": "n",
            "description": description,
            "model": "m",
            "hardware": "h",
            "seed": seed,
            "horizon": horizon,
            "drain": drain,
            "traffic": {"kind": "open_loop", **generator},
            "tiers": {name: {"patience": patience, "path": name}},
            "fleet": {"pools": {name: {"replicas": replicas}}, "paths": {name: [{"pool": name}]}},
            "overrides": {"o": {f"fleet.pools.{name}.replicas": replicas, "drain": None}},
        }
    )
    again = read_scenario(scenario.to_yaml())
    assert again == scenario
    assert again.digest == scenario.digest


def test_the_digest_is_of_what_is_simulated():
    scenario = read_scenario(SMALL, "f.yaml")
    for path, value in {"name": "other", "description": "other", "overrides": {"a": {"seed": 2}}}.items():
        assert scenario.replace(path, value).digest == scenario.digest
    for path, value in {"seed": 2, "drain": True, "fleet.pools.main.replicas": 3, "slo.ttft_s": 1}.items():
        assert scenario.replace(path, value).digest != scenario.digest


@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [
        (SMALL, "replicas: 2", "replicas: 100001", "fleet.pools.main.replicas: must be <= 100000, got 100001"),
        (SMALL, "replicas: 2", "max_replicas: 1e6", "max_replicas: must be <= 100000, got 1000000"),
        (SMALL, "600 req/min", "1e300", "traffic.rate_per_s: must be <= 1000000000"),
        (PEOPLE, "replicas: 3", "replicas: 100000", "would make 100004 replicas of pool main; at most 100000"),
        (PEOPLE, "10M", "1e11", "traffic.monthly_users: must be <= 10000000000"),
        (PEOPLE, "tier: api}", "tier: api, num_clients: 1e8}", "traffic.api.num_clients: must be <= 10000000"),
        (
            PEOPLE,
            "horizon: 2 h",
            "horizon: 1e9 d",
            "report_interval: cuts the horizon into 9.6e+10 intervals, of at most",
        ),
    ],
)
def test_sizes_beyond_all_reason_are_refused(text, old, new, message):
    assert any(message in problem for problem in _fails(text, old, new))
