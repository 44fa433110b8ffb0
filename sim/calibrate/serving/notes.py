"""The column `notes`: settings that a source states in words of its own, or as a server's command line."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

MOST_GPUS = 8
"""GPUs of a node."""
_INT = r"[ =]+([0-9]+)"
_SETTINGS = {
    "max_num_batched_tokens": re.compile(rf"(?:--max-num-batched-tokens|max_num_batched_tokens){_INT}"),
    "max_num_seqs": re.compile(rf"(?:--max-num-seqs|max_num_seqs){_INT}"),
    "max_model_len": re.compile(rf"(?:--max-model-len|--max_seq_len|max_model_len){_INT}"),
}
_UTILIZATION = re.compile(r"gpu_mem_util=([0-9.]+)")
_TP = re.compile(rf"(?:--tp-size|--tp_size|--tensor-parallel-size|--tp|-tp){_INT}")
_DP = re.compile(rf"(?:--dp-size|--data-parallel-size|--dp|\bdp){_INT}\b")
_EP = re.compile(rf"(?:--ep-size|--ep_size|moe_ep|\bep){_INT}(?:\.0)?\b")
_ID = re.compile(r"\bid=\S*_tp([0-9]+)(?:_0)?_ep([0-9]+|none)")
_ATTENTION_RANKS = re.compile(r"attention_dp=([0-9]+)")
_NUM_GPUS = re.compile(r"num_gpus=([0-9]+)|\b([0-9]+) GPUs? total")
_WORKERS = re.compile(r"([0-9]+) prefill \+ ([0-9]+) decode workers")
_MEANS = re.compile(r"real mean isl ([0-9.]+) osl ([0-9.]+)")
_NUM_REQUESTS = re.compile(r"\bn=([0-9]+) failures|\b([0-9]+) (?:requests|prompts|reqs)\b")


@dataclass(frozen=True)
class Notes:
    """What the notes of a point say about its engine and client."""

    settings: dict[str, int | float]
    """Settings of the pool."""
    tensor_parallel_size: int | None
    data_parallel_size: int
    """Ranks with attention of their own."""
    expert_parallel_size: int
    enable_expert_parallel: bool
    async_scheduling: bool | None
    num_gpus: int | None
    """GPUs of the whole system."""
    num_requests: int | None
    run_gpus: int | None
    """GPUs of a replica as the name of the run has it; other fields of such a row may count some of them twice."""
    run_expert_gpus: int | None
    """GPUs that experts are spread over as the name of the run has it."""
    workers: tuple[int, int] | None
    """Replicas that prefill and replicas that decode, where answers are split over two pools."""
    means: tuple[str, str] | None
    """Mean prompt and answer as measured, where the columns say what was asked for [tokens]."""


def read_notes(text: str) -> Notes:
    """Return what a text of the column says."""
    settings: dict[str, int | float] = {}
    for name, pattern in _SETTINGS.items():
        if match := pattern.search(text):
            settings[name] = int(match.group(1))
    if match := _UTILIZATION.search(text):
        settings["gpu_memory_utilization"] = float(match.group(1))
    attention_ranks = _number(_DP, text) or 1
    if "launch_server" in text and "--enable-dp-attention" not in text:
        attention_ranks = 1  # whole replicas behind one door
    if "launch_server" in text and "--enable-dp-attention" in text and attention_ranks == 1:
        attention_ranks = _number(_TP, text) or 1
    return Notes(
        settings=settings,
        tensor_parallel_size=_number(_TP, text),
        data_parallel_size=attention_ranks,
        expert_parallel_size=_number(_EP, text) or 1,
        enable_expert_parallel="--enable-expert-parallel" in text,
        async_scheduling=True if "--async-scheduling" in text else None,
        num_gpus=_number(_NUM_GPUS, text),
        num_requests=_number(_NUM_REQUESTS, text),
        run_gpus=_number(_ID, text) or _square_root(_number(_ATTENTION_RANKS, text)),
        run_expert_gpus=int(run.group(2)) if (run := _ID.search(text)) and run.group(2) != "none" else None,
        workers=(int(workers.group(1)), int(workers.group(2))) if (workers := _WORKERS.search(text)) else None,
        means=(means.group(1), means.group(2)) if (means := _MEANS.search(text)) else None,
    )


def _square_root(ranks: int | None) -> int | None:
    """Return the GPUs of a row that counts more ranks than a node has: each of them was multiplied by all."""
    return math.isqrt(ranks) if ranks is not None and ranks > MOST_GPUS else None


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    """Return the first group of a pattern that was found, as a number."""
    match = pattern.search(text)
    found = [group for group in match.groups() if group] if match else []
    return int(found[0]) if found else None
