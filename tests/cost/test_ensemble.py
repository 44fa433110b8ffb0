"""Draws of an engine's coefficients are as far apart as its evidence says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import cost
from sim.cost.calibration import load_engine
from sim.cost.ensemble import ensemble, log_covariance
from sim.errors import SpecError
from sim.spec.engine import EngineSpec
from sim.spec.evidence import Evidence

NAMES = ("layer_s", "step_s", "gemm_scale.bf16")
COVARIANCE = ((0.04,), (-0.018, 0.09), (0.001, 0.002, 0.0025))


@pytest.fixture(scope="module")
def engine() -> EngineSpec:
    base = load_engine("vllm", "h100-sxm-80gb").with_values({"gemm_scale.bf16": 1.05, "layer_s": 1e-5, "step_s": 4e-4})
    evidence = Evidence(num_curves=9, num_points=90, names=NAMES, log_covariance=COVARIANCE)
    return base.model_copy(update={"evidence": evidence})


def logs(engines):
    return np.log([[one.value_of(name) for name in NAMES] for one in engines])


def test_the_draws_have_the_covariance_that_is_told(engine):
    drawn = logs(ensemble(engine, 20_000, seed=1))
    whole = np.array([[0.04, -0.018, 0.001], [-0.018, 0.09, 0.002], [0.001, 0.002, 0.0025]])
    assert log_covariance(engine.evidence) == pytest.approx(whole)
    # Standard errors of 20,000 draws: 1 % of a variance, sd / 141 of a mean; four of them.
    assert np.diag(np.cov(drawn.T)) == pytest.approx(np.diag(whole), rel=0.04)
    scale = np.sqrt(np.outer(np.diag(whole), np.diag(whole)))
    assert np.abs(np.cov(drawn.T) - whole).max() < 0.04 * scale.max()
    assert np.abs(np.corrcoef(drawn.T) - whole / scale).max() < 4 / np.sqrt(20_000)
    assert np.abs(drawn.mean(axis=0) - logs([engine])[0]).max() < 4 * 0.3 / np.sqrt(20_000)


def test_a_seed_gives_the_same_draws_and_a_larger_ensemble_begins_with_a_smaller_one(engine):
    three, five = ensemble(engine, 3, seed=7), ensemble(engine, 5, seed=7)
    assert three == five[:3]
    assert len(set(map(str, logs(five).tolist()))) == 5
    assert ensemble(engine, 3, seed=8) != three
    assert ensemble(engine, 0, seed=7) == ()


def test_what_was_not_fitted_stays(engine):
    (drawn,) = ensemble(engine, 1, seed=3)
    changed = {name for name in EngineSpec.model_fields if getattr(drawn, name) != getattr(engine, name)}
    assert changed == {"layer_s", "step_s", "gemm_scale"}
    assert {k: v for k, v in drawn.gemm_scale.items() if k != "bf16"} == {
        k: v for k, v in engine.gemm_scale.items() if k != "bf16"
    }


@pytest.mark.parametrize("evidence", [None, Evidence(num_curves=2, num_points=9)])
def test_without_a_covariance_all_draws_are_the_engine(engine, evidence):
    silent = engine.model_copy(update={"evidence": evidence})
    assert not silent.has_covariance
    assert engine.has_covariance
    assert ensemble(silent, 3, seed=1) == (silent, silent, silent)


@given(
    st.lists(st.floats(-1.5, 1.5), min_size=9, max_size=9),
    st.integers(0, 2**32),
    st.integers(1, 4),
)
def test_draws_are_valid_engines_however_the_covariance_was_rounded(engine, numbers, seed, digits):
    root = np.array(numbers).reshape(3, 3)
    whole = np.round(root @ root.T, digits)
    rows = tuple(tuple(whole[i, : i + 1].tolist()) for i in range(3))
    evidence = Evidence(num_curves=9, num_points=90, names=NAMES, log_covariance=rows)
    for one in ensemble(engine.model_copy(update={"evidence": evidence}), 3, seed):
        assert EngineSpec.from_dict(one.to_dict()) == one


def test_a_coefficient_of_zero_stays(engine):
    assert all(one.step_s == 0.0 for one in ensemble(engine.with_values({"step_s": 0.0}), 4, seed=1))


def test_profiles_of_the_draws_differ_as_their_coefficients_do(engine):
    def step_s(one):
        times = cost.compile(
            "llama-3.2-1b", "h100-sxm-80gb", engine=one, max_num_seqs=16, max_num_batched_tokens=64
        ).step_times
        return times.step_s(8, 8, 4000, 8)

    found = [step_s(one) for one in ensemble(engine, 20, seed=2)]
    assert 0.05 < np.std(np.log(found)) < 0.3
    assert min(found) < step_s(engine) < max(found)


def test_evidence_about_something_else_is_refused(engine):
    data = engine.to_dict()
    data["evidence"]["names"] = ["layer_s", "haste_s", "gemm_scale.fp2"]
    with pytest.raises(SpecError) as caught:
        EngineSpec.from_dict(data)
    assert [one.message for one in caught.value.problems] == [
        "haste_s is no coefficient of this engine",
        "gemm_scale.fp2 is no coefficient of this engine",
    ]
