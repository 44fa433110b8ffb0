"""Call the command in this process; a scenario that takes no time."""

from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from sim.cli import app

SMALL = """\
description: a few requests for one small model
model: llama-3.1-8b
hardware: h100-sxm-80gb
horizon: 1 min
traffic:
  kind: open_loop
  rate_per_s: 4
  num_requests: 40
  input_sequence_length: 256
  output_sequence_length: 16
tiers:
  default: {}
fleet:
  pools:
    main: {replicas: 1}
  paths:
    default: [{pool: main}]
overrides:
  slow: {traffic.rate_per_s: 1}
"""


@pytest.fixture
def tokenfleet(tmp_path, monkeypatch) -> Callable[..., Result]:
    """Return the command, as a function of its arguments; it runs in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Result:
        return CliRunner(env={"NO_COLOR": "1", "COLUMNS": "200"}).invoke(app, arguments)

    return call


@pytest.fixture
def small(tmp_path):
    """The file of a small scenario."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path
