"""From a scenario's population to its source of arrivals: people, and programs whose volume is tied to theirs.

The order of classes and buckets is fixed: one class for each tier with users, in the order of the scenario's tiers
(where there are several workloads, one for each, in their order); then the API's; then the agents'; then that of batch
jobs. Buckets in the same order, where a tier has a rate limit: one for each tier with users, then one for each client
of the API, one for each client of the agents, and one for all jobs.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim import catalog
from sim.errors import Problem, SpecError
from sim.spec import Distribution, PopulationTraffic, ProgramTraffic, Scenario, Tier
from sim.spec.population import BatchTraffic, Region
from sim.spec.workload import Workload
from sim.traffic.activity import Activity
from sim.traffic.arrivals import FIRST_PROGRAM, ONE_LANGUAGE, Source, TrafficClass
from sim.traffic.batch import Batch, trough, window
from sim.traffic.calendar import WEEKDAYS, Calendar
from sim.traffic.classes import buckets_of, class_of, collected, workload_tables
from sim.traffic.clients import Clients, burstiness_levels, client_shares
from sim.traffic.crowd import Crowd
from sim.traffic.daily import DailyRate, Delay, start_rate
from sim.traffic.expect import conversation_tokens
from sim.traffic.languages import class_factors
from sim.traffic.lengths import Table, quantile_table, stretched, table_mean
from sim.traffic.order import merge
from sim.traffic.part_day import MAX_DAY
from sim.traffic.people import People
from sim.traffic.population import Population, Use
from sim.traffic.size import hold_size
from sim.traffic.timeline import LocalTime
from sim.units import DAY_S

FIRST_OF = {"api": FIRST_PROGRAM, "agents": 2 * FIRST_PROGRAM, "batch": 3 * FIRST_PROGRAM}


def populate(scenario: Scenario, traffic: PopulationTraffic) -> Source:
    """The arrivals of a population and its programs; raises as `assemble.build` does."""
    days = (scenario.run_in_s + scenario.horizon_s) / DAY_S
    messages_per_day = traffic.daily_active_frac * traffic.messages_per_active_user_per_day
    requests = traffic.monthly_users * messages_per_day * days * _highest_factor(traffic, scenario.horizon_s)
    requests *= 1.0 + sum(event.peak_factor - 1.0 for event in traffic.events)
    hold_size(requests, "traffic.monthly_users or horizon")
    if (last := scenario.horizon_s / DAY_S) > MAX_DAY:
        raise SpecError(
            Problem(f"a population's days have numbers up to {MAX_DAY}, got {last:.3g} days", path="horizon")
        )
    programs = {name: part for name, part in traffic.programs.items() if part.tokens_per_chat_token > 0.0}
    problems: list[Problem] = []
    workloads: dict[str, Workload] = {}
    for name in traffic.workloads:
        with collected(problems, "traffic.workload"):
            workloads[name] = catalog.load_workload(name)
    for kind, part in programs.items():
        with collected(problems, f"traffic.{kind}.workload"):
            workloads[kind] = catalog.load_workload(part.workload)
    with collected(problems, "traffic.curve"):
        catalog.load_curve(traffic.curve)
    for name, region in traffic.regions.items():
        with collected(problems, f"traffic.regions.{name}.curve"):
            catalog.load_curve(region.curve or traffic.curve)
    SpecError.raise_if(problems)
    people = _people(scenario, traffic, {name: workloads[name] for name in traffic.workloads})
    sources: list[Source] = [people]
    for kind, part in programs.items():
        tokens_per_day = part.tokens_per_chat_token * people.tokens_per_day
        if isinstance(part, BatchTraffic):
            sources.append(batch := _batch(scenario, part, workloads[kind], tokens_per_day, people.messages))
            requests += batch.jobs_per_day * table_mean(batch.size) * table_mean(batch.turns) * days
        else:
            clients = _clients(scenario, kind, part, workloads[kind], tokens_per_day)
            sources.append(clients)
            requests += clients.arrivals_per_day * table_mean(clients.turns) * days
        hold_size(requests, f"traffic.{kind}.tokens_per_chat_token or horizon")
    names = [kind.name for source in sources for kind in source.classes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        message = f"workloads and programs must differ in name within a tier, got twice: {', '.join(twice)}"
        raise SpecError(Problem(message, path="traffic.workload"))
    return merge(sources)


def _highest_factor(traffic: PopulationTraffic, horizon_s: float) -> float:
    """At most so many times the conversations of a usual day are held on any, crowds left out."""
    weekend = max([traffic.weekend_frac, *(region.weekend_frac or 0.0 for region in traffic.regions.values())])
    months = max(traffic.growth_per_month, 0.0) and math.log1p(traffic.growth_per_month) * horizon_s / (30.4375 * DAY_S)
    return max(weekend, 1.0) * traffic.season_frac * math.exp(min(months, 700.0))


def _people(scenario: Scenario, traffic: PopulationTraffic, workloads: Mapping[str, Workload]) -> Population:
    tables = {name: workload_tables(workload) for name, workload in workloads.items()}
    turns = _turns({name: each.pop("turns") for name, each in tables.items()}, traffic)
    uses = tuple(
        Use(workloads[name].name, share, turns[name], Delay.of(turns[name], tables[name]["gap_s"]))
        for name, share in traffic.workloads.items()
    )
    tiers = {name: tier for name, tier in scenario.tiers.items() if tier.user_frac > 0.0}
    # Messages a day are wanted: monthly_users x daily_active_frac x messages_per_active_user_per_day in all, and of
    # each user in proportion to its tier's relative use.
    frac = np.array([tier.user_frac for tier in tiers.values()])
    use = np.array([tier.relative_use for tier in tiers.values()])
    messages_per_day = traffic.daily_active_frac * traffic.messages_per_active_user_per_day
    mean_turns = sum(each.share * table_mean(each.turns) for each in uses)
    rate_per_day = messages_per_day / mean_turns * use / (frac @ use)
    languages, language_frac = _languages(traffic)
    classes, buckets, bucket_of = [], [buckets_of(None, 0)], []
    problems: list[Problem] = []
    for name, tier in tiers.items():
        for key, workload in workloads.items():
            factor = None
            if languages != ONE_LANGUAGE:
                for place, spoken in _places(traffic):
                    with collected(problems, place):
                        class_factors(scenario, tier, workload, spoken)
                if not problems:
                    factor = class_factors(scenario, tier, workload, languages)
            own = name if len(workloads) == 1 else f"{name}/{workload.name}"
            manners = _manners(workload)
            classes.append(class_of(own, name, tier, **tables[key], **manners, is_program=False, length_factor=factor))
        bucket_of.append(-1 if tier.rate_limit is None else sum(map(len, buckets)))
        buckets.append(buckets_of(tier.rate_limit, 1))
    SpecError.raise_if(dict.fromkeys(problems))
    regions = _regions(traffic)
    activity = Activity.fitted(frac.tolist(), rate_per_day.tolist(), traffic.daily_active_frac)
    highest, crowds = (
        _highest_factor(traffic, scenario.horizon_s),
        [event.peak_factor - 1.0 for event in traffic.events],
    )
    activity.hold(highest * max([1.0, *crowds]))
    return Population(
        people=People(scenario.seed, np.array([each.user_frac for each in regions.values()]), language_frac),
        num_users=traffic.monthly_users,
        activity=activity,
        uses=uses,
        classes=tuple(classes),
        languages=languages,
        buckets=np.concatenate(buckets),
        bucket_of=np.array(bucket_of, dtype=np.int32),
        regions=tuple(_local_time(name, region, traffic, uses) for name, region in regions.items()),
        crowds=tuple(Crowd(e.at_s, e.peak_factor, e.rise_s, e.decay_s) for e in traffic.events),
        start_s=-scenario.run_in_s,
        horizon_s=scenario.horizon_s,
    )


def _turns(tables: dict[str, Table], traffic: PopulationTraffic) -> dict[str, Table]:
    """Turns of each workload, stretched so that the mean over all is the population's.

    What they have beyond one turn is stretched by the same factor, so a workload of single turns remains one.
    """
    shares = traffic.workloads
    beyond = sum(share * (table_mean(tables[name]) - 1.0) for name, share in shares.items())
    wanted = traffic.turns_per_conversation - 1.0
    if beyond == 0.0 and wanted > 0.0:
        message = f"{', '.join(tables)} has one turn a conversation; set turns_per_conversation to 1"
        raise SpecError(Problem(message, path="traffic.turns_per_conversation"))
    if len(tables) == 1 or beyond == 0.0:
        return {name: stretched(each, 1.0 + wanted, whole=True) for name, each in tables.items()}
    factor = wanted / beyond
    return {name: stretched(each, 1.0 + factor * (table_mean(each) - 1.0), whole=True) for name, each in tables.items()}


def _regions(traffic: PopulationTraffic) -> dict[str, Region]:
    """The regions; where none are given, one of all users, in UTC."""
    return traffic.regions or {"all": Region(user_frac=1.0, utc_offset_h=0.0)}


def _languages(traffic: PopulationTraffic) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """The languages of all regions, and the share of each region's users who speak each."""
    regions = _regions(traffic)
    shares = [region.languages or traffic.languages or {ONE_LANGUAGE[0]: 1.0} for region in regions.values()]
    names = tuple(dict.fromkeys(name for each in shares for name in each))
    return names, np.array([[each.get(name, 0.0) for name in names] for each in shares])


def _places(traffic: PopulationTraffic) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Where languages are named, and which."""
    if traffic.languages is not None:
        yield "traffic.languages", tuple(traffic.languages)
    for name, region in (traffic.regions or {}).items():
        if region.languages is not None:
            yield f"traffic.regions.{name}.languages", tuple(region.languages)


def _local_time(name: str, region: Region, traffic: PopulationTraffic, uses: tuple[Use, ...]) -> LocalTime:
    hourly = np.array(catalog.load_curve(region.curve or traffic.curve).hourly) ** traffic.curve_exponent
    delay = Delay.mixture([use.delay for use in uses], [use.share for use in uses])
    starts, messages = start_rate(hourly.tolist(), delay)
    weekend = traffic.weekend_frac if region.weekend_frac is None else region.weekend_frac
    weekday = WEEKDAYS.index(traffic.start_weekday)
    calendar = Calendar(weekday, weekend, traffic.season_frac, traffic.growth_per_month)
    return LocalTime(name, region.utc_offset_h, starts, messages, calendar)


def _manners(workload: Workload) -> dict[str, Any]:
    return {"min_think_s": workload.min_think_s, "keep_history": workload.multi_turn}


def _program_class(kind: str, tier_name: str, tier: Tier, workload: Workload) -> tuple[TrafficClass, Table, Delay]:
    """The class of a kind of program, and the turns and delays of its conversations."""
    tables = workload_tables(workload)
    turns = tables.pop("turns")
    traffic_class = class_of(f"{tier_name}/{kind}", tier_name, tier, **tables, **_manners(workload))
    return traffic_class, turns, Delay.of(turns, tables["gap_s"])


def _clients(scenario: Scenario, kind: str, part: ProgramTraffic, workload: Workload, tokens_per_day: float) -> Clients:
    tier, first_client = scenario.tiers[part.tier], FIRST_OF[kind]
    traffic_class, turns, delay = _program_class(kind, part.tier, tier, workload)
    starts, requests = start_rate(catalog.load_curve(workload.curve).hourly, delay)
    return Clients(
        kind=kind,
        seed=scenario.seed,
        first_client=first_client,
        shares=client_shares(scenario.seed, first_client, part.num_clients, part.client_rate_sigma),
        arrivals_per_day=tokens_per_day / sum(conversation_tokens(traffic_class, turns)),
        cv=burstiness_levels(part.burstiness_cv, part.burstiness_cv_p90),
        weibull_frac=part.weibull_frac,
        traffic_class=traffic_class,
        buckets=buckets_of(tier.rate_limit, part.num_clients),
        turns=turns,
        starts=starts,
        requests=requests,
        start_s=-scenario.run_in_s,
        horizon_s=scenario.horizon_s,
    )


def _batch(
    scenario: Scenario, part: BatchTraffic, workload: Workload, tokens_per_day: float, people: DailyRate
) -> Batch:
    tier = scenario.tiers[part.tier]
    traffic_class, turns, _ = _program_class("batch", part.tier, tier, workload)
    requests_per_job = tokens_per_day / sum(conversation_tokens(traffic_class, turns)) / part.jobs_per_day
    if requests_per_job < 1.0:
        message = f"{requests_per_job:.3g} requests a job, must be >= 1; lower it or raise tokens_per_chat_token"
        raise SpecError(Problem(message, path="traffic.batch.jobs_per_day"))
    spread = requests_per_job * math.sqrt(math.expm1(part.job_size_sigma**2))
    size = Distribution(distribution_type="lognormal", mean=requests_per_job, standard_deviation=spread)
    has_window = part.release_from_s is not None and part.release_until_s is not None
    hourly = np.array(catalog.load_curve(workload.curve).hourly)
    problems: list[Problem] = []
    with collected(problems, "traffic.batch.jobs_per_day"):
        sizes = quantile_table(size, whole=True)
    SpecError.raise_if(problems)
    return Batch(
        seed=scenario.seed,
        first_job=FIRST_OF["batch"],
        jobs_per_day=part.jobs_per_day,
        size=sizes,
        handed_in=DailyRate(np.repeat(hourly / hourly.mean(), 60)),
        released=window(part.release_from_s or 0.0, part.release_until_s or 0.0) if has_window else trough(people),
        traffic_class=traffic_class,
        buckets=buckets_of(tier.rate_limit, 1),
        turns=turns,
        start_s=-scenario.run_in_s,
        horizon_s=scenario.horizon_s,
    )
