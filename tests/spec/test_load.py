"""From a file, named overrides and --set to a scenario."""

import pytest

from sim.errors import SpecError
from sim.spec.load import read_file, read_scenario

TEXT = """\
model: llama-3.1-8b
hardware: h100-sxm-80gb
traffic:
  kind: open_loop
  rate_per_s: 10
  input_sequence_length: 512
  output_sequence_length: 128
fleet:
  pools:
    main: {replicas: 2}
    other: {}
  paths:
    default: [{pool: main}]
overrides:
  big:
    fleet.pools.main.replicas: 40
    slo.ttft_s: 1 s
  bigger:
    fleet.pools.main.replicas: 80
  bad:
    fleet.pools.mian.replicas: 40
    fleet.pools.main.replicas.x: 1
    fleet.pools.main.replica: 4
  lean:
    fleet.pools.other: null
"""


def _fails(text=TEXT, **options):
    with pytest.raises(SpecError) as caught:
        read_scenario(text, "f.yaml", **options)
    return str(caught.value).splitlines()


def test_overrides_act_in_order_then_single_changes():
    options = {"override": ["big", "bigger"], "changes": ["slo.tpot_s=50 ms", "seed=7"]}
    scenario = read_scenario(TEXT, "f.yaml", **options)
    assert scenario.fleet.pools["main"].replicas == 80
    assert (scenario.slo.ttft_s, scenario.slo.tpot_s, scenario.seed) == (1.0, 0.05, 7)
    assert scenario.name == "f"


@pytest.mark.parametrize(
    ("change", "path", "value"),
    [
        ("seed=1e3", ("seed",), 1000),
        ("name=no", ("name",), "no"),
        ("drain=no", ("drain",), False),
        ("drain=", ("drain",), None),
        ("description='a: b'", ("description",), "a: b"),
        ("horizon=2h", ("horizon_s",), 7200.0),
        ("tiers.default.patience=1 min", ("tiers", "default", "patience", "mean"), 60.0),
        ("tiers.default.rate_limit={requests_per_minute: 5, burst: 2}", ("tiers", "default", "rate_limit", "burst"), 2),
        ("fleet.paths.default.0.pool=other", ("fleet", "paths", "default", 0, "pool"), "other"),
        ("fleet.pools.third={replicas: 3}", ("fleet", "pools", "third", "replicas"), 3),
        ("traffic.rate_per_s=120 req/min", ("traffic", "rate_per_s"), 2.0),
    ],
)
def test_a_change_is_read_as_yaml(change, path, value):
    found = read_scenario(TEXT, "f.yaml", changes=[change])
    for part in path:
        found = found[part] if isinstance(found, dict | tuple) else getattr(found, part)
    assert found == value


def test_changes_may_be_a_mapping():
    changes = {"seed": 0, "horizon": "2 h", "drain": None, "fleet.pools.main.replicas": 3}
    scenario = read_scenario(TEXT, "f.yaml", changes=changes)
    assert (scenario.seed, scenario.horizon_s, scenario.drain) == (0, 7200.0, None)
    assert scenario.fleet.pools["main"].replicas == 3


def test_null_removes_a_named_entry():
    assert set(read_scenario(TEXT, "f.yaml", override=["lean"]).fleet.pools) == {"main"}
    assert set(read_scenario(TEXT, "f.yaml", changes=["fleet.pools.other="]).fleet.pools) == {"main"}


def test_an_override_that_does_not_exist():
    (problem,) = _fails(override=["bg"])
    assert problem.startswith("f.yaml  no override of that name: bg. Did you mean big?")
    assert problem.endswith("Known: big, bigger, bad, lean.")
    assert _fails(TEXT.partition("overrides:")[0], override=["x"]) == [
        "f.yaml  no override of that name: x. Known: none."
    ]


def test_an_override_is_a_block():
    text = TEXT + "  empty: null\n"
    message = "f.yaml:26  overrides.empty: expected a block of named entries (name: value lines), got nothing"
    assert _fails(text) == _fails(text, override=["empty"]) == [message]


def test_mistakes_in_overrides_and_changes_come_together():
    assert _fails(override=["bad"], changes=["seed", "a=[1", "tiers.x.priority=1", "fleet.pools.x="]) == [
        "--set seed  expected path=value, such as fleet.pools.main.replicas=40",
        "--set a=[1  not valid YAML: while parsing a flow sequence expected ',' or ']', but got '<stream end>'",
        "f.yaml:21  fleet.pools.mian.replicas: no entry mian in fleet.pools. Did you mean main?",
        "f.yaml:22  fleet.pools.main.replicas.x: no such place: fleet.pools.main.replicas is the single value 2",
        "--set tiers.x.priority=1  tiers.x.priority: no entry x in tiers. Known: default.",
        "--set fleet.pools.x=  fleet.pools.x: no entry x in fleet.pools. Known: main, other.",
        "f.yaml:23  fleet.pools.main.replica: unknown field. Did you mean replicas?",
    ]


def test_a_wrong_value_is_found_where_it_was_given():
    text = TEXT.replace("fleet.pools.main.replicas: 80", "fleet.pools.main.replica: 80")
    assert _fails(text, override=["bigger"], changes=["seed=-1"]) == [
        "f.yaml:19  fleet.pools.main.replica: unknown field. Did you mean replicas?",
        "--set seed=-1  seed: must be >= 0, got -1",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb: \xff\n", "f.yaml:2  not UTF-8 text: byte 0xff; save the file as UTF-8"),
        ("a: é".encode("utf-16"), "f.yaml:1  not UTF-8 text"),
        (None, "f.yaml  cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, content, message):
    file = tmp_path / "f.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        read_file(file, "f.yaml")
    assert message in str(caught.value)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(SpecError, match="f  cannot be read: Is a directory"):
        read_file(tmp_path, "f")


def test_a_byte_order_mark_is_no_content(tmp_path):
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_file(tmp_path / "f", "f") == "a: 1"
