"""Energy by hand: attention's power for a step's whole time, and what its tokens take beside it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from drive import in_chunks
from small import pool, rows, world
from worlds import Scene

from sim.cost.step_times import StepTimes
from sim.fleet.clocks import CLOCKS
from sim.plane.owner import Plane

NUM_OUTPUTS = 12
PROMPT = 8


def times():
    """A step takes 1 s and 1/64 s a token of decode context; 300 W for the second, 700 W for the rest."""
    linear = StepTimes.linear(1.0, 0.0, 1 / 64, 0.0, 32, 8, busy_w=300.0, idle_w=100.0)
    return replace(linear, attention_w=700.0)


@pytest.mark.parametrize("leap", [True, False])
@pytest.mark.parametrize("clock", CLOCKS)
def test_a_run_takes_the_energy_of_its_steps(clock, leap):
    """One request: a prefill of 1 s, then steps with contexts of 9, 10 ... tokens. Half a step counts half."""
    main = replace(pool(), step_times=times(), max_num_seqs=8, max_num_batched_tokens=32)
    scene = Scene(world(main), rows((0.0, PROMPT, NUM_OUTPUTS)))
    steps_s = [1.0] + [1.0 + (PROMPT + k) / 64 for k in range(1, NUM_OUTPUTS)]
    steps_j = [300.0] + [300.0 + 700.0 * (PROMPT + k) / 64 for k in range(1, NUM_OUTPUTS)]
    plane = Plane(world(main), leap=leap)
    engine = CLOCKS[clock](plane, in_chunks(scene, 3), lambda _rows: None)
    ends_s = np.cumsum(steps_s)
    for k in (0, 1, 5):
        half_s = float(ends_s[k] + 0.5 * steps_s[k + 1])
        engine.run(half_s)
        seen = plane.observe(0, half_s)
        assert seen["busy_s"] == pytest.approx(half_s, rel=1e-12)
        by_hand_j = math.fsum(steps_j[: k + 1]) + 0.5 * steps_j[k + 1]
        assert seen["busy_j"] == pytest.approx(by_hand_j, rel=2e-3)  # a run's steps grow while it is half way
    engine.run(math.inf)
    end = plane.observe(0, 100.0)
    assert end["busy_s"] == pytest.approx(math.fsum(steps_s), rel=1e-12)
    assert end["busy_j"] == pytest.approx(math.fsum(steps_j), rel=1e-12)
