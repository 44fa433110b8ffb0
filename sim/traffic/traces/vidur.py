"""Vidur's processed traces: lengths, and seconds of arrival where they were recorded.

::

    arrived_at,num_prefill_tokens,num_decode_tokens        data/processed_traces of microsoft/vidur
    num_prefill_tokens,num_decode_tokens,...               lengths only: arrivals come at a rate that the user gives
"""

from typing import Final

from sim.traffic.traces.table import Column, Table


class Vidur(Table):
    """arrived_at,num_prefill_tokens,num_decode_tokens."""

    name = "vidur"
    shape = "CSV with num_prefill_tokens, num_decode_tokens and, as a rule, arrived_at"
    unit = "s"
    columns = (
        Column("arrived_at", "time_ns", "time", required=False),
        Column("num_prefill_tokens", "prompt_tokens", "count"),
        Column("num_decode_tokens", "output_tokens", "count"),
    )


VIDUR: Final = Vidur()
