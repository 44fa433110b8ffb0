"""What traffic is like: statistics of a stream of requests, in one pass and bounded memory."""

from sim.traffic.statistics.collect import MAX_BLOCKS, Statistics
from sim.traffic.statistics.seen import Labels, Seen
from sim.traffic.statistics.views import SourceView, TraceView

__all__ = ["MAX_BLOCKS", "Labels", "Seen", "SourceView", "Statistics", "TraceView"]
