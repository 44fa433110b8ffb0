"""Azure's LLM inference traces: when, how long the prompt, how long the answer.

::

    TIMESTAMP,ContextTokens,GeneratedTokens
    2023-11-16 18:15:46.6805900,374,44             2023: 100 ns, no zone (UTC)
    2024-05-10 00:00:00.009930+00:00,2162,5        2024: microseconds, zone +00:00; none on a whole second

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
