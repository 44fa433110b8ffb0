"""Lets the tests of the fleet import their helpers, and the small worlds of the plane's tests, as those do."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "plane")]
