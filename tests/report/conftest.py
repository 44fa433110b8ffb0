"""Lets the tests beside it import their helper, and the made-up records of the tests of metrics."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "metrics")]
