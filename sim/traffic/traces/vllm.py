"""A data set of `vllm bench serve --dataset-name custom`: JSON lines of prompts, without times.

::

    {"prompt": "Which river is longer?", "output_tokens": 12}

prompt_tokens counts the prompt where it is given (as in files written here), else its characters do.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from sim.traffic.traces.block import TraceBlock
from sim.traffic.traces.flaws import RowError, count, shown
from sim.traffic.traces.format import Options
from sim.traffic.traces.jsonl import JsonLines
from sim.traffic.traces.sharegpt import FILLER, text_tokens


class Custom(JsonLines):
    """prompt, output_tokens."""

    name = "vllm_custom"
    shape = "JSON lines with prompt, output_tokens"
    keys = ("prompt", "output_tokens")
    fields = ("prompt_tokens", "output_tokens")

    def row(self, data: dict[str, Any], options: Options) -> tuple[Any, ...]:
        """See JsonLines."""
        if not isinstance(data["prompt"], str):
            raise RowError(f"prompt must be a text, got {shown(data['prompt'])}")
        given = data.get("prompt_tokens")
        prompt = text_tokens(data["prompt"], options.chars_per_token) if given is None else given
        return count(prompt, "prompt_tokens"), count(data["output_tokens"], "output_tokens")

    def texts(self, block: TraceBlock) -> Iterator[str]:
        """See JsonLines."""
        for prompt, output in zip(block.prompt_tokens.tolist(), block.output_tokens.tolist(), strict=True):
            yield json.dumps({"prompt": FILLER * prompt, "prompt_tokens": prompt, "output_tokens": output})


CUSTOM: Final = Custom()
