"""Exercises of lessons 4 to 6: languages, system prompts, safety."""

from __future__ import annotations

import sim
from sim import catalog
from sim.lifecycle.tokenizers import length_factor
from sim.spec import Scenario
from sim.study.exercises.exercise import Exercise, exercise

_GUARDED = """
name: guarded
model: llama-3.1-70b
hardware: h100-sxm-80gb
horizon: 15 min
drain: true
traffic: {kind: open_loop, rate_per_s: 2, num_requests: 400, input_sequence_length: 1000, output_sequence_length: 300}
fleet:
  pools:
    main: {replicas: 2, tensor_parallel_size: 4}
    guard: {model: llama-guard-3-1b, replicas: 1, enable_prefix_caching: false}
  paths:
    default: [{pool: guard, kind: classify, prompt: user, template_tokens: 200}, {pool: main}]
"""


@exercise(
    "04.1",
    "How many times the tokens of English does the same text take in Tamil under GPT-4o's tokenizer?",
    unit="times",
)
def _tamil() -> float:
    """docs/languages.md, column o200k_base: Tamil over English."""
    return length_factor("Tamil", "o200k_base").value / length_factor("English", "o200k_base").value


@exercise(
    "04.2",
    """An answer has 400 tokens in English under Llama 3's tokenizer; a token comes every 20 ms. How much longer does
    the same answer take in Bengali?""",
    unit="s",
)
def _bengali() -> float:
    """400 x (factor of Bengali / factor of English - 1) x 20 ms."""
    ratio = length_factor("Bengali", "llama-3").value / length_factor("English", "llama-3").value
    return 400 * (ratio - 1) * 0.020


@exercise("04.3", "Output head of a model 8,192 wide with a vocabulary of 256,000, in bf16?", unit="GB")
def _head() -> float:
    """256,000 x 8,192 x 2 bytes."""
    return 256_000 * 8192 * 2 / 1e9


@exercise(
    "05.1",
    "A system prompt of 4,000 tokens stands before messages of 50: what share of the prompt's tokens is it?",
    unit="%",
)
def _system_share() -> float:
    """4,000 / 4,050: in FLOP, attention included, nearly the same."""
    return 100 * 4000 / 4050


@exercise(
    "05.2",
    """Blocks have 16 tokens, and only whole ones are shared. Of a system prompt of 2,007 tokens, how many tokens can a
    request find in the cache that another one left there?""",
    unit="tokens",
    tolerance_frac=0.0001,
)
def _whole_blocks() -> float:
    """floor(2,007 / 16) x 16: the last block holds the user's own text too."""
    return 2007 // 16 * 16


@exercise(
    "05.3",
    """Meridian-1 70B on four H100 keeps a system prompt of 4,400 tokens in its cache. What share of the room for the
    cache is that?""",
    unit="%",
    tolerance_frac=0.03,
)
def _system_room() -> float:
    """4,400 tokens over (`num_gpu_blocks` - 1) x 16, from `sim.compile(..., tensor_parallel_size=4)`."""
    gpu = catalog.load_gpu("h100-sxm-80gb")
    profile = sim.compile(catalog.load_model("meridian-1-70b"), gpu, tensor_parallel_size=4)
    return 100 * 4400 / ((profile.num_gpu_blocks - 1) * profile.block_size)


@exercise(
    "06.1",
    """Requests of 1,000 prompt tokens and 300 answered; a guard of 8 billion parameters reads the prompt only, behind
    200 tokens of instructions; the model has 70 billion. What does it add to the arithmetic? (Round parameters.)""",
    unit="%",
)
def _gate_arithmetic() -> float:
    """8 x 1,200 over 70 x 1,300."""
    return 100 * 8 * 1200 / (70 * 1300)


@exercise(
    "06.2",
    "Three classifiers in turn, independent of each other, each refuse 2 % of harmless requests. How many are refused?",
    unit="%",
)
def _three_refusals() -> float:
    """1 - 0.98^3."""
    return 100 * (1 - 0.98**3)


@exercise(
    "06.3",
    """Two replicas of four H100 with Llama-3.1-70B, and a guard of 1B on one more, that reads each prompt before it is
    answered. What share of the bill is safety?""",
    unit="%",
)
def _guard_bill() -> float:
    """1 GPU of 9; `sim.safety.cost_frac` of a run says the same."""
    return 100 * float(sim.run(Scenario.from_yaml(_GUARDED)).result["sim"]["safety"]["cost_frac"])


EXERCISES: tuple[Exercise, ...] = (
    _tamil,
    _bengali,
    _head,
    _system_share,
    _whole_blocks,
    _system_room,
    _gate_arithmetic,
    _three_refusals,
    _guard_bill,
)
