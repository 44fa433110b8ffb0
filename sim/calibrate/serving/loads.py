"""The column `concurrency_or_rate`: how hard a client pushed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["closed_loop", "open_loop", "all_at_once", "static", "saturated", "offline", "decode_step"]
"""closed_loop: users who wait for their answers. open_loop: a rate. all_at_once: every request at the start. static:
one batch from start to end. saturated: a full server with a cap on the batch, or the
mean batch that it was measured with. offline: as much as the engine takes.
decode_step: one step of a given batch."""

_NUMBER = r"([0-9.]+(?:e[0-9]+)?)"
_FORMS: tuple[tuple[str, Kind], ...] = (
    (rf"^concurrency={_NUMBER}$", "closed_loop"),
    (r"^offline client_concurrency=()[0-9]+$", "all_at_once"),
    (rf"^rate={_NUMBER} req/s$", "open_loop"),
    (rf"^server target_qps={_NUMBER}$", "open_loop"),
    (rf"^inf .*?{_NUMBER} prompts", "all_at_once"),
    (rf"^static_batch={_NUMBER}$", "static"),
    (rf"^max_num_seqs=.*\bavg batch {_NUMBER}\b", "saturated"),
    (rf"^max_num_seqs={_NUMBER}\b", "saturated"),
    (rf"^decode_batch~{_NUMBER}$", "decode_step"),
    (r"^(?:offline \(inf\)|inf \(max throughput\))()$", "offline"),
)


@dataclass(frozen=True)
class Load:
    """How hard a client pushed."""

    kind: Kind
    value: float
    """Users, requests per second, requests, sequences of a batch; 0 for offline, and where the notes have it."""


def read_load(text: str) -> Load | None:
    """Return the load that a text of the column states; None where it has no known form."""
    for form, kind in _FORMS:
        if match := re.match(form, text):
            return Load(kind, float(match.group(1) or 0))
    return None
