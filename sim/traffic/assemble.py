"""From a scenario to its source of arrivals.

The order of classes and buckets is fixed: of a population, one class for each tier with users, in the order of the
scenario's tiers; then the API's; then the agents'. Buckets in the same order, where a tier has a rate limit: one for
each tier with users, then one for each client of the API, then one for each client of the agents. Every other kind of
traffic has one class, and one bucket or none.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sim import catalog
from sim.errors import Problem, SpecError
from sim.spec import (
    ClosedLoopTraffic,
    OpenLoopTraffic,
    PopulationTraffic,
    ProgramTraffic,
    Scenario,
    TraceTraffic,
)
from sim.spec.workload import Workload
from sim.traffic.activity import Activity
from sim.traffic.arrivals import FIRST_PROGRAM, Source, TrafficClass
from sim.traffic.classes import buckets_of, class_of, collected, table, workload_tables
from sim.traffic.clients import Clients, burstiness_levels, client_shares
from sim.traffic.daily import start_rate
from sim.traffic.expect import conversation_tokens
from sim.traffic.lengths import stretched, table_mean
from sim.traffic.order import merge
from sim.traffic.population import Population
from sim.traffic.replay import Replay
from sim.traffic.size import hold_size
from sim.traffic.synthetic import ClosedLoop, OpenLoop
from sim.traffic.traces import Options
from sim.units import DAY_S


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
            return _population(scenario, traffic)
        case TraceTraffic() as traffic:
            return _replay(scenario, traffic)
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


def _population(scenario: Scenario, traffic: PopulationTraffic) -> Source:
    days = (scenario.run_in_s + scenario.horizon_s) / DAY_S
    messages_per_day = traffic.daily_active_frac * traffic.messages_per_active_user_per_day
    requests = traffic.monthly_users * messages_per_day * days
    hold_size(requests, "traffic.monthly_users or horizon")
    programs = [
        (kind, part, first_client)
        for kind, part, first_client in (
            ("api", traffic.api, FIRST_PROGRAM),
            ("agents", traffic.agents, 2 * FIRST_PROGRAM),
        )
        if part is not None and part.tokens_per_chat_token > 0.0
    ]
    problems: list[Problem] = []
    workloads: dict[str, Workload] = {}
    with collected(problems, "traffic.curve"):
        hourly = catalog.load_curve(traffic.curve).hourly
    with collected(problems, "traffic.workload"):
        workloads["chat"] = catalog.load_workload(traffic.workload)
    for kind, part, _ in programs:
        with collected(problems, f"traffic.{kind}.workload"):
            workloads[kind] = catalog.load_workload(part.workload)
    SpecError.raise_if(problems)
    people = _people(scenario, traffic, workloads["chat"], hourly)
    sources: list[Source] = [people]
    for kind, part, first_client in programs:
        tokens_per_day = part.tokens_per_chat_token * people.tokens_per_day
        clients = _clients(scenario, kind, part, workloads[kind], first_client, tokens_per_day)
        requests += clients.arrivals_per_day * table_mean(clients.turns) * days
        hold_size(requests, f"traffic.{kind}.tokens_per_chat_token or horizon")
        sources.append(clients)
    return merge(sources)


def _people(scenario: Scenario, traffic: PopulationTraffic, workload: Workload, hourly: Sequence[float]) -> Population:
    tables = workload_tables(workload)
    turns = stretched(tables.pop("turns"), traffic.turns_per_conversation, whole=True)
    tiers = {name: tier for name, tier in scenario.tiers.items() if tier.user_frac > 0.0}
    # Messages a day are wanted: monthly_users x daily_active_frac x messages_per_active_user_per_day in all, and of
    # each user in proportion to its tier's relative use.
    frac = np.array([tier.user_frac for tier in tiers.values()])
    use = np.array([tier.relative_use for tier in tiers.values()])
    messages_per_day = traffic.daily_active_frac * traffic.messages_per_active_user_per_day
    rate_per_day = messages_per_day / table_mean(turns) * use / (frac @ use)
    classes, buckets, bucket_of = [], [buckets_of(None, 0)], []
    for name, tier in tiers.items():
        classes.append(class_of(name, name, tier, **tables, **_manners(workload), is_program=False))
        bucket_of.append(-1 if tier.rate_limit is None else sum(map(len, buckets)))
        buckets.append(buckets_of(tier.rate_limit, 1))
    starts, messages = start_rate(hourly, turns, tables["gap_s"])
    return Population(
        seed=scenario.seed,
        num_users=traffic.monthly_users,
        activity=Activity.fitted(frac.tolist(), rate_per_day.tolist(), traffic.daily_active_frac),
        classes=tuple(classes),
        buckets=np.concatenate(buckets),
        bucket_of=np.array(bucket_of, dtype=np.int32),
        turns=turns,
        starts=starts,
        messages=messages,
        start_s=-scenario.run_in_s,
        horizon_s=scenario.horizon_s,
    )


def _manners(workload: Workload) -> dict[str, Any]:
    return {"min_think_s": workload.min_think_s, "keep_history": workload.multi_turn}


def _clients(
    scenario: Scenario, kind: str, part: ProgramTraffic, workload: Workload, first_client: int, tokens_per_day: float
) -> Clients:
    tier = scenario.tiers[part.tier]
    tables = workload_tables(workload)
    turns = tables.pop("turns")
    traffic_class = class_of(f"{part.tier}/{kind}", part.tier, tier, **tables, **_manners(workload))
    starts, requests = start_rate(catalog.load_curve(workload.curve).hourly, turns, tables["gap_s"])
    return Clients(
        kind=kind,
        seed=scenario.seed,
        first_client=first_client,
        shares=client_shares(scenario.seed, first_client, part.num_clients, part.client_rate_sigma),
        arrivals_per_day=tokens_per_day / sum(conversation_tokens(traffic_class, turns)),
        cv=burstiness_levels(part.burstiness_cv, part.burstiness_cv_p90),
        traffic_class=traffic_class,
        buckets=buckets_of(tier.rate_limit, part.num_clients),
        turns=turns,
        starts=starts,
        requests=requests,
        start_s=-scenario.run_in_s,
        horizon_s=scenario.horizon_s,
    )
