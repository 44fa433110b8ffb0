"""What every test may lean on."""

from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).parents[1]

# The same examples every time, and no deadline: the first call of a compiled function takes seconds.
settings.register_profile("tokenfleet", deadline=None, derandomize=True, database=None)
settings.load_profile("tokenfleet")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference records beside the checkout; a test that needs it is skipped where it is absent."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs reference records in {folder.name}/ beside the checkout")
    return folder
