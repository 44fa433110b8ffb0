"""Unfolded requests as the blocks of a trace, which every format's writer takes."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.traffic.arrivals import Source
from sim.traffic.texts import Texts
from sim.traffic.traces import TraceBlock
from sim.traffic.turns import Service
from sim.traffic.unfold import Requests


def trace_blocks(
    requests: Iterable[Requests], source: Source, seed: int, service: Service, block_tokens: int | None
) -> Iterator[TraceBlock]:
    """Requests from t = 0 on as a trace; those of a run-in are left out.

    Parameters
    ----------
    requests
        As `unfold` gives them.
    source, seed, service
        Where they came from.
    block_tokens
        Tokens of a block of text, for `hash_ids`; None: without them.
    """
    texts = Texts(source.classes, seed)
    names: dict[str, NDArray[np.object_]] = {
        "tier": _texts(each.tier for each in source.classes),
        "use_case": _texts(each.name for each in source.classes),
        "prefix": _texts(each.prefix_group if each.prefix_tokens else "" for each in source.classes),
    }
    prefix_tokens = np.array([each.prefix_tokens for each in source.classes], dtype=np.int64)
    languages = _texts(source.languages)
    for each in requests:
        part = each.from_start()
        rows = part.rows
        if not len(rows):
            continue
        kind = rows["class_id"]
        columns: dict[str, Any] = {name: known[kind] for name, known in names.items()}
        if len(source.languages) > 1:
            columns["language"] = languages[rows["language"]]
        users, conversations = rows["user"].tolist(), rows["conversation"].tolist()
        if block_tokens is not None:
            columns["hash_ids"] = texts.hash_ids(part, block_tokens)
            columns["block_tokens"] = block_tokens
        yield TraceBlock(
            time_ns=np.rint(rows["t_s"] * 1e9).astype(np.int64),
            prompt_tokens=rows["prompt_tokens"].astype(np.int64),
            output_tokens=rows["output_tokens"].astype(np.int64),
            user=_texts(map(str, users)),
            session=_texts(f"{user}-{number}" for user, number in zip(users, conversations, strict=True)),
            turn=rows["turn"].astype(np.int64),
            elapsed_s=service.ttft_s + service.tpot_s * (rows["output_tokens"] - 1.0),
            prefix_tokens=np.minimum(prefix_tokens[kind], rows["prompt_tokens"]),
            **columns,
        )


def _texts(values: Iterable[str]) -> NDArray[np.object_]:
    return np.array(list(values), dtype=object)
