"""Requests that ServeGen generated (its examples' CSV): number, seconds and lengths.

::

    request_id,timestamp,input_tokens,output_tokens        more columns (reason_ratio, ...) are passed over

What ServeGen publishes of real traffic describes clients, not requests: see sim.traffic.traces.clients.
"""

from typing import Final

from sim.traffic.traces.block import TraceBlock
from sim.traffic.traces.format import Head
from sim.traffic.traces.table import Column, Table


class ServeGen(Table):
    """request_id,timestamp,input_tokens,output_tokens."""

    name = "servegen"
    shape = "CSV with request_id, timestamp, input_tokens, output_tokens"
    unit = "s"
    columns = (
        Column("timestamp", "time_ns", "time"),
        Column("input_tokens", "prompt_tokens", "count"),
        Column("output_tokens", "output_tokens", "count"),
    )

    def recognises(self, head: Head) -> bool:
        """See Format."""
        return super().recognises(head) and "request_id" in head.columns

    def cells(self, block: TraceBlock, num_before: int) -> dict[str, list[str]]:
        """See Table."""
        numbers = range(num_before, num_before + len(block))
        return {"request_id": list(map(str, numbers))} | super().cells(block, num_before)


SERVEGEN: Final = ServeGen()
