"""From a scenario to its source of arrivals.

Every kind of traffic but a population (see `populate`) has one class, and one bucket or none.
"""

import math
from dataclasses import replace
from pathlib import Path

from sim import catalog
from sim.errors import Problem, SpecError
from sim.spec import (
    ClosedLoopTraffic,
    OpenLoopTraffic,
    PopulationTraffic,
    Scenario,
    SessionTraffic,
    TraceTraffic,
)
from sim.traffic.arrivals import Source, TrafficClass
from sim.traffic.classes import buckets_of, class_of, collected, table
from sim.traffic.populate import populate
from sim.traffic.replay import Replay
from sim.traffic.sessions import sessions
from sim.traffic.size import hold_size
from sim.traffic.synthetic import ClosedLoop, OpenLoop
from sim.traffic.traces import Options


def build(scenario: Scenario) -> Source:
    """The arrivals of a scenario, from -run_in to the horizon.

    Raises
    ------
    SpecError
        A workload, curve or table that does not exist, numbers that no population can have, or more requests than
        can be computed.
    TraceError
        A trace that cannot be read.
    """
    match scenario.traffic:
        case PopulationTraffic() as traffic:
            return populate(scenario, traffic)
        case TraceTraffic() as traffic:
            return _replay(scenario, traffic)
        case SessionTraffic() as traffic:
            return _sessions(scenario, traffic)
        case OpenLoopTraffic() as traffic:
            requests = traffic.rate_per_s * (scenario.run_in_s + scenario.horizon_s)
            hold_size(min(requests, traffic.num_requests or math.inf), "traffic.rate_per_s or horizon")
            tier = scenario.tiers[traffic.tier]
            return OpenLoop(
                seed=scenario.seed,
                rate_per_s=traffic.rate_per_s,
                burstiness=traffic.burstiness,
                num_requests=traffic.num_requests,
                num_prompts=traffic.num_prompts,
                traffic_class=_generated(scenario, traffic),
                buckets=buckets_of(tier.rate_limit, 1),
                start_s=-scenario.run_in_s,
                horizon_s=scenario.horizon_s,
            )
        case ClosedLoopTraffic() as traffic:
            requests = float(traffic.concurrency) * traffic.requests_per_user
            hold_size(requests, "traffic.concurrency or traffic.requests_per_user")
            return ClosedLoop(
                seed=scenario.seed,
                concurrency=traffic.concurrency,
                requests_per_user=traffic.requests_per_user,
                traffic_class=replace(
                    _generated(scenario, traffic),
                    min_think_s=traffic.reissue_delay_s,
                    reissue_interval_s=traffic.reissue_interval_s,
                ),
                buckets=buckets_of(scenario.tiers[traffic.tier].rate_limit, 1),
                start_s=-scenario.run_in_s,
            )


def _sessions(scenario: Scenario, traffic: SessionTraffic) -> Source:
    return sessions(
        traffic,
        catalog.load_workload(traffic.workload),
        scenario.tiers[traffic.tier],
        seed=scenario.seed,
        start_s=-scenario.run_in_s,
        end_s=scenario.horizon_s,
    )


def _replay(scenario: Scenario, traffic: TraceTraffic) -> Replay:
    tier = scenario.tiers[traffic.tier]
    # Prompts stand in the file as they were sent, system prompt included.
    as_sent = tier.model_copy(update={"system_prompt_tokens": 0})
    trace = Replay(
        path=Path(traffic.path).expanduser(),
        trace_format=traffic.format,
        rate_scale=traffic.rate_scale,
        traffic_class=class_of(traffic.tier, traffic.tier, as_sent),
        buckets=buckets_of(tier.rate_limit, 1),
        start_s=-scenario.run_in_s,
        horizon_s=scenario.horizon_s,
        options=Options(
            time_unit=traffic.time_unit,
            block_tokens=traffic.block_tokens,
            rate_per_s=traffic.rate_per_s,
            turn_gap_s=traffic.turn_gap_s,
            chars_per_token=traffic.chars_per_token,
            seed=scenario.seed,
        ),
        operations=traffic.operations,
        repair=traffic.repair,
    )
    trace.describe()  # reads the file through: its mistakes come now, not in the middle of a run
    return trace


def _generated(scenario: Scenario, traffic: OpenLoopTraffic | ClosedLoopTraffic) -> TrafficClass:
    """The class of a load generator."""
    problems: list[Problem] = []
    tables = {}
    for name, field in (("user_tokens", "input_sequence_length"), ("output_tokens", "output_sequence_length")):
        with collected(problems, f"traffic.{field}"):
            tables[name] = table(getattr(traffic, field), whole=True)
    SpecError.raise_if(problems)
    return class_of(traffic.tier, traffic.tier, scenario.tiers[traffic.tier], **tables)
