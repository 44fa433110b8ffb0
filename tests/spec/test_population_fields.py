"""Fields of a population: what goes together, and the ranges of a scenario's numbers."""

import copy

import pytest

import sim
from sim.errors import SpecError
from sim.spec import Scenario, read_scenario

PEOPLE = """\
name: people
model: m
hardware: h
traffic:
  kind: population
  monthly_users: 10M
  regions:
    west: {user_frac: 60 %, utc_offset_h: -5, languages: {English: 0.9, Spanish: 0.1}}
    east: {user_frac: 0.4, utc_offset_h: 5.5, curve: flat, weekend_frac: 0.6, languages: {Hindi: 1}}
  start_weekday: friday
  growth_per_month: 5 %
  events: [{kind: launch, at: 2 h, peak_factor: 3}]
  workload: {interactive-chat: 0.9, coding-agent: 0.1}
  batch: {workload: api-service, tier: default, release_from: 22 h, release_until: 6 h}
tiers:
  default: {user_frac: 1}
fleet:
  pools:
    main: {replicas: 4}
  paths:
    default: [{pool: main}]
ranges:
  traffic.daily_active_frac: {low: 0.1, high: 0.4, source: assumed}
  traffic.regions.west.utc_offset_h: {low: -8, high: -5, source: assumed}
  fleet.paths.default.0.block_frac: {low: 0, high: 0.1, source: assumed}
"""


def test_a_population_is_read_and_written():
    scenario = read_scenario(PEOPLE)
    traffic = scenario.traffic
    assert traffic.regions["east"].utc_offset_h == 5.5
    assert traffic.events[0].at_s == 7200
    assert traffic.events[0].rise_s == 3600
    assert traffic.workloads == {"interactive-chat": 0.9, "coding-agent": 0.1}
    assert traffic.batch.release_from_s == 22 * 3600
    assert list(traffic.programs) == ["batch"]
    assert Scenario.from_yaml(scenario.to_yaml()) == scenario
    assert scenario.ranges["traffic.daily_active_frac"].high == 0.4
    assert scenario.replace("traffic.workload", "interactive-chat").traffic.workloads == {"interactive-chat": 1.0}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("user_frac: 60 %", "user_frac: 0.5", "traffic.regions: user_frac of the regions must sum to 1, got 0.9"),
        ("English: 0.9", "English: 0.8", "traffic.regions.west.languages: shares must sum to 1, got 0.9"),
        (", languages: {Hindi: 1}", "", "traffic.regions.east.languages: missing; other regions have languages"),
        ("chat: 0.9", "chat: 0.8", "traffic.workload: shares must sum to 1, got 0.9"),
        ("-5,", "-5.001,", "traffic.regions.west.utc_offset_h: must be whole minutes, got -5.001 h"),
        ("5.5,", "15,", "traffic.regions.east.utc_offset_h: must be <= 14, got 15"),
        ("friday", "fryday", 'traffic.start_weekday: "fryday" is not allowed. Did you mean friday?'),
        ("peak_factor: 3", "peak_factor: 1", "traffic.events.0.peak_factor: must be > 1, got 1"),
        (", release_until: 6 h", "", "traffic.batch.release_until: missing; a window has two ends"),
        ("release_until: 6 h", "release_until: 22 h", "traffic.batch.release_until: must differ from release_from"),
        ("tier: default, ", "tier: bulk, ", "traffic.batch.tier: no tier of that name: bulk"),
        (
            "low: 0.1,",
            "low: 0.3,",
            "ranges.traffic.daily_active_frac: must hold the scenario's own 0.25, got 0.3 to 0.4",
        ),
        ("high: -5,", "high: -6,", "ranges.traffic.regions.west.utc_offset_h: must hold the scenario's own -5"),
        (
            "daily_active_frac: {",
            "daily_activ_frac: {",
            "no such field: daily_activ_frac. Did you mean daily_active_frac?",
        ),
        ("default.0.block", "default.1.block", "ranges.fleet.paths.default.1.block_frac: no such field: 1"),
        ("traffic.daily_active_frac: {", "traffic.curve: {", "must name a number, found 'azure-conv-2024'"),
        ("traffic.daily_active_frac: {", "traffic.api: {", "must name a number, found nothing"),
    ],
)
def test_what_does_not_go_together_is_told_with_its_line(old, new, said):
    text = PEOPLE.replace(old, new)
    assert text != PEOPLE
    with pytest.raises(SpecError) as caught:
        read_scenario(text, "people.yaml")
    (problem,) = caught.value.problems
    assert said in f"{problem.path}: {problem.message}"
    changed = [n for n, (a, b) in enumerate(zip(PEOPLE.split("\n"), text.split("\n"), strict=True), 1) if a != b]
    # A sum is told where the shares begin, a range that is off where the range stands.
    assert problem.line in {*changed, *(line - n for line in changed for n in (1, 2))}


def test_a_changed_value_loses_its_range():
    scenario = read_scenario(PEOPLE, changes=["traffic.daily_active_frac=0.5"])
    assert sorted(scenario.ranges) == ["fleet.paths.default.0.block_frac", "traffic.regions.west.utc_offset_h"]
    whole = read_scenario(PEOPLE)
    assert "traffic.daily_active_frac" not in whole.replace("traffic.daily_active_frac", 0.6).ranges
    # What stands below a changed value was the old one's.
    path = [{"pool": "main"}]
    assert "fleet.paths.default.0.block_frac" not in whole.replace("fleet.paths.default", path).ranges
    assert len(whole.replace("seed", 2).ranges) == 3
    with pytest.raises(SpecError, match="must hold the scenario's own"):
        Scenario.from_dict(
            copy.deepcopy(whole.to_dict())
            | {"run_in": 1, "ranges": {"seed": {"low": 2, "high": 3, "source": "assumed"}}}
        )


def test_the_main_job_has_the_ranges_of_its_sources():
    scenario = sim.load("meridian-1")
    spread = {name: (each.low, each.high) for name, each in scenario.ranges.items()}
    assert spread["traffic.daily_active_frac"] == (0.1, 0.4)
    assert spread["traffic.messages_per_active_user_per_day"] == (5, 10)
    assert spread["traffic.turns_per_conversation"] == (1.6, 4.6)
    assert spread["traffic.weekend_frac"] == (0.55, 1.0)
    small = sim.load("meridian-1", override=["small", "api-4x"], set=["traffic.turns_per_conversation=6"])
    assert "traffic.turns_per_conversation" not in small.ranges
    assert "traffic.api.tokens_per_chat_token" not in small.ranges
    assert scenario.digest == scenario.model_copy(update={"ranges": {}}).digest
    for name in scenario.overrides:
        sim.load("meridian-1", override=[name])
