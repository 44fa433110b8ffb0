"""From a scenario to a World: what `build` fills in."""

import numpy as np
import pytest
from recorder import Recorder

import sim
from sim.errors import SpecError
from sim.fleet.build import build, rows_by_tier
from sim.metrics.records import REFUSED
from sim.plane import world as plane_world
from sim.spec import fleet as spec_fleet
from sim.traffic import draws
from sim.traffic.arrivals import TrafficClass
from sim.traffic.lengths import lookup

UNLIMITED = {f"tiers.{tier}.max_context_tokens": None for tier in ("free", "plus", "pro", "api")}


def small(**changes):
    """A quarter of an hour of meridian-1 without guard, with changes {dotted path: value}."""
    return sim.load("meridian-1", override=["small", "plain", "no-guard"], set={"horizon": "15 min"} | changes)


def test_a_tier_without_a_limit_takes_that_of_the_pool_that_answers():
    built = build(small(**UNLIMITED | {"fleet.pools.main.max_model_len": 9000, "fleet.pools.api.max_model_len": 8000}))
    limits = {kind.name: kind.max_context_tokens for kind in built.world.classes}
    assert limits == {"free": 9000, "plus": 9000, "pro": 9000, "api/api": 8000}
    # The scenario itself stays as it was given.
    assert built.scenario.tiers["free"].max_context_tokens is None


def test_classes_of_a_tier_share_a_row_of_gaps():
    def kind(tier):
        return TrafficClass(
            "class", tier, "default", 0, 0, "", *[np.ones(1025)] * 3, None, 0.0, False, 1 << 20, is_program=False
        )

    assert rows_by_tier([kind(tier) for tier in ("free", "pro", "free", "api", "pro", "free")]) == [0, 1, 0, 2, 1, 0]
    built = build(small())
    assert list(built.world.itl_groups) == [0, 1, 2, 3]
    assert [facts.itl_row for facts in built.groups.classes] == [0, 1, 2, 3]


def test_a_limit_of_the_tier_stands():
    limits = {kind.name: kind.max_context_tokens for kind in build(small()).world.classes}
    assert limits == {"free": 16384, "plus": 32768, "pro": 131072, "api/api": 131072}


def test_history_is_cut_at_the_models_limit_and_what_is_too_long_by_itself_is_refused():
    longest = 6000
    limits = {f"fleet.pools.{name}.max_model_len": longest for name in ("main", "api")}
    recorder = Recorder(small(**UNLIMITED | limits))
    key = draws.key(recorder.built.scenario.seed, draws.USER_TOKENS)
    for number, kind in enumerate(recorder.built.world.classes):
        rows = recorder.records[recorder.records["class_id"] == number]
        entity = (rows[name].astype(np.uint64) for name in ("user", "conversation", "turn"))
        factor = 1.0 if kind.length_factor is None else kind.length_factor[rows["language"]]
        drawn = factor * lookup(kind.user_tokens, draws.uniform(draws.bits(key, *entity)))
        new_tokens = np.maximum(1, np.floor(drawn + 0.5)).astype(int)
        alone = kind.prefix_tokens + new_tokens + rows["requested_tokens"]
        assert np.array_equal(rows["ending"] == REFUSED, alone > longest)
        # A prompt whose history was cut fills the context, with its answer, to the last token.
        total = rows["prompt_tokens"] + rows["requested_tokens"]
        assert (total <= np.maximum(longest, alone)).all()
        assert (np.count_nonzero((total == longest) & (rows["turn"] > 0)) > 0) == kind.keep_history


def test_conversations_that_outgrow_their_tier_are_cut_or_refused_as_it_says():
    limit = 6000
    tiers = ("free", "plus", "pro", "api")
    played = {}
    for truncation in ("auto", "disabled"):
        changes = {f"tiers.{tier}.max_context_tokens": limit for tier in tiers}
        recorder = Recorder(small(**changes, **{f"tiers.{tier}.truncation": truncation for tier in tiers}))
        total = recorder.records["prompt_tokens"] + recorder.records["requested_tokens"]
        played[truncation] = recorder.records["ending"], total, recorder.records["turn"]
        assert {kind.truncates for kind in recorder.built.world.classes} == {truncation == "auto"}
    # A single turn that is too long by itself passes, for the model takes it; history never adds to it.
    ending, total, turn = played["auto"]
    assert not np.any(ending == REFUSED)
    assert np.any((total == limit) & (turn > 0))
    # Refused are exactly those that exceed the limit; none is lost, so that their conversations went on.
    ending, total, turn = played["disabled"]
    assert np.array_equal(ending == REFUSED, total > limit)
    assert np.any((ending == REFUSED) & (turn > 0))
    assert len(ending) == pytest.approx(len(played["auto"][0]), rel=0.01)


def test_problems_of_all_pools_come_at_once():
    changes = {"fleet.pools.main.num_gpu_blocks_override": 1, "fleet.pools.api.max_model_len": 10_000_000}
    with pytest.raises(SpecError) as raised:
        build(small(**changes))
    assert {problem.path for problem in raised.value.problems} == set(changes)


def test_the_specification_refuses_longer_paths_than_the_plane_plays():
    assert spec_fleet.MAX_VISITS == plane_world.MAX_VISITS
