"""Imports go one way; import-linter reads the contracts in pyproject.toml."""

import os
import subprocess
import sys
from pathlib import Path


def test_every_import_contract_is_kept(repository):
    lint = Path(sys.executable).with_name("lint-imports")
    environment = os.environ | {"PYTHONPATH": str(repository), "NO_COLOR": "1"}
    command = [lint, "--config", repository / "pyproject.toml", "--no-cache"]
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
