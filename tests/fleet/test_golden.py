"""Golden runs: small ones, kept number by number, so that a change that moves a result shows itself.

Counts must be equal, figures agree to 1e-9 (bytes are promised on one kind of processor only). When a change is meant,
write them anew and say in the changelog why they moved: `PYTHONPATH=. python tests/fleet/test_golden.py`.
"""

import json
from pathlib import Path

import pytest

import sim

FOLDER = Path(__file__).parent / "golden"
RUNS = {
    "meridian-1-small": {"name": "meridian-1", "override": ["small"], "set": ["horizon=30 min", "run_in=10 min"]},
    "quickstart": {"name": "quickstart", "set": ["horizon=10 min"]},
    "closed-loop": {"name": "closed-loop"},
}
NOT_FIGURES = ("digest", "version", "calibration", "rule", "source")


def figures(value, path=""):
    """Every number, and every word that is a result, by its dotted path."""
    if isinstance(value, dict):
        return {
            k: v
            for name, item in value.items()
            if name not in NOT_FIGURES
            for k, v in figures(item, f"{path}.{name}").items()
        }
    if isinstance(value, list):
        return {k: v for n, item in enumerate(value) for k, v in figures(item, f"{path}.{n}").items()}
    return {path[1:]: value}


def play(name):
    """The figures of a golden run."""
    return figures(sim.run(sim.load(**RUNS[name])).result)


@pytest.mark.parametrize("name", RUNS)
def test_a_golden_run_has_not_moved(name):
    golden = json.loads((FOLDER / f"{name}.json").read_text())
    found = play(name)
    assert found.keys() == golden.keys()
    for path, value in golden.items():
        expected = pytest.approx(value, rel=1e-9, abs=1e-12) if isinstance(value, float) else value
        assert found[path] == expected, path


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for run in RUNS:
        (FOLDER / f"{run}.json").write_text(json.dumps(play(run), indent=1) + "\n")
