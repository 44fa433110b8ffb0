"""What only a long run shows: digits kept, timers far ahead."""

import numpy as np
import pytest
import small
from compare import compare
from drive import run_plane
from slow_model import play
from worlds import Scene

from sim.plane.batch import INTEGRAL_STEPS


@pytest.mark.parametrize("leap", [True, False])
def test_cost_shares_keep_their_digits_when_the_integrals_begin_anew(leap):
    # One sequence outlasts two renewals in the midst of others that come and go; steps cost by context.
    long = 2 * INTEGRAL_STEPS + 1000
    times = np.arange(0.0, 1.2 * long * 1e-3, 19.37)
    rows = small.rows((0.0, 5, long), *((t_s, 7, 3 + n % 40) for n, t_s in enumerate(times)))
    pool = small.pool(1e-3, 1e-5, 1e-9, 1e-8, num_gpu_blocks=1 << 16, usd_per_replica_s=2.0)
    scene = Scene(small.world(pool), rows[np.argsort(rows["t_s"], kind="stable")])
    slow = play(scene.world, scene.rows, max_steps=10 * long)
    plane = run_plane(scene, leap=leap, chunk=100)
    assert plane.num_steps[0] > 2 * INTEGRAL_STEPS
    assert compare(plane, slow, time_tol=1e-9) == []


@pytest.mark.parametrize("clock", ["compiled", "simpy"])
def test_a_timer_in_the_far_future_costs_nothing(clock):
    # A patience of 30,000 years: the clock must not walk there second by second.
    world = small.world(small.pool(), [small.kind(patience_s=small.constant(1e12))])
    rows = small.rows(*((float(n), 5, 3) for n in range(50)))
    plane = run_plane(Scene(world, rows), clock=clock)
    assert (plane.records["ending"] == 0).sum() == 50


@pytest.mark.parametrize("clock", ["compiled", "simpy"])
@pytest.mark.parametrize("gap_s", [3.0, 4095.0, 4096.0, 4097.0, 1e5])
def test_turns_further_apart_than_the_wheel_come_in_time(clock, gap_s):
    world = small.world(small.pool(), [small.kind(gap_s=small.constant(gap_s))], start_s=-7.0)
    rows = small.rows(*((n - 6.5, 5, 1, 0, 4) for n in range(12)))
    scene = Scene(world, rows)
    plane = run_plane(scene, clock=clock)
    assert compare(plane, play(world, rows), time_tol=1e-12) == []
