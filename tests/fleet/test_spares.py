"""N + k: the simulated share of time with enough replicas against the birth-death chain."""

import math

import numpy as np
import pytest
from recorder import Recorder

from sim import theory
from sim.spec import Scenario

NEEDED, SPARES = 6, 2
PER_HOUR, REPAIR_S = 0.1, 7_200.0  # of a replica; down a sixth of the time
HOURS = 4_000
BASE = {
    "name": "spares",
    "model": "llama-3.1-8b",
    "hardware": "h100-sxm-80gb",
    "horizon": f"{HOURS} h",
    "drain": False,
    "report_interval": "200 h",
    "traffic": {
        "kind": "open_loop", "rate_per_s": 1e-4, "input_sequence_length": 64, "output_sequence_length": 8,
    },
}  # fmt: skip


def up_by_the_log(log, end_s):
    """Share of time with so many replicas up, for each number: from the entries of the log."""
    changes = [(entry["t_s"], -1) for entry in log] + [(entry["ended_s"], 1) for entry in log if "ended_s" in entry]
    total, now_s, spent_s = NEEDED + SPARES, 0.0, np.zeros(NEEDED + SPARES + 1)
    for t_s, change in [*sorted(changes), (end_s, 0)]:
        spent_s[total] += t_s - now_s
        total, now_s = total + change, t_s
    return spent_s / end_s


@pytest.mark.parametrize("repair", ["exponential", "constant"])
def test_availability_with_spares_is_the_birth_death_chains(repair):
    crash = {"per_gpu_year": PER_HOUR * 24 * 365.25, "repair": {"distribution_type": repair, "mean": REPAIR_S}}
    fleet = {
        "pools": {"main": {"replicas": NEEDED + SPARES}},
        "faults": {"software": crash, "recovery_window": "6 h"},
    }
    run = Recorder(Scenario.from_dict(BASE | {"fleet": fleet}))
    result = run.result["sim"]["faults"]
    share = up_by_the_log(result["log"], HOURS * 3600.0)
    expected = theory.spares_availability(NEEDED, SPARES, PER_HOUR / 3600.0, REPAIR_S)
    # Each replica forgets its state within 1 / (rate + 1 / repair) = 1.67 h; so do they all together, at least. The
    # standard error of a share over so many independent spells:
    spells = HOURS / (2 * 1.67)
    error = math.sqrt(expected * (1.0 - expected) / spells)
    assert abs(share[NEEDED:].sum() - expected) < 3.0 * error
    up = 1.0 / (1.0 + PER_HOUR * REPAIR_S / 3600.0)
    assert result["by_pool"]["main"]["availability_frac"] == pytest.approx(
        up, abs=3.0 * math.sqrt(up * (1 - up) / spells / 8)
    )


def test_the_chain_is_binomial_where_everything_is_repaired_at_once():
    rate, repair_s, n, k = 1e-5, 2e4, 10, 2
    down = rate * repair_s / (1.0 + rate * repair_s)
    expected = sum(math.comb(n + k, j) * down**j * (1 - down) ** (n + k - j) for j in range(k + 1))
    assert theory.spares_availability(n, k, rate, repair_s) == pytest.approx(expected, rel=1e-12)


def test_one_repairer_is_the_machine_repair_queue():
    # Two machines, none spare: p0 = 1 / (1 + 2 a + 2 a^2), a = rate x repair.
    a = 0.3
    assert theory.spares_availability(2, 0, 0.3, 1.0, 1) == pytest.approx(1.0 / (1.0 + 2 * a + 2 * a * a), rel=1e-12)


def test_spares_needed_are_the_fewest():
    k = theory.spares_needed(100, 0.999, 0.173 / (365.25 * 86_400.0) * 8, 7_200.0)
    assert theory.spares_availability(100, k, 0.173 / (365.25 * 86_400.0) * 8, 7_200.0) >= 0.999
    assert k == 0 or theory.spares_availability(100, k - 1, 0.173 / (365.25 * 86_400.0) * 8, 7_200.0) < 0.999
    assert theory.spares_needed(10, 0.0, 1.0, 1.0) == 0


@pytest.mark.parametrize("wrong", [(0, 1, 1.0, 1.0), (1, -1, 1.0, 1.0), (1, 1, -1.0, 1.0), (1, 1, 1.0, 1.0, 0)])
def test_what_is_no_fleet_is_refused(wrong):
    with pytest.raises(ValueError, match="no fleet"):
        theory.spares_availability(*wrong)
    with pytest.raises(ValueError, match="an availability"):
        theory.spares_needed(1, 1.0, 1.0, 1.0)
