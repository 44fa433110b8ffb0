"""`vllm bench serve --save-result`: one JSON object, or one a line (`--append-result`); SGLang's is alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from sim.calibrate.results.measured import Fields, Measured, all_at_once, concurrency, rate
from sim.errors import Problem

TOOL: Final = "vllm bench serve"
_BACKENDS: Final = {"vllm": "vLLM", "openai": None, "openai-chat": None, "tensorrt-llm": "TensorRT-LLM", "tgi": "TGI"}
_STATISTIC: Final = re.compile(r"^(mean|median|p[0-9.]+)_(ttft|tpot|itl|e2el|e2e_latency)_ms$")
_NAMES: Final = {"e2el": "e2e", "e2e_latency": "e2e"}


def recognise(data: Mapping[str, Any]) -> bool:
    """Whether an object is such a result."""
    return "completed" in data and ("model_id" in data or "endpoint_type" in data) and "request_throughput" in data


def read(data: Mapping[str, Any], problems: list[Problem], file: str, line: int | None = None) -> Measured:
    """Return what the object says; what is wrong with it is added to `problems`."""
    fields = Fields(data, problems, file)
    found = Measured(TOOL, file, line, model=fields.text("model_id"), date=_date(fields.text("date")))
    backend = fields.text("endpoint_type") or fields.text("backend") or ""
    found.engine = _BACKENDS.get(backend)
    common(found, fields, requested=fields.count("num_prompts"))
    found.add("total_throughput", fields.number("total_token_throughput"))
    if "ramp_up_strategy" in fields:
        problems.append(Problem("a load that ramps up has no one rate; measure each rate by itself", file, line))
    if "spec_decode_acceptance_rate" in fields:
        drop_gaps(found, "speculative decoding")
    return found


def common(found: Measured, fields: Fields, requested: int | None) -> None:
    """Read what vLLM and SGLang call alike: latencies, throughputs, lengths and the load."""
    completed = fields.count("completed")
    found.num_requests = completed
    if completed:
        total_in, total_out = fields.number("total_input_tokens"), fields.number("total_output_tokens")
        found.input_tokens = total_in / completed if total_in else None
        found.output_tokens = total_out / completed if total_out else None
    found.load = _load(found, fields, requested or completed)
    for name in fields.data:
        if match := _STATISTIC.match(name):
            statistic = {"median": "p50"}.get(match[1], match[1])
            found.add(f"{_NAMES.get(match[2], match[2])}_{statistic}", fields.number(name))
    for name in ("output_throughput", "request_throughput"):
        found.add(name, fields.number(name))
    if failed := fields.count("failed"):
        found.notes.append(f"failed={failed}")
    spread = [_spread(fields.data.get(name), word) for name, word in (("input_lens", "isl"), ("output_lens", "osl"))]
    found.notes += [text for text in spread if text]


def _load(found: Measured, fields: Fields, requests: int | None) -> str | None:
    """Return the load in the table's words: a rate beats a cap on concurrency, which then is only noted."""
    asked, cap = fields.data.get("request_rate"), fields.number("max_concurrency")
    if isinstance(asked, str) and asked not in ("inf", "Infinity"):
        found.notes.append(f"request_rate={asked}")
        return None
    per_s = None if isinstance(asked, str) else fields.number("request_rate")
    if per_s:
        burstiness = fields.number("burstiness")
        if burstiness not in (None, 1.0):
            found.notes.append(f"burstiness={burstiness:g}")
        if cap:
            found.notes.append(f"max_concurrency={cap:g}")
        return rate(per_s)
    if cap and not (requests and cap >= requests):
        return concurrency(cap)
    return all_at_once(requests) if requests else None


def drop_gaps(found: Measured, why: str) -> None:
    """Leave out the pooled gaps, which lie between chunks of several tokens."""
    for name in [name for name in found.values if name.startswith("itl")]:
        del found.values[name]
    found.notes.append(f"{why}: a gap lies between chunks of several tokens, so itl is left out")


def _spread(lengths: Any, word: str) -> str:
    known = [value for value in lengths or () if isinstance(value, int | float)] if isinstance(lengths, list) else []
    return f"{word} {min(known):g} to {max(known):g}" if known and min(known) < max(known) else ""


def _date(text: str | None) -> str | None:
    """Return vLLM's YYYYMMDD-HHMMSS as a date."""
    match = re.match(r"^(\d{4})(\d\d)(\d\d)-\d{6}$", text or "")
    return "-".join(match.groups()) if match else text
