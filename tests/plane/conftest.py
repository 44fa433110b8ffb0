"""What the tests of the plane share.

The readable model and its scenes lie beside them: import mode importlib leaves sys.path alone. How many scenes are
drawn hangs on the profile: `pytest --hypothesis-profile=few tests/plane` for the checked build and the plain one,
`thorough` for a long look.
"""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile("few", settings.get_profile("tokenfleet"), max_examples=10)
settings.register_profile("thorough", settings.get_profile("tokenfleet"), max_examples=1_000)
