"""`python -m sglang.bench_serving --output-file`: one JSON object a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sim.calibrate.results.measured import Fields, Measured
from sim.calibrate.results.vllm import common, drop_gaps
from sim.errors import Problem

TOOL: Final = "sglang bench_serving"
_BACKENDS: Final = {
    "sglang": "SGLang",
    "sglang-native": "SGLang",
    "sglang-oai": "SGLang",
    "sglang-oai-chat": "SGLang",
    "vllm": "vLLM",
    "vllm-chat": "vLLM",
    "trt": "TensorRT-LLM",
}


def recognise(data: Mapping[str, Any]) -> bool:
    """Whether an object is such a result."""
    return "completed" in data and ("mean_e2e_latency_ms" in data or "median_e2e_latency_ms" in data)


def read(data: Mapping[str, Any], problems: list[Problem], file: str, line: int | None = None) -> Measured:
    """Return what the object says; what is wrong with it is added to `problems`."""
    fields = Fields(data, problems, file)
    server = fields.inner("server_info")
    found = Measured(
        TOOL,
        file,
        line,
        engine=_BACKENDS.get(fields.text("backend") or ""),
        version=server.text("version"),
        model=server.text("model_path"),
        tensor_parallel_size=server.count("tp_size"),
        pipeline_parallel_size=server.count("pp_size"),
    )
    common(found, fields, requested=None)
    found.add("total_throughput", fields.number("total_throughput"))
    accepted = fields.number("accept_length")
    if accepted and accepted > 1:
        drop_gaps(found, "speculative decoding")
    return found
