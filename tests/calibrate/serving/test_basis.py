"""A profile at other coefficients is a sum of tables."""

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sim.calibrate.serving.basis import TIMES
from sim.calibrate.serving.play import compile_setup

MOE = {"layer_s": 1e-5, "moe_layer_s": 2e-5, "step_s": 4e-4, "sequence_s": 1e-5, "prefill_layer_s": 6e-6,
       "all_reduce_extra_s": 2e-6, "decode_attention_scale.bf16": 1.1, "prefill_attention_scale": 1.2}  # fmt: skip
RISING = {"gemm_scale.bf16": 1.05, "expert_scale.bf16": 1.05, "elementwise_passes": 10.0}
"""Those that move parts of which a larger batch may have less: the running maximum then makes a little difference."""
RUNNING_MAXIMUM = 1e-3


def tables(profile):
    return {name: np.asarray(getattr(profile.step_times, name)) for name in TIMES}


def compare(basis, engine, compile_, values, bent=(), bend=0.0):
    ours, exact = basis.at(values), compile_(engine.with_values(values))
    for name, table in tables(exact).items():
        assert tables(ours)[name] == pytest.approx(table, rel=bend if name in bent else 1e-9, abs=1e-15), name
    assert ours.frontend_s == exact.frontend_s
    assert ours.stage_times is ours.step_times


def other(values):
    return {path: value * (1.3 if i % 2 else 0.9) for i, (path, value) in enumerate(values.items())}


def test_a_dense_model_with_all_coefficients_changed_at_once(basis_for, library):
    setup, engine, basis = basis_for()
    compare(
        basis,
        engine,
        lambda one: compile_setup(setup, one, library=library),
        other(basis.values),
        ("sample_s",),
        RUNNING_MAXIMUM,
    )
    assert basis.at(basis.values).step_times.batch_s == pytest.approx(basis.profile.step_times.batch_s, rel=0)


@pytest.mark.parametrize("model", ["Qwen3-30B-A3B", "Mixtral-8x7B-Instruct-v0.1"])
def test_experts(basis_for, library, model):
    setup, engine, basis = basis_for(MOE, model=model, tp="2")
    compare(basis, engine, lambda one: compile_setup(setup, one, library=library), other(MOE))
    setup, engine, basis = basis_for(MOE | RISING, model=model, tp="2")
    compare(
        basis,
        engine,
        lambda one: compile_setup(setup, one, library=library),
        other(MOE | RISING),
        ("batch_s", "decode_batch_s", "sample_s"),
        RUNNING_MAXIMUM,
    )


def test_an_engine_that_walks_contexts(basis_for, library):
    values = {"decode_serial_s": 1e-8, "decode_attention_scale.bf16": 1.2, "layer_s": 1e-5}
    setup, engine, basis = basis_for(values, source="NVIDIA-DLI-nim.csv", engine="NIM/TensorRT-LLM", version="NIM 1.x")
    assert np.any(basis.parts["decode_serial_s"]["decode_slope_s"] > 0)
    compare(basis, engine, lambda one: compile_setup(setup, one, library=library), other(values))


def test_a_coefficient_of_zero_can_move(basis_for, library):
    setup, engine, basis = basis_for({"step_s": 0.0})
    compare(basis, engine, lambda one: compile_setup(setup, one, library=library), {"step_s": 3e-4})


def test_what_a_unit_adds_is_evaluated_like_step_times(basis_for):
    _, _, basis = basis_for()
    batch = (8, 8, 4000, 8)
    whole = basis.at(other(basis.values)).step_times.step_s(*batch)
    parts = sum(
        (other(basis.values)[path] - value) * basis.unit(path).step_s(*batch) for path, value in basis.values.items()
    )
    assert whole == pytest.approx(basis.profile.step_times.step_s(*batch) + parts, rel=1e-12)
    assert basis.unit("step_s").step_s(*batch) == pytest.approx(1.0)
    assert basis.unit("first_token_s").step_s(*batch) == 0.0


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=12,
    phases=(Phase.explicit, Phase.generate),
)
@given(layer_s=st.floats(0, 1e-3), step_s=st.floats(0, 1e-2), scale=st.floats(0.9, 10), weight=st.floats(0, 1))
def test_step_times_are_linear_in_the_coefficients(basis_for, library, layer_s, step_s, scale, weight):
    """Factors on kernels are above 0.9, as in the recipes: no kernel passes the ceilings."""
    setup, engine, basis = basis_for({"layer_s": 1e-5, "step_s": 4e-4, "prefill_attention_scale": 1.2})

    def compile_(one):
        return compile_setup(setup, one, library=library)

    there = {"layer_s": layer_s, "step_s": step_s, "prefill_attention_scale": scale}
    between = {path: (1 - weight) * basis.values[path] + weight * value for path, value in there.items()}
    here, far, middle = (tables(compile_(engine.with_values(one))) for one in (basis.values, there, between))
    for name, table in middle.items():
        assert table == pytest.approx((1 - weight) * here[name] + weight * far[name], rel=1e-9, abs=1e-15)
    compare(basis, engine, compile_, there)
