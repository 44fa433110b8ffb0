"""Azure's LLM inference traces: when, how long the prompt, how long the answer.

::

    TIMESTAMP,ContextTokens,GeneratedTokens
    2023-11-16 08:00:00.1234500,250,40             2023: 100 ns, no zone (UTC)
    2024-05-10 09:30:00.000500+00:00,3100,4        2024: microseconds, zone +00:00; none on a whole second

Azure/AzurePublicDataset, AzureLLMInferenceDataset2023.md and 2024.md. inference-perf replays the same table.
"""

from typing import Final

from sim.traffic.traces.table import Column, Table


class Azure(Table):
    """TIMESTAMP,ContextTokens,GeneratedTokens."""

    name = "azure"
    shape = "CSV with TIMESTAMP, ContextTokens, GeneratedTokens"
    fine = True
    columns = (
        Column("TIMESTAMP", "time_ns", "stamp"),
        Column("ContextTokens", "prompt_tokens", "count"),
        Column("GeneratedTokens", "output_tokens", "count"),
    )


AZURE: Final = Azure()
