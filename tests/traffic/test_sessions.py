"""Traffic of kind sessions: conversations of one workload, started as the workload says."""

import numpy as np
import pytest

from sim import catalog
from sim.errors import SpecError
from sim.spec.workload import Workload
from sim.traffic import build
from sim.traffic.lengths import table_mean
from sim.traffic.unfold import unfold

WHY = "assumed: numbers of a test"
WORKLOAD = {
    "name": "made-up",
    "description": "A workload of a test.",
    "input_sequence_length_per_turn": {"distribution_type": "exponential", "mean": 200},
    "input_sequence_length_first_turn": {"distribution_type": "exponential", "mean": 3000},
    "input_sequence_length_single_turn": {"distribution_type": "exponential", "mean": 800},
    "system_prompt": 512,
    "output_sequence_length": {"distribution_type": "exponential", "mean": 300},
    "number_of_turns": {"distribution_type": "percentiles", "percentiles": {0: 1, 60: 1.5, 90: 2.5, 100: 5}},
    "time_between_turns": {"distribution_type": "exponential", "mean": 60},
    "min_think_s": 1,
    "multi_turn": True,
    "curve": "flat",
}
WORKLOAD |= {f"{field}_justification": WHY for field in WORKLOAD if field not in ("name", "description")}
ARRIVALS = {
    "rate_per_s": 3,
    "rate_per_s_justification": WHY,
    "intensity": {"interval_s": 600, "relative": [1, 3, 2]},
    "intensity_justification": WHY,
    "bursts": [{"share_frac": 0.5, "mean_size": 10, "spread_s": 5}],
    "bursts_justification": WHY,
}


@pytest.fixture
def source(scenario, tmp_path):
    """A function that builds the source of a workload file, with changes to the traffic and to `arrivals`."""

    def make(*, arrivals=ARRIVALS, horizon="30 min", run_in="0 s", seed=1, **traffic):
        given = WORKLOAD if arrivals is None else WORKLOAD | {"arrivals": arrivals}
        path = tmp_path / "workload.yaml"
        path.write_text(Workload.from_dict(given).to_yaml())
        traffic = {"kind": "sessions", "workload": str(path), "tier": "free"} | traffic
        return build(scenario(traffic=traffic, horizon=horizon, run_in=run_in, seed=seed))

    return make


def rows(made):
    return np.concatenate([chunk.rows for chunk in made.chunks()])


def test_a_source_agrees_with_its_description(source):
    made = [source(seed=seed) for seed in range(40)]
    said, first = made[0].describe(), [rows(each) for each in made]
    assert said["conversations"] == pytest.approx(3 * 1800)
    assert said["tier_share"] == {"free": 1.0}
    num = np.array([len(each) for each in first])
    assert abs(num.mean() - said["conversations"]) < 4 * num.std() / np.sqrt(len(num))
    sums = np.zeros((len(made), 4))
    for i, each in enumerate(made):
        all_turns = np.concatenate([block.rows for block in unfold(each, i)])
        columns = ("prompt_tokens", "output_tokens", "user_tokens")
        sums[i] = [len(all_turns), *(all_turns[column].sum() for column in columns)]
    expected = [said[name] for name in ("requests", "prompt_tokens", "output_tokens")]
    expected.append(said["mean_user_tokens"] * said["requests"])
    # Divided by the number of conversations, whose bursts are not what is asked here.
    each = sums / num[:, np.newaxis]
    error = each.std(axis=0) / np.sqrt(len(made))
    # Four standard errors: a false alarm in 16,000 for each of four numbers.
    assert np.all(np.abs(each.mean(axis=0) - np.array(expected) / said["conversations"]) < 4 * error)


def test_first_turns_have_the_lengths_of_conversations_that_go_on_or_do_not(source):
    made = source(horizon="20 h", rate_scale=5.0)
    found = rows(made)
    assert np.array_equal(found["user"], np.arange(len(found)))
    assert np.all(np.diff(found["t_s"]) >= 0)
    assert made.classes[0].prefix_tokens == 1000 + 512
    single = found["num_turns"] == 1
    assert abs(single.mean() - 0.6) < 4 * np.sqrt(0.24 / len(found))
    kinds = (single, made.classes[0].single_user_tokens), (~single, made.classes[0].first_user_tokens)
    for some, table in kinds:
        new = found["user_tokens"][some]
        assert abs(new.mean() - table_mean(table)) < 4 * new.std() / np.sqrt(len(new))


def test_the_intensity_begins_again_and_its_first_value_holds_before(source):
    found = [rows(source(horizon="1 h", run_in="10 min", seed=seed))["t_s"] for seed in range(60)]
    each = np.array([np.histogram(times, np.arange(-600, 3601, 600))[0] for times in found])
    expected = 3 * 600 * np.array([1, 1, 3, 2, 1, 3, 2]) / 2
    assert np.all(np.abs(each.mean(axis=0) - expected) < 4 * each.std(axis=0) / np.sqrt(len(found)))


def test_rate_scale_brings_more_of_the_same_bursts(source):
    one, many = (source(rate_scale=scale).starts.kinds for scale in (1.0, 4.0))
    assert [kind.rate_per_s for kind in many] == pytest.approx([4 * kind.rate_per_s for kind in one])
    assert [(k.mean_size, k.spread_s) for k in many] == [(k.mean_size, k.spread_s) for k in one]
    replaced = source(rate_per_s=7.0).starts
    assert sum(kind.rate_per_s for kind in replaced.kinds) == pytest.approx(7.0)


def test_without_arrivals_conversations_start_at_random(source):
    assert [kind.mean_size for kind in source(arrivals=None, rate_per_s=2.0).starts.kinds] == [1.0]
    with pytest.raises(SpecError, match=r"traffic\.rate_per_s.*missing; workload made-up has no `arrivals`"):
        source(arrivals=None)
    with pytest.raises(SpecError, match="requests expected"):
        source(rate_scale=1e9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bursts": [{"share_frac": 0.6, "mean_size": 2, "spread_s": 1}] * 2}, "must sum to at most 1, got 1.2"),
        ({"intensity_justification": None}, "missing; say where the intensity"),
        ({"intensity": {"interval_s": 60, "relative": [0, 0]}}, "must not be 0 in every interval"),
        ({"bursts": [{"share_frac": 0.5, "mean_size": 0.5, "spread_s": 1}]}, "mean_size"),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(SpecError, match=message):
        Workload.from_dict(WORKLOAD | {"arrivals": ARRIVALS | change})


def test_an_unknown_workload_is_refused_with_its_place(scenario):
    chosen = scenario(traffic={"kind": "sessions", "workload": "no-such", "tier": "free"})
    assert [path for path, _ in catalog._check(chosen) if path == "traffic.workload"] == ["traffic.workload"]
