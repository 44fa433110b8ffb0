"""The card of a profile: every intermediate number with its unit, equation and source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sim.cost.attention import PROMPT_TOKENS, Heads, prefill_layer_s
from sim.cost.gemm import compute_rate, memory_rate
from sim.cost.machine import Machine
from sim.cost.memory import Memory
from sim.cost.power import read_bytes
from sim.cost.speculation import Speculation
from sim.cost.step import padded_tokens, prefill_attention, token_parts
from sim.cost.step_times import StepTimes
from sim.lifecycle.shapes import kv_bytes_per_sequence, kv_bytes_per_token_layer, linear_flops_per_token, parameters
from sim.spec.sourced import Sourced

EQUATIONS = "docs/equations.md"
_POOL = {
    "all": "usable - weights - peak - reserve",
    "static": "usable - weights - reserve",
    "free": "utilization x (device - weights - peak - reserve)",
}
"""How the pool follows, by what the engine's share holds."""
SAMPLES = (1, 32, 128, 2048)
"""Batch sizes at which the card shows the parts of a step [tokens]."""
SEQUENCE_TOKENS = 8192
"""Length of the sequence whose cache the card shows [tokens]."""


@dataclass(frozen=True)
class CardRow:
    """One intermediate number."""

    name: str
    value: float
    unit: str
    equation: str
    """How it was computed, or `given`."""
    source: str
    """Where equation and inputs come from."""


def make_card(
    machine: Machine,
    memory: Memory,
    times: StepTimes,
    stage_times: StepTimes,
    speculation: Speculation | None,
    gpu_memory_utilization: float,
) -> tuple[CardRow, ...]:
    """Return all intermediates of a profile, in the order in which they follow from one another."""
    return (
        *_model_rows(machine),
        *_gpu_rows(machine),
        *_memory_rows(machine, memory, gpu_memory_utilization),
        *_part_rows(machine, times),
        *_step_rows(machine, times),
        *_stage_rows(machine, stage_times),
        *_speculation_rows(speculation, times),
        *_first_token_rows(machine, times),
        *_power_rows(machine, times),
    )


def _model_rows(machine: Machine) -> Iterator[CardRow]:
    m, p = machine.model, machine.precisions
    counts = parameters(m)
    for name, value, equation in (
        ("parameters", counts.total, "embedding + head + layers + norms"),
        ("active parameters", counts.active, "what a token visits, input embedding left out"),
        ("embedding parameters", counts.embedding, "vocab x hidden"),
        ("attention parameters per layer", counts.attention_layer, "projections, biases, norms"),
        ("dense MLP parameters per layer", counts.dense_mlp_layer, "3 x hidden x intermediate if gated, else 2 x"),
        ("expert parameters", counts.expert, "3 x hidden x expert width"),
    ):
        yield CardRow(name, value, "1", equation, m.source)
    yield CardRow("linear FLOPs per token", linear_flops_per_token(m), "FLOP", "2 x weights visited", m.source)
    layer_bytes = kv_bytes_per_token_layer(m, p.value_bytes)
    equation = "(rank + rope) x bytes" if m.attention == "mla" else "2 x kv heads x head_dim x bytes"
    yield CardRow("KV bytes per token and layer", layer_bytes, "B", equation, m.source)
    sequence = kv_bytes_per_sequence(m, SEQUENCE_TOKENS, p.value_bytes)
    equation = "layers x tokens (window at most) x bytes per token and layer"
    yield CardRow(f"KV bytes of {SEQUENCE_TOKENS} tokens", sequence, "B", equation, f"{EQUATIONS}, model")


def _gpu_rows(machine: Machine) -> Iterator[CardRow]:
    gpu, fit = machine.gpu, machine.precisions.linear.fit
    memory: Sourced = gpu.memory_bandwidth_bytes_per_s
    yield CardRow("memory bandwidth", memory, "B/s", "given", memory.source)
    peak = gpu.peak_flops_per_s(fit.peak)
    yield CardRow(f"{fit.peak} peak", peak, "FLOP/s", "given", peak.source)
    yield CardRow("roofline corner", peak / memory, "FLOP/B", "peak / bandwidth", peak.source)
    rate = compute_rate(fit, gpu)
    yield CardRow("product compute rate", rate, "FLOP/s", "peak x min(fe, ceiling)", fit.source)
    yield CardRow("product memory rate", memory_rate(fit, gpu), "B/s", "bandwidth x be", fit.source)


def _memory_rows(machine: Machine, memory: Memory, utilization: float) -> Iterator[CardRow]:
    gpu, rule = machine.gpu, machine.engine.memory
    yield CardRow("device memory", gpu.hbm_bytes, "B", "given", gpu.hbm_bytes.source)
    for name, value, equation, source in (
        ("usable memory", memory.usable_bytes, f"device memory x {utilization:g}", f"{EQUATIONS}, memory"),
        ("weights per GPU", memory.weights_bytes, "weights of the fullest GPU x bytes", machine.model.source),
        ("peak activation", memory.activation_bytes, "max(forward pass, sampler) + workspaces of experts", rule.source),
        ("reserve", memory.reserve_bytes, "non-torch + graphs", rule.source),
        ("KV pool", memory.pool_bytes, _POOL[rule.share], f"{EQUATIONS}, memory"),
        (
            "KV bytes per token on a GPU",
            memory.kv_bytes_per_token,
            "layers x bytes per token and layer",
            f"{EQUATIONS}, model",
        ),
        ("KV block", memory.block_bytes, f"{memory.block_size} x bytes per token", f"{EQUATIONS}, memory"),
    ):
        yield CardRow(name, value, "B", equation, source)
    yield CardRow(
        "GPU blocks", memory.num_gpu_blocks, "1", "floor(pool / block), null block included", f"{EQUATIONS}, memory"
    )


def _part_rows(machine: Machine, times: StepTimes) -> Iterator[CardRow]:
    samples = [tokens for tokens in SAMPLES if tokens <= times.max_num_batched_tokens]
    padded = padded_tokens(np.array(samples, dtype=np.float64), machine.engine, times.max_num_seqs)
    for part in token_parts(padded, machine):
        for tokens, each_s in zip(samples, part.each_s, strict=True):
            name = f"{part.name}, {tokens} tokens"
            yield CardRow(name, float(each_s), "s", f"{part.equation}; {part.count} a step", part.source)


def _step_rows(machine: Machine, times: StepTimes) -> Iterator[CardRow]:
    source, attention = f"{EQUATIONS}, step time", f"{EQUATIONS}, attention"
    for tokens in SAMPLES:
        if tokens <= times.max_num_batched_tokens:
            yield CardRow(f"batch, {tokens} tokens", times.batch_s[tokens], "s", "batch_s[T]", source)
    for seqs in SAMPLES:
        if seqs > times.max_num_seqs:
            continue
        what = f"{seqs} sequences"
        yield CardRow(f"decode batch, {what}", times.decode_batch_s[seqs], "s", "decode_batch_s[n], padded", source)
        yield CardRow(f"sample, {what}", times.sample_s[seqs], "s", "head + logits + host per sequence", source)
        reading_s = times.attention_s(seqs, 1000 * seqs)
        equation = "layers x max(scale x form x e^table, floor), linear between knots of the total context"
        if not machine.use_cache:
            equation = "layers over the context anew"
        yield CardRow(f"decode attention, {what} of 1000 tokens", reading_s, "s", equation, attention)
        step_s = times.step_s(seqs, seqs, 1000 * seqs, seqs)
        yield CardRow(f"decode step, {what} of 1000 tokens", step_s, "s", "pure decode", source)
    terms = prefill_attention(machine)
    equation = "layers x (a, b, c) of a + b q + c q (q + 1) / 2, nearest to the times of prompts of 128 to 16384"
    if machine.eager:
        equation = "2 layers x (4 heads head_dim / product rate + 8 heads / (bandwidth x be))"
    else:
        yield from _prompt_rows(machine, attention)
    yield CardRow("prefill attention, start", terms.start_s, "s", equation, attention)
    yield CardRow("prefill attention per token", terms.token_s, "s", equation, attention)
    yield CardRow("prefill attention per pair", times.pair_s, "s", equation, attention)
    equation = "start + layers x prefill_layer_s"
    yield CardRow("prefill step", times.prefill_step_s, "s", equation, f"{EQUATIONS}, step time")
    if times.max_num_batched_tokens >= 2048:
        step_s = times.step_s(2048, 0, 0, 1, 2048 * 2049 / 2)
        yield CardRow("prefill of 2048 tokens", step_s, "s", "mixed step, one sequence", source)


def _prompt_rows(machine: Machine, source: str) -> Iterator[CardRow]:
    """Yield prefill attention of one layer over whole prompts, which the terms of a step are fitted to."""
    kernel, prompts = machine.attention[1], np.array(PROMPT_TOKENS)
    heads = Heads.of(machine.model, machine.layout.tensor_parallel_size)
    each_s = machine.engine.prefill_attention_scale * prefill_layer_s(prompts, heads, kernel, machine.kernels.timed_on)
    equation = "scale x form x e^table, one layer"
    for tokens, time_s in zip(prompts, each_s, strict=True):
        yield CardRow(f"prefill attention, {tokens:g} tokens", float(time_s), "s", equation, source)


def _stage_rows(machine: Machine, times: StepTimes) -> Iterator[CardRow]:
    if machine.layout.pipeline_parallel_size == 1:
        return
    equation = "fullest stage's share of the layers + max(host + transfer, sample)"
    for seqs in SAMPLES:
        if seqs <= times.max_num_seqs:
            step_s = times.step_s(seqs, seqs, 1000 * seqs, seqs)
            name = f"slowest stage of a decode step, {seqs} sequences of 1000 tokens"
            yield CardRow(name, step_s, "s", equation, f"{EQUATIONS}, pipeline stages")


def _speculation_rows(speculation: Speculation | None, plain: StepTimes) -> Iterator[CardRow]:
    if speculation is None:
        return
    k, source = speculation.num_speculative_tokens, f"{EQUATIONS}, speculation"
    for position, share in enumerate(speculation.accept_frac, start=1):
        yield CardRow(f"acceptance at position {position}", share, "1", "given those before it", speculation.source)
    tokens = speculation.expected_tokens
    yield CardRow(f"tokens a step, {k} drafts", tokens, "1", "1 + sum of products of acceptances", source)
    for seqs in SAMPLES:
        if seqs <= plain.max_num_seqs:
            what = f"{seqs} sequences of 1000 tokens"
            step_s = speculation.step_times.step_s(seqs, seqs, 1000 * seqs, seqs)
            yield CardRow(f"speculating step, {what}", step_s, "s", "verify k + 1 tokens a sequence, draft k", source)
            yield CardRow(f"drafting of it, {seqs} sequences", speculation.draft_s[seqs], "s", "k passes", source)
            gain = speculation.speedup(plain, seqs, 1000 * seqs)
            yield CardRow(f"speed-up, {what}", gain, "1", "tokens a step x plain step / speculating step", source)


def _first_token_rows(machine: Machine, times: StepTimes) -> Iterator[CardRow]:
    host_s = machine.engine.first_token_s
    yield CardRow("host time before the first token", host_s, "s", "once per request", machine.engine.source)
    if times.max_num_batched_tokens >= 2048:
        ttft_s = host_s + times.step_s(2048, 0, 0, 1, 2048 * 2049 / 2)
        equation = "prefill of 2048 tokens + host time"
        yield CardRow("TTFT of 2048 tokens, alone", ttft_s, "s", equation, f"{EQUATIONS}, step time")


def _power_rows(machine: Machine, times: StepTimes) -> Iterator[CardRow]:
    source = machine.kernels.power.source
    for tokens in SAMPLES:
        if tokens <= times.max_num_batched_tokens:
            read = float(read_bytes(np.array([float(tokens)]), machine)[0])
            yield CardRow(
                f"weights read, {tokens} tokens", read, "B", "all GPUs, visited experts only", f"{EQUATIONS}, power"
            )
            power = times.power_w[tokens]
            yield CardRow(f"power, {tokens} tokens", power, "W", "idle + (limit - idle)(1 - exp(-drive))", source)
    yield CardRow("power in attention", times.attention_w, "W", "idle + (limit - idle) x share", source)
    yield CardRow("idle power", times.idle_w, "W", "GPUs x idle", machine.gpu.idle_w.source)
