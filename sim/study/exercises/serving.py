"""Exercises of lessons 7 to 9: load, a fleet for many, and watching it."""

from __future__ import annotations

import math

import sim
from sim import catalog
from sim.study.exercises.exercise import Exercise, exercise


@exercise(
    "07.1",
    """A GPU has 64 places in its batch, an answer has 200 tokens, one every 13 ms; prompts are cached. How many
    requests per second can it answer at most?""",
    unit="requests/s",
)
def _places() -> float:
    """Little's law: 64 places / (200 x 13 ms)."""
    return 64 / (200 * 0.013)


@exercise(
    "07.2",
    """Llama-3.1-8B on an H100: how long is the step that computes a prompt of 8,000 tokens whole, with nobody else
    there?""",
    unit="ms",
    tolerance_frac=0.05,
)
def _whole_prompt() -> float:
    """`step_times.step_s(8000, 0, 0, 1, 8000 * 8001 / 2)`: what everybody else waits for their next token."""
    profile = sim.compile(catalog.load_model("llama-3.1-8b"), catalog.load_gpu("h100-sxm-80gb"))
    return 1e3 * profile.step_times.step_s(8000, 0, 0, 1, 8000 * 8001 / 2)


@exercise(
    "07.3",
    """`tokenfleet run disaggregated --duration 10min` with `--set fleet.pools.prefill.replicas=3 --set
    fleet.pools.decode.replicas=1`, and with two of each as it is: mean ITL of the former over that of the latter?""",
    unit="times",
    tolerance_frac=0.05,
)
def _three_to_one() -> float:
    """`mean_itl_ms` of both: one replica has all the answers, and its steps are fuller."""
    even = sim.load("disaggregated").replace("horizon", "10 min")
    uneven = even.replace("fleet.pools.prefill.replicas", 3).replace("fleet.pools.decode.replicas", 1)
    return float(sim.run(uneven).result["mean_itl_ms"] / sim.run(even).result["mean_itl_ms"])


@exercise(
    "08.1",
    """25 million people a month, a quarter of them active a day, 8 messages each, the busiest hour 1.5 times the mean:
    how many messages per second in that hour?""",
    unit="messages/s",
)
def _busiest_hour() -> float:
    """25e6 x 0.25 x 8 / 86,400 x 1.5."""
    return 25e6 * 0.25 * 8 / 86_400 * 1.5


@exercise(
    "08.2",
    """A fleet of 2,100 GPUs at 3 USD an hour, day and night, serves ten million people a month (30.4 days). What does
    it cost a person and month?""",
    unit="USD",
)
def _person_month() -> float:
    """2,100 x 24 x 30.4 x 3 / 10e6."""
    return 2100 * 24 * 30.4 * 3 / 10e6


@exercise(
    "08.3",
    """Every free user of Meridian-1 fills a context of 16,384 tokens. How many of them can one replica (four H100,
    bf16) answer at the same time?""",
    unit="users",
    tolerance_frac=0.03,
)
def _full_contexts() -> float:
    """Whole ones: (`num_gpu_blocks` - 1) x 16 / 16,384; the system prompt, which they share, is left out."""
    gpu = catalog.load_gpu("h100-sxm-80gb")
    profile = sim.compile(catalog.load_model("meridian-1-70b"), gpu, tensor_parallel_size=4)
    return (profile.num_gpu_blocks - 1) * profile.block_size // 16_384


@exercise(
    "09.1",
    """40 charts, independent of each other, share a chance of 5 % of any false alarm in a week. What is the chance of
    each?""",
    unit="%",
)
def _sidak() -> float:
    """1 - 0.95^(1/40), by Sidak."""
    return 100.0 * (1.0 - math.pow(0.95, 1 / 40))


@exercise(
    "09.2",
    """A CUSUM with k = 1/2 and a limit of 13: after how many hours, at the earliest, does it alarm on a shift of 2
    deviations an hour? (Whole hours, no noise.)""",
    unit="h",
    tolerance_frac=0.001,
)
def _cusum_delay() -> float:
    """The chart rises by 2 - 1/2 an hour and must be above 13: 13 / 1.5, the next whole number."""
    return math.ceil(13 / 1.5)


@exercise(
    "09.3",
    """20,000 requests a day, evenly. What must the share of refusals in an hour rise to from 1 %, to be 3 binomial
    deviations above it?""",
    unit="%",
)
def _refusals() -> float:
    """1 % + 3 sqrt(0.01 x 0.99 / 833); measured deviations are larger, for people come again."""
    return 100 * (0.01 + 3 * math.sqrt(0.01 * 0.99 / (20_000 / 24)))


EXERCISES: tuple[Exercise, ...] = (
    _places,
    _whole_prompt,
    _three_to_one,
    _busiest_hour,
    _person_month,
    _full_contexts,
    _sidak,
    _cusum_delay,
    _refusals,
)
