"""What the user says: frozen specifications, read from YAML with every mistake reported at once."""

from sim.spec.base import Spec
from sim.spec.distribution import Distribution, TimeDistribution, TokenDistribution
from sim.spec.fleet import Fleet, Operation, Pool, Visit
from sim.spec.load import read_file, read_scenario
from sim.spec.reaction import Reaction
from sim.spec.scenario import Scenario
from sim.spec.speculation import SpeculativeConfig
from sim.spec.tier import RateLimit, Slo, Tier
from sim.spec.traffic import (
    ClosedLoopTraffic,
    OpenLoopTraffic,
    PopulationTraffic,
    ProgramTraffic,
    TraceTraffic,
    Traffic,
)

__all__ = [
    "ClosedLoopTraffic",
    "Distribution",
    "Fleet",
    "OpenLoopTraffic",
    "Operation",
    "Pool",
    "PopulationTraffic",
    "ProgramTraffic",
    "RateLimit",
    "Reaction",
    "Scenario",
    "Slo",
    "Spec",
    "SpeculativeConfig",
    "Tier",
    "TimeDistribution",
    "TokenDistribution",
    "TraceTraffic",
    "Traffic",
    "Visit",
    "read_file",
    "read_scenario",
]
