"""Runs a script beside the tests in a process and a build of its own, and looks into the folder of machine code."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]


def start(*command: str, cwd: Path = REPOSITORY, **settings: str) -> subprocess.Popen[str]:
    """`python *command`, with sim from `cwd` and settings for its environment; without them, the compiled build."""
    own = ("PYTEST_", "NUMBA_", "TOKENFLEET_CHECKED")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    environment = inherited | {"PYTHONPATH": str(cwd), "PYTHONDONTWRITEBYTECODE": "1"} | settings
    return subprocess.Popen(
        [sys.executable, "-W", "error", *command],
        cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def output(process: subprocess.Popen[str]) -> str:
    """What a process printed, once it has ended well."""
    out, errors = process.communicate()
    assert process.returncode == 0, out + errors
    return out


def answer(script: str | Path, *arguments: str, **settings: Any) -> Any:
    """The JSON that a script beside the tests prints."""
    return json.loads(output(start(str(HERE / script), *arguments, **settings)))


def machine_code(folder: Path) -> dict[Path, tuple[int, int]]:
    """Every file of a cache: when it was written, and its size."""
    found = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in found.items()}
