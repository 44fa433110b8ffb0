"""From a scenario to its source of arrivals.

The order of classes and buckets is fixed: of a population, one class for each tier with users, in the order of the
scenario's tiers; then the API's; then the agents'. Buckets in the same order, where a tier has a rate limit: one for
each tier with users, then one for each client of the API, then one for each client of the agents. Every other kind of
traffic has one class, and one bucket or none.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sim import catalog
from sim.errors import Problem, SpecError
from sim.spec import (
    ClosedLoopTraffic,
    Distribution,
    OpenLoopTraffic,
    PopulationTraffic,
    ProgramTraffic,
    RateLimit,
    Scenario,
    Tier,
    TraceTraffic,
)
from sim.spec.workload import Workload
from sim.traffic.activity import Activity
from sim.traffic.arrivals import BUCKET, FIRST_PROGRAM, NO_LIMIT, Source, TrafficClass
from sim.traffic.clients import Clients, burstiness_levels, client_shares
from sim.traffic.daily import start_rate
from sim.traffic.expect import conversation_tokens
from sim.traffic.lengths import Table, quantile_table, stretched, table_mean
from sim.traffic.order import merge
from sim.traffic.population import Population
from sim.traffic.replay import Replay
from sim.traffic.synthetic import ClosedLoop, OpenLoop

T = TypeVar("T")


def build(scenario: Scenario) -> Source:
    """The arrivals of a scenario, from -run_in to the horizon.

    Raises
    ------
    SpecError
        A workload, curve or table that does not exist, or numbers that no population can have.
    TraceError
        A trace that cannot be read.
    """
    match scenario.traffic:
        case PopulationTraffic() as traffic:
            return _population(scenario, traffic)
        case TraceTraffic() as traffic:
            return _trace(scenario, traffic)
        case OpenLoopTraffic() as traffic:
            traffic_class, buckets = _generated(scenario, traffic)
            return OpenLoop(
                scenario.seed,
                traffic.rate_per_s,
                traffic.burstiness,
                traffic.num_requests,
                traffic_class,
                buckets,
                -scenario.run_in_s,
                scenario.horizon_s,
            )
        case ClosedLoopTraffic() as traffic:
            traffic_class, buckets = _generated(scenario, traffic)
            traffic_class = replace(traffic_class, min_think_s=traffic.reissue_delay_s)
            users, requests = traffic.concurrency, traffic.requests_per_user
            return ClosedLoop(scenario.seed, users, requests, traffic_class, buckets, -scenario.run_in_s)


def _trace(scenario: Scenario, traffic: TraceTraffic) -> Replay:
    tier = scenario.tiers[traffic.tier]
    # Prompts stand in the file as they were sent, system prompt included.
    whole = replace(_class(traffic.tier, traffic.tier, tier), prefix_tokens=0, prefix_group="", is_program=True)
    trace = Replay(
        Path(traffic.path).expanduser(),
        traffic.format,
        traffic.rate_scale,
        whole,
        _buckets(tier.rate_limit, 1),
        -scenario.run_in_s,
        scenario.horizon_s,
    )
    trace.describe()  # reads the file through: its mistakes come now, not in the middle of a run
    return trace


def _generated(
    scenario: Scenario, traffic: OpenLoopTraffic | ClosedLoopTraffic
) -> tuple[TrafficClass, NDArray[np.void]]:
    """The class and the buckets of a load generator."""
    tier = scenario.tiers[traffic.tier]
    user, output = together(
        lambda: table("traffic.input_sequence_length", traffic.input_sequence_length, whole=True),
        lambda: table("traffic.output_sequence_length", traffic.output_sequence_length, whole=True),
    )
    traffic_class = replace(
        _class(traffic.tier, traffic.tier, tier), user_tokens=user, output_tokens=output, is_program=True
    )
    return traffic_class, _buckets(tier.rate_limit, 1)


def _population(scenario: Scenario, traffic: PopulationTraffic) -> Source:
    programs = {kind: part for kind, part in (("api", traffic.api), ("agents", traffic.agents)) if part is not None}
    # Every look-up is made before any mistake is reported.
    chat, curve, *_ = together(
        lambda: catalog.load_workload(traffic.workload),
        lambda: catalog.load_curve(traffic.curve),
        *(lambda part=part: catalog.load_workload(part.workload) for part in programs.values()),
    )
    people = _people(scenario, traffic, chat, curve.hourly)
    chat_tokens_per_day = sum(
        people.num_users * frac * rate * sum(conversation_tokens(traffic_class, people.turns))
        for frac, rate, traffic_class in zip(
            people.activity.tier_frac, people.activity.rate_per_day, people.classes, strict=True
        )
    )
    clients = [
        _clients(scenario, kind, part, float(chat_tokens_per_day), FIRST_PROGRAM << index)
        for index, (kind, part) in enumerate(programs.items())
        if part.tokens_per_chat_token > 0
    ]
    return merge([people, *clients])
