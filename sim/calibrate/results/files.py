"""Files recognised by their shape and read by the module of the tool that wrote them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sim.calibrate.results import aiperf, guidellm, inference_perf, sglang, vllm
from sim.calibrate.results.measured import Measured
from sim.errors import Problem, SpecError

TOOLS: Final = (
    "vllm bench serve --save-result (JSON), sglang.bench_serving (JSON lines), GuideLLM benchmarks.json, "
    "AIPerf or GenAI-Perf profile_export_*.json or .csv, inference-perf *_lifecycle_metrics.json"
)


def read_files(paths: Sequence[str | Path]) -> list[Measured]:
    """Return what benchmarks measured, in the order of the files.

    Raises
    ------
    SpecError
        Files that cannot be read, are of no known tool, hold what they should not, or nothing measured: all of them.
    """
    found: list[Measured] = []
    problems: list[Problem] = []
    for path in paths:
        mistakes: list[Problem] = []
        measured = _read_file(Path(path), mistakes)
        for one in measured:
            one.check()
            if not one.values and not mistakes:
                mistakes.append(Problem("holds no measured latency or throughput above 0", str(path), one.line))
        problems += mistakes
        found += measured
    SpecError.raise_if(problems)
    return found


def _read_file(path: Path, problems: list[Problem]) -> list[Measured]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        problems.append(Problem(f"cannot be read: {error.strerror}", str(path)))
        return []
    except UnicodeDecodeError:
        problems.append(Problem(f"is no text. Known files: {TOOLS}", str(path)))
        return []
    lines = text.splitlines()
    if aiperf.recognise_csv(lines):
        return [aiperf.read_csv(lines, problems, str(path))]
    documents = _documents(text, problems, str(path))
    return [one for data, line in documents for one in _read_document(data, problems, str(path), line)]


def _documents(text: str, problems: list[Problem], file: str) -> list[tuple[Any, int | None]]:
    """Return the JSON documents of a file with their lines: the whole of it, or one a line."""
    try:
        return [(json.loads(text), None)]
    except json.JSONDecodeError as error:
        whole = error
    found: list[tuple[Any, int | None]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found.append((json.loads(line), number))
        except json.JSONDecodeError as error:
            first, where = (error, number) if found else (whole, whole.lineno)
            problems.append(Problem(f"is no JSON: {first.msg}. Known files: {TOOLS}", file, where))
            return []
    if not found:
        problems.append(Problem(f"is empty. Known files: {TOOLS}", file))
    return found


def _read_document(data: Any, problems: list[Problem], file: str, line: int | None) -> list[Measured]:
    if isinstance(data, Mapping):
        if guidellm.recognise(data):
            return guidellm.read(data, problems, file)
        if sglang.recognise(data):
            return [sglang.read(data, problems, file, line)]
        if vllm.recognise(data):
            return [vllm.read(data, problems, file, line)]
        if inference_perf.recognise(data):
            return [inference_perf.read(data, problems, file)]
        if aiperf.recognise(data):
            return [aiperf.read(data, problems, file)]
    problems.append(Problem(f"is the result of no known tool. Known: {TOOLS}", file, line))
    return []
