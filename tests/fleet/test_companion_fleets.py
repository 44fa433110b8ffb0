"""Classifiers beside the answer in scenarios with gateways, and in regions: runs end, and their laws hold."""

import pytest

from sim.fleet.run import run
from sim.spec import read_scenario

FLEET = """\
name: beside
model: llama-3.1-8b
hardware: h100-sxm-80gb
horizon: 30 s
traffic: {{kind: open_loop, rate_per_s: 4, input_sequence_length: 300, output_sequence_length: 120}}
fleet:
  pools:
    main: {{replicas: 2, max_num_seqs: 8{main}}}
    guard: {{replicas: 2, max_num_seqs: 4{guard}}}
  paths:
    default:
      - {{pool: guard, kind: classify, mode: gate, prompt: user}}
      - {{pool: main}}
      - {{pool: guard, kind: classify, mode: stream, prompt: answer, chunk_tokens: 40, release: hold_back}}
"""
GATEWAYS = {"main": ", gateway: {}", "guard": ", gateway: {max_outstanding: 1}"}
PARTS = {"main": ", regions: {us: 1, eu: 1}", "guard": ", regions: {us: 1, eu: 1}"}
REGIONS = """\
  regions:
    us: {users: {all: 20 ms}, regions: {eu: 40 ms}}
    eu: {users: {all: 50 ms}}
  spill_at: 3
"""


@pytest.mark.parametrize("text", [FLEET.format(**GATEWAYS), FLEET.format(**PARTS) + REGIONS])
def test_a_run_ends_and_its_laws_hold(text):
    requests = run(read_scenario(text)).requests
    assert len(requests) > 60
    assert (requests["ending"] == "completed").all()
