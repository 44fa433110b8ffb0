"""Mooncake's traces, the one published format that says what prompts have in common; and vLLM's timed traces.

::

    {"timestamp": 3000, "input_length": 1500, "output_length": 9, "hash_ids": [1, 2, 3]}

mooncake     timestamp in ms, a hash id for each 512 tokens of the prompt, the last one begun (kvcache-ai/Mooncake,
             FAST25-release/README.md)
timed_trace  the same keys for `vllm bench serve --dataset-name timed_trace`, by its defaults: timestamp in seconds
             (--timed-trace-sec-multiplier 1), a hash id for each 16 tokens (--timed-trace-chunk-hash-size 16)
"""

from collections.abc import Iterator
from typing import Any, ClassVar, Final

from sim.traffic.traces.block import TraceBlock
from sim.traffic.traces.flaws import count, ids, instant
from sim.traffic.traces.format import Head, Options, TimeUnit
from sim.traffic.traces.jsonl import JsonLines
from sim.traffic.traces.table import seconds


class Mooncake(JsonLines):
    """timestamp [ms], input_length, output_length, hash_ids."""

    name = "mooncake"
    shape = "JSON lines with timestamp [ms], input_length, output_length, hash_ids"
    unit: ClassVar[TimeUnit] = "ms"
    holds = ("hash_ids",)
    keys = ("timestamp", "input_length", "output_length")
    fields = ("time_ns", "prompt_tokens", "output_tokens", "hash_ids")

    def row(self, data: dict[str, Any], options: Options) -> tuple[Any, ...]:
        """See JsonLines."""
        return (
            instant(data["timestamp"], "timestamp", options.time_unit or self.unit),
            count(data["input_length"], "input_length"),
            count(data["output_length"], "output_length"),
            ids(data.get("hash_ids", []), "hash_ids"),
        )

    def texts(self, block: TraceBlock) -> Iterator[str]:
        """See JsonLines."""
        rows = zip(
            seconds(block.time_ns, self.unit),
            block.prompt_tokens.tolist(),
            block.output_tokens.tolist(),
            block.hash_ids or [[]] * len(block),
            strict=True,
        )
        for time, prompt, output, hashes in rows:
            known = f', "hash_ids": {hashes}' if block.hash_ids else ""
            yield f'{{"timestamp": {time}, "input_length": {prompt}, "output_length": {output}{known}}}'


class TimedTrace(Mooncake):
    """timestamp [s], input_length, output_length, hash_ids of 16 tokens."""

    name = "timed_trace"
    shape = "JSON lines with timestamp [s], input_length, output_length, hash_ids (vLLM; never told from mooncake)"
    unit = "s"
    hash_block_tokens = 16

    def recognises(self, head: Head) -> bool:  # noqa: ARG002  (it looks like mooncake)
        """See Format."""
        return False


MOONCAKE: Final = Mooncake()
TIMED_TRACE: Final = TimedTrace()
