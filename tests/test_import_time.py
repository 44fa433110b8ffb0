"""Starting up costs little: `import sim` nothing to speak of, the command no numerical library."""

import subprocess
import sys

IMPORT_LIMIT_S = 0.1  # the promise of docs/design.md
TRIES = 5  # the quickest of several: other work on the machine only ever adds time

TIMED = """
import time
began = time.perf_counter()
import sim
print(time.perf_counter() - began)
"""

HEAVY = {"joblib", "jinja2", "numba", "numpy", "pandas", "plotly", "pyarrow", "pydantic", "scipy", "simpy", "yaml"}

LOADED = """
import sys
import sim.cli
sim.cli.app
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_sim_takes_less_than_a_tenth_of_a_second():
    assert min(float(_python(TIMED)) for _ in range(TRIES)) < IMPORT_LIMIT_S


def test_help_loads_nothing_heavy():
    assert HEAVY.isdisjoint(_python(LOADED).split())
