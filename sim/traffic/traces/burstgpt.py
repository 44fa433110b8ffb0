"""BurstGPT: GPT-3.5 and GPT-4 on a campus, by conversations and by the API.

::

    Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
    7,ChatGPT,510,33,543,Conversation log
    Timestamp,Session ID,Elapsed time,Model,...                            from release 2.0 on; no session of the API

Timestamp: seconds from 0:00:00 on the first day. Response tokens of 0 mean that the request failed (HPMLL/BurstGPT,
README.md): such rows are left out and counted, as `vllm bench serve` does.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim.traffic.traces.block import TraceBlock
from sim.traffic.traces.lines import Columns
from sim.traffic.traces.table import Column, Table

FAILED = "failed requests (no response tokens)"


class BurstGPT(Table):
    """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type."""

    name = "burstgpt"
    shape = "CSV with Timestamp, Model, Request tokens, Response tokens, Total tokens, Log Type"
    unit = "s"
    holds = ("session", "elapsed_s", "model", "use_case")
    columns = (
        Column("Timestamp", "time_ns", "time"),
        Column("Session ID", "session", "text", required=False, others=("SessionID",)),
        Column("Elapsed time", "elapsed_s", "seconds", required=False),
        Column("Model", "model", "text"),
        Column("Request tokens", "prompt_tokens", "count"),
        Column("Response tokens", "output_tokens", "count", minimum=0),
        Column("Log Type", "use_case", "text"),
    )

    def keep(self, columns: Columns) -> tuple[str, NDArray[np.bool_]]:
        """See Table: requests that were answered."""
        return FAILED, columns["output_tokens"] > 0

    def cells(self, block: TraceBlock, num_before: int) -> dict[str, list[str]]:
        """See Table; sessions and elapsed times only where the trace has them."""
        cells = super().cells(block, num_before)
        log_type = cells.pop("Log Type")
        if block.session is None:
            del cells["Session ID"], cells["Elapsed time"]
        total = (block.prompt_tokens + block.output_tokens).tolist()
        return cells | {"Total tokens": list(map(str, total)), "Log Type": log_type}


BURSTGPT: Final = BurstGPT()
