"""Fit a workload to recorded traffic, and show how well traffic generated from it fits (docs/traffic-fit.md)."""

from sim.traffic.fit.goodness import Row, table
from sim.traffic.fit.servegen import FittedClients, fit_clients
from sim.traffic.fit.trace import SERVICE, Fitted, fit_trace

__all__ = [
    "SERVICE",
    "Fitted",
    "FittedClients",
    "Row",
    "fit_clients",
    "fit_trace",
    "table",
]
