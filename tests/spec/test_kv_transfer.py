"""Paths that are split into prefill and decode: what is allowed, what is refused and why."""

import pytest

from sim.errors import SpecError
from sim.spec import read_scenario

SPLIT = """\
name: split
model: llama-3.1-8b
hardware: h100-sxm-80gb
traffic: {kind: open_loop, rate_per_s: 1, input_sequence_length: 100, output_sequence_length: 10}
fleet:
  pools:
    guard: {}
    first: {}
    second: {}
  paths:
    default: [{pool: guard, kind: classify}, {pool: first, kind: prefill}, {pool: second, kind: decode}]
  kv_transfer: {mode: push, latency_s: 1 ms}
"""


def test_a_path_may_end_with_prefill_and_decode():
    fleet = read_scenario(SPLIT).fleet
    assert [visit.kind for visit in fleet.paths["default"]] == ["classify", "prefill", "decode"]
    transfer = fleet.kv_transfer
    assert (transfer.first_token, transfer.mode, transfer.granularity) == ("decode", "push", "whole")
    assert (transfer.bandwidth_gb_per_s, transfer.latency_s) == (None, 0.001)


ENDS = "a path ends with a generate visit, or with prefill then decode"


@pytest.mark.parametrize(
    ("old", "new", "messages"),
    [
        (", {pool: second, kind: decode}", "", ["fleet.paths.default.1.kind: " + ENDS]),
        ("{pool: first, kind: prefill}, ", "", ["fleet.paths.default.1.kind: " + ENDS]),
        ("kind: prefill", "kind: generate", ["fleet.paths.default.2.kind: " + ENDS]),
        (
            "{pool: first, kind: prefill}, {pool: second, kind: decode}",
            "{pool: second, kind: decode}, {pool: first, kind: prefill}",
            ["fleet.paths.default.1.kind: " + ENDS],
        ),
        (
            "{pool: second, kind: decode}",
            "{pool: first, kind: decode}",
            ["fleet.paths.default.1.pool: pool first also decodes, in path default: prompts that wait"],
        ),
        (
            "  kv_transfer",
            "    direct: [{pool: first}]\n  kv_transfer",
            ["fleet.paths.default.1.pool: pool first also decodes, in path direct"],
        ),
        ("first: {}", "first: {batch_policy: static}", ["fleet.pools.first.batch_policy: must be vllm_v1 in the pool"]),
        (
            "second: {}",
            "second: {use_cache: false, enable_prefix_caching: false, enable_chunked_prefill: false}",
            ["fleet.pools.second.use_cache: must be true in the pool of a decode visit"],
        ),
        (
            "first: {}",
            "first: {pipeline_parallel_size: 2}",
            ["fleet.pools.first.pipeline_parallel_size: must be 1 in the pool of a prefill visit"],
        ),
        (
            "second: {}",
            "second: {kv_offload: {capacity_gib: 100}}",
            ["fleet.pools.second.kv_offload: must be null in the pool of a decode visit"],
        ),
        (
            "{pool: first, kind: prefill}, {pool: second, kind: decode}",
            "{pool: second}",
            ["fleet.kv_transfer: no path has a prefill and a decode visit, so nothing is transferred"],
        ),
        ("mode: push", "mode: puhs", ['fleet.kv_transfer.mode: "puhs" is not allowed']),
        ("mode: push", "bandwidth_gb_per_s: 0", ["fleet.kv_transfer.bandwidth_gb_per_s: must be > 0, got 0"]),
    ],
)
def test_what_is_refused_and_why(old, new, messages):
    assert old in SPLIT
    with pytest.raises(SpecError) as caught:
        read_scenario(SPLIT.replace(old, new), "f.yaml")
    found = [str(problem) for problem in caught.value.problems]
    assert len(found) == len(messages)
    for problem, message in zip(found, messages, strict=True):
        assert message in problem
