"""An engine is found again from points that were played with known coefficients."""

import dataclasses

import numpy as np
import pytest

from sim.calibrate.serving.engine_fit import fit_engine, stands_of
from sim.calibrate.serving.play import Player
from sim.calibrate.serving.recipes import coefficients_of, load_recipes, start_of, takes
from sim.calibrate.serving.rows import Point
from sim.calibrate.serving.setup import make_setup
from sim.errors import SpecError
from sim.spec.recipe import Prior, Recipe

TRUTH = {"step_s": 7e-4, "gemm_scale.bf16": 1.15, "first_token_s": 1.3e-2}
BELIEFS = {
    "step_s": Prior(median=4e-4, spread=3.0, source="a guess"),
    "gemm_scale.bf16": Prior(median=1.02, spread=1.0, source="a guess"),
    "first_token_s": Prior(median=8e-3, spread=3.0, source="a guess"),
}
CURVES = {
    "small": {"model": "Llama-3.2-1B"},
    "deep": {"model": "Llama-3.1-8B-Instruct"},
    "long": {"model": "Llama-3.2-1B", "isl": "2000"},
    "wide": {"model": "Llama-3.1-8B-Instruct", "isl": "200"},
}
METRICS = ("ttft_mean", "tpot_mean", "output_throughput")
SOURCE = "somebody's"


def recipe_of(**changes) -> Recipe:
    fixed = ("prefill_attention_scale", "elementwise_passes", "prefill_layer_s", "sequence_s", "moe_layer_s", "layer_s")
    base = {
        "engine": "vllm-9.9", "gpu": "h100-sxm-80gb", "like": "vllm-h100-sxm-80gb", "kernels": "vllm",
        "version": "9.9.0", "date": "2026", "source": "played", "beds": ("vllm",), "priors": BELIEFS,
        "held": (*fixed, "all_reduce_extra_s", "gemm_compute_extra.bf16", "decode_attention_scale.bf16"),
        "folds": 4,
    }  # fmt: skip
    return Recipe(**(base | changes))


@pytest.fixture(scope="module")
def truth():
    """The engine that the measurements are played with."""
    recipe = recipe_of()
    return start_of(recipe, coefficients_of(recipe, load_recipes())).with_values(TRUTH)


@pytest.fixture(scope="module")
def measured(library, truth):
    """Points of four curves, played with the truth: measurements without error."""
    ordinary = {
        "source": SOURCE, "date": "2026", "engine": "vLLM", "version": "0.15.1", "precision": "bf16",
        "gpu": "H100-SXM-80GB", "tp": "1", "pp": "1", "isl": "512", "osl": "32", "notes": "", "tier": "A",
    }  # fmt: skip
    player, points = Player(library, truth), []
    for curve, what in CURVES.items():
        for users in (1, 6):
            point = Point(**{**ordinary, **what, "load": f"concurrency={users}", "group_id": curve})
            predicted = player.outcome(point).predicted
            points.append(dataclasses.replace(point, measured={name: predicted[name] for name in METRICS}))
    return points


@pytest.fixture(scope="module")
def fitted(library, measured):
    return fit_engine(recipe_of(), measured, library)


def test_known_coefficients_are_found_again(fitted):
    assert set(fitted.fit.values) == set(TRUTH)
    for path, value in TRUTH.items():
        assert fitted.fit.values[path] == pytest.approx(value, rel=0.03), path
        assert fitted.engine.value_of(path) == fitted.fit.values[path]
    assert np.abs(fitted.fit.log_predicted - fitted.seen.log_measured).max() < 0.01


def test_the_linear_form_stands_at_the_end_of_the_fit(fitted):
    values = fitted.fit.values
    assert np.concatenate([stand.predict(values) for stand in fitted.stands]) == pytest.approx(fitted.fit.log_predicted)
    assert fitted.log_covariance.shape == (3, 3)
    assert np.all(np.linalg.eigvalsh(fitted.log_covariance) >= -1e-12)


def test_every_curve_is_held_out_and_played_with_what_the_others_gave(fitted):
    assert sorted(curve for curves, _, _ in fitted.folds for curve in curves) == sorted(CURVES)
    at = 0
    for stand in fitted.stands:
        (values,) = [values for curves, values, _ in fitted.folds if stand.curve in curves]
        size = len(stand.measured)
        assert fitted.held_out[at : at + size] == pytest.approx(stand.predict(values), abs=1e-12)
        at += size
    assert np.abs(fitted.held_out - fitted.seen.log_measured).max() < 0.03


def test_a_curve_says_nothing_about_its_own_prediction(fitted, measured, library):
    """All is 15 % slower on one curve: what the others' folds give moves, what its own gives does not."""
    wrong = [
        dataclasses.replace(point, measured={name: 1.15 * value for name, value in point.measured.items()})
        if point.group_id == "deep"
        else point
        for point in measured
    ]
    again = fit_engine(recipe_of(), wrong, library)

    def coefficients(result, curve):
        return next(values for curves, values, _ in result.folds if curve in curves)

    moved = [abs(np.log(coefficients(again, "small")[path] / coefficients(fitted, "small")[path])) for path in TRUTH]
    assert max(moved) > 0.05
    own = np.array([stand.curve == "deep" for stand in again.stands for _ in stand.measured])
    assert again.held_out[own] == pytest.approx(fitted.held_out[own], abs=0.01)


def test_settings_are_chosen_inside_the_folds(library, measured):
    """Of two budgets of tokens the one that was played with is chosen, by every fold from the other curves."""
    recipe = recipe_of(candidates=({"max_num_batched_tokens": 1024}, {"max_num_batched_tokens": 8192}))
    found = fit_engine(recipe, measured, library)
    assert found.settings == {"max_num_batched_tokens": 8192}
    assert [settings for _, _, settings in found.folds] == [{"max_num_batched_tokens": 8192}] * 4


def test_a_fold_may_choose_otherwise_than_the_whole(library, measured, truth):
    """One curve ran with another budget and outweighs the others: without it, theirs is chosen."""
    player = Player(library, truth)
    points = []
    for point in measured:
        if point.group_id == "long":
            predicted = player.outcome(point, {"max_num_batched_tokens": 1024}).predicted
            points.append(dataclasses.replace(point, measured={name: predicted[name] for name in METRICS}))
        elif point.group_id == "small":
            points.append(point)
    recipe = recipe_of(candidates=({"max_num_batched_tokens": 1024}, {"max_num_batched_tokens": 8192}))
    found = fit_engine(recipe, points, library)
    assert found.settings == {"max_num_batched_tokens": 1024}
    chosen = {curves: settings["max_num_batched_tokens"] for curves, _, settings in found.folds}
    assert chosen["small",] == 1024


def test_rows_that_are_not_trusted_weigh_nothing(library, point):
    """NIM's first tokens at 100 users and more are scored apart; a recipe may trust them all the same."""
    where = point(source="NVIDIA-DLI-nim.csv", engine="NIM/TensorRT-LLM", version="NIM 1.x", load="concurrency=100")
    measured = dataclasses.replace(where, measured={"ttft_mean": 300.0, "itl_mean": 20.0, "itl_p99": 40.0})
    recipe = recipe_of(beds=("nim",), kernels="trtllm", like="nim-h100-sxm-80gb")
    (stand,), _ = stands_of(recipe, [measured], {}, library)
    assert stand.weights == {"ttft_mean": 0.0, "itl_mean": 1.0}  # tails are not fitted at all
    (stand,), _ = stands_of(recipe.model_copy(update={"trust_all": True}), [measured], {}, library)
    assert stand.weights == {"ttft_mean": 0.5, "itl_mean": 1.0}


def test_first_tokens_of_a_queue_weigh_nothing(library, point):
    measured = {"ttft_mean": 300.0, "tpot_mean": 20.0}
    for load in ("inf rate (all 40 prompts at once)", "max_num_seqs=8 (saturated)"):
        (stand,), _ = stands_of(recipe_of(), [dataclasses.replace(point(load=load), measured=measured)], {}, library)
        assert stand.weights == {"ttft_mean": 0.0, "tpot_mean": 1.0}


@pytest.mark.parametrize(
    "what",
    [
        {"tier": "C"},
        {"gpu": "A100-SXM-80GB"},
        {"engine": "SGLang", "version": "0.5.5"},
        {"load": "rate=8 req/s", "notes": "num_gpus=2"},  # two replicas: no order of steps
        {"pp": "2", "version": "0.10.0"},
    ],
)
def test_points_that_do_not_belong(library, point, what):
    where = dataclasses.replace(point(**what), measured={"tpot_mean": 20.0})
    with pytest.raises(SpecError, match=r"no measurement belongs to vllm-9\.9-h100-sxm-80gb"):
        stands_of(recipe_of(), [where], {}, library)


def test_which_points_a_recipe_takes(library, point):
    where = point(version="9.9.1")
    setup = make_setup(where, library=library)
    assert takes(recipe_of(), where, setup)
    for changes in ({"versions": "^8"}, {"models": "qwen"}, {"tiers": "B"}, {"beds": ("blis",)}):
        assert not takes(recipe_of(**changes), where, setup)


def test_only_coefficients_that_move_a_point_are_fitted(library, point):
    recipe = recipe_of(held=())
    moe = dataclasses.replace(point(model="Qwen3-30B-A3B", tp="2"), measured={"tpot_mean": 20.0})
    dense = dataclasses.replace(point(), measured={"tpot_mean": 20.0})
    _, among_dense = stands_of(recipe, [dense], {}, library)
    _, among_moe = stands_of(recipe, [moe], {}, library)
    dense_paths, moe_paths = ({one.path for one in found} for found in (among_dense, among_moe))
    assert moe_paths - dense_paths == {"expert_scale.bf16", "moe_layer_s", "all_reduce_extra_s"}
    assert dense_paths - moe_paths == {"layer_s"}
    assert "first_token_s" not in dense_paths  # no first token was measured
