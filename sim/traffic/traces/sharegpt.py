"""ShareGPT (ShareGPT_V3_unfiltered_cleaned_split.json): conversations as text, without times.

::

    [{"id": "first_0", "conversations": [{"from": "human", "value": "..."}, {"from": "gpt", "value": "..."}]}, ...]

Each answer (from one of ANSWERERS) with something before it is a request: the prompt is all text before it, so a
conversation's prompts begin with one another. A message counts `tokens` where it says so (as files written here do),
else one token for each `chars_per_token` characters, and at least one: no tokenizer is bundled.
`vllm bench serve --dataset-name sharegpt` uses the first two messages of each conversation only.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from sim.traffic.traces.array import array_batches, write_array
from sim.traffic.traces.block import TraceBlock
from sim.traffic.traces.flaws import RowError, count, shown
from sim.traffic.traces.format import Format, Head, Opened, Options
from sim.traffic.traces.jsonl import with_keys
from sim.traffic.traces.repair import Report

ANSWERERS: Final = frozenset({"gpt", "assistant", "chatgpt", "bing", "bard", "claude", "palm"})
FILLER = "the "  # one token of most vocabularies, so that a written file is as long as it says to any tokenizer


def text_tokens(text: str, chars_per_token: float) -> int:
    """Tokens that a text counts as."""
    return max(1, round(len(text) / chars_per_token))


class ShareGPT(Format):
    """Conversations of messages {from, value}."""

    name = "sharegpt"
    shape = "a JSON array of objects with conversations: [{from, value}, ...]"
    holds = ("session", "turn", "prefix", "prefix_tokens")

    def recognises(self, head: Head) -> bool:
        """See Format."""
        return head.start in {"[", "{"} and {"conversations", "from", "value"} <= head.keys

    def open(self, path: Path, options: Options, report: Report) -> Opened:
        """See Format."""
        number = 0

        def rows(item: Any) -> Iterator[tuple[Any, ...]]:
            nonlocal number
            number += 1
            data = with_keys(item, ("conversations",))
            if not isinstance(data["conversations"], list):
                raise RowError(f"conversations must be a list, got {shown(data['conversations'])}")
            # Names may be missing or repeat (long conversations are split); the item's number tells them apart.
            session = str(data.get("id", ""))
            session = session if session.endswith(f"#{number}") else f"{session}#{number}"
            history = turn = 0
            for message in data["conversations"]:
                tokens = _tokens(message, options.chars_per_token)
                if str(message.get("from")).lower() in ANSWERERS and history:
                    yield 0, count(history, "prompt"), tokens, session, turn, session, history
                    turn += 1
                history += tokens

        fields = ("time_ns", "prompt_tokens", "output_tokens", "session", "turn", "prefix", "prefix_tokens")
        return Opened(array_batches(path, fields, rows, report), timed=False)

    def write(self, file: IO[bytes], blocks: Iterable[TraceBlock]) -> int:
        """See Format: times are lost; a session's requests that come one after the other become one conversation."""
        num_rows = 0

        def texts() -> Iterator[list[str]]:
            nonlocal num_rows
            open_one: _Conversation | None = None
            for block in blocks:
                done: list[str] = []
                columns = (block.column("session"), block.prompt_tokens, block.output_tokens)
                for session, prompt, output in zip(*(column.tolist() for column in columns), strict=True):
                    if open_one is None or not open_one.add(session, prompt, output):
                        done += [open_one.text()] if open_one else []
                        open_one = _Conversation(session, prompt, output)
                num_rows += len(block)
                yield done
            yield [open_one.text()] if open_one else []

        write_array(file, texts())
        return num_rows


class _Conversation:
    """A conversation that is being written."""

    def __init__(self, session: str, prompt: int, output: int) -> None:
        self.session = session
        self.total = prompt + output
        self.messages = [("human", prompt), ("gpt", output)]

    def add(self, session: str, prompt: int, output: int) -> bool:
        """Add a request, if it goes on where the last one ended."""
        if not session or session != self.session or prompt <= self.total:
            return False
        self.messages += [("human", prompt - self.total), ("gpt", output)]
        self.total = prompt + output
        return True

    def text(self) -> str:
        """The conversation as JSON."""
        import json

        said = ", ".join(
            f'{{"from": "{who}", "value": "{FILLER * tokens}", "tokens": {tokens}}}' for who, tokens in self.messages
        )
        return f'{{"id": {json.dumps(self.session)}, "conversations": [{said}]}}'


def _tokens(message: Any, chars_per_token: float) -> int:
    data = with_keys(message, ("from", "value"))
    if "tokens" in data:
        return count(data["tokens"], "tokens")
    if not isinstance(data["value"], str):
        raise RowError(f"value must be a text, got {shown(data['value'])}")
    return text_tokens(data["value"], chars_per_token)


SHAREGPT: Final = ShareGPT()
