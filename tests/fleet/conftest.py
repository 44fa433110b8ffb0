"""Lets the tests of the fleet import the small worlds and scenes of the plane's tests; see tests/plane/conftest.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "plane"))
