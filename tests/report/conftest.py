"""Lets the tests beside it import the made-up records of the tests of metrics."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "metrics"))
