"""Lifecycles that several tests share."""

from functools import cache

import pytest

from sim import catalog
from sim.lifecycle.stages import stages_of

SMALL = """\
name: small
data: {tokens: 1T}
architecture: {model: llama-3.1-8b}
pretraining: {hardware: h100-sxm-80gb}
"""


@cache
def _stages(**changes):
    return stages_of(catalog.load_lifecycle("meridian-1", {path.replace("__", "."): v for path, v in changes.items()}))


@pytest.fixture(scope="session")
def meridian():
    """Stages of Meridian-1, with changes (dots as two underlines), made once."""
    return _stages


@pytest.fixture
def small():
    """The YAML of a short lifecycle."""
    return SMALL
