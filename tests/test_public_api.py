"""The public names are few, exact and lazy."""

import importlib
import subprocess
import sys

import pytest

import sim


def test_the_public_names_are_these():
    assert sim.__all__ == ["Profile", "Run", "Scenario", "__version__", "compile", "load", "run"]
    assert dir(sim) == sim.__all__


@pytest.mark.parametrize("name", [name for name in sim.__all__ if name != "__version__"])
def test_a_public_name_is_what_its_module_says(name):
    home = importlib.import_module(sim._HOMES[name])
    assert getattr(sim, name) is getattr(home, name)
    assert getattr(sim, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = sim.lode


def test_the_command_has_the_version_of_the_package():
    command = [sys.executable, "-m", "sim", "--version"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == sim.__version__


def test_the_citation_knows_the_version(repository):
    assert f"version: {sim.__version__}\n" in (repository / "CITATION.cff").read_text()
