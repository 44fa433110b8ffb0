"""Lets the tests of the fleet import their helpers, and those of the tests of the plane and of traffic, as those do."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("fleet", "plane", "traffic")]
