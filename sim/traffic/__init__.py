"""Who comes: populations, programs, recorded traces and load generators, as columns of arrivals in order of time."""

from sim.traffic.arrivals import ARRIVAL, BUCKET, SEGMENT, Chunk, Source, TrafficClass
from sim.traffic.assemble import build
from sim.traffic.order import merge

__all__ = ["ARRIVAL", "BUCKET", "SEGMENT", "Chunk", "Source", "TrafficClass", "build", "merge"]
