"""Recorded traces: readers and writers of every format, repair, and operations on blocks of requests."""

from sim.traffic.traces.block import HASH_BLOCK_TOKENS, UNKNOWN, TraceBlock, joined
from sim.traffic.traces.flaws import MAX_PROBLEMS, MAX_TOKENS
from sim.traffic.traces.format import Options
from sim.traffic.traces.formats import FORMATS, format_of
from sim.traffic.traces.reading import read_trace
from sim.traffic.traces.repair import Report
from sim.traffic.traces.writing import Written, write_trace

__all__ = [
    "FORMATS",
    "HASH_BLOCK_TOKENS",
    "MAX_PROBLEMS",
    "MAX_TOKENS",
    "UNKNOWN",
    "Options",
    "Report",
    "TraceBlock",
    "Written",
    "format_of",
    "joined",
    "read_trace",
    "write_trace",
]
