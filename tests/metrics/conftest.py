"""Lets the tests beside it import the made-up records: import mode importlib leaves sys.path alone."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
