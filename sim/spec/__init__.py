"""What the user says: frozen specifications, read from YAML with every mistake reported at once."""

from sim.spec.base import Spec
from sim.spec.distribution import Distribution, TimeDistribution, TokenDistribution
from sim.spec.fleet import Fleet, Operation, Pool
from sim.spec.gateway import Gateway
from sim.spec.limits import RateLimit, UserLimit
from sim.spec.load import read_file, read_scenario
from sim.spec.reaction import Reaction
from sim.spec.scenario import Scenario
from sim.spec.speculation import SpeculativeConfig
from sim.spec.tier import Slo, Tier
from sim.spec.trace import TraceOperation, TraceTraffic
from sim.spec.traffic import (
    ClosedLoopTraffic,
    OpenLoopTraffic,
    PopulationTraffic,
    ProgramTraffic,
    SessionTraffic,
    Traffic,
)
from sim.spec.visit import Visit

__all__ = [
    "ClosedLoopTraffic",
    "Distribution",
    "Fleet",
    "Gateway",
    "OpenLoopTraffic",
    "Operation",
    "Pool",
    "PopulationTraffic",
    "ProgramTraffic",
    "RateLimit",
    "Reaction",
    "Scenario",
    "SessionTraffic",
    "Slo",
    "Spec",
    "SpeculativeConfig",
    "Tier",
    "TimeDistribution",
    "TokenDistribution",
    "TraceOperation",
    "TraceTraffic",
    "Traffic",
    "UserLimit",
    "Visit",
    "read_file",
    "read_scenario",
]
