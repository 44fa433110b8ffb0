"""The recipes that ship, and what a user's own say when they are wrong."""

import pytest

from sim import catalog
from sim.calibrate.serving.recipes import (
    PRECISIONS,
    coefficients_of,
    load_recipes,
    split_entry,
    start_of,
    weight_of,
)
from sim.calibrate.serving.run import chosen_recipes, own_recipe
from sim.cost.calibration import load_engine, load_kernels
from sim.errors import CatalogError, SpecError
from sim.spec.bed import Client
from sim.spec.engine import EngineSpec
from sim.spec.fleet import Pool
from sim.spec.recipe import read_recipes

RECIPES = load_recipes()
ENGINES = RECIPES.engines


@pytest.mark.parametrize("recipe", ENGINES, ids=lambda recipe: recipe.name)
def test_a_recipe_names_what_there_is(recipe, library):
    assert recipe.gpu in catalog.list_entries("hardware")
    assert set(recipe.beds) <= {bed.name for bed in library.beds.beds}
    assert load_engine(*split_entry(recipe.like))
    assert load_kernels(recipe.gpu, recipe.kernels)
    for setting in (name for one in recipe.candidates for name in one):
        assert setting in {**Pool.model_fields, **Client.model_fields}
    paths = {one.path for one in coefficients_of(recipe, RECIPES)}
    assert set(recipe.held) & paths == set()


@pytest.mark.parametrize("recipe", ENGINES, ids=lambda recipe: recipe.name)
def test_a_fit_begins_at_a_valid_engine(recipe):
    coefficients = coefficients_of(recipe, RECIPES)
    engine = start_of(recipe, coefficients)
    assert EngineSpec.from_dict(engine.to_dict()) == engine
    assert (engine.name, engine.like, engine.evidence) == (recipe.name, None, None)
    for one in coefficients:
        assert engine.value_of(one.path) == one.prior
        assert one.least <= one.value(-100.0) <= one.prior


def test_every_belief_has_a_source_and_a_field():
    fields = EngineSpec.model_fields
    for priors in (RECIPES.priors, *(recipe.priors for recipe in ENGINES)):
        for path, prior in priors.items():
            assert prior.source
            assert path.partition(".")[0] in fields
            assert path.endswith(".*") == (path.partition(".")[0] in PRECISIONS)


def test_the_document_tells_the_beliefs_that_hold(repository):
    lines = (repository / "docs/calibration.md").read_text().splitlines()
    for path, prior in RECIPES.priors.items():
        (line,) = [line for line in lines if line.startswith(f"| `{path}` |")]
        _, _, median, spread, least, source, _ = (cell.strip() for cell in line.split("|"))
        number, _, unit = median.partition(" ")
        assert float(number) * {"us": 1e-6, "ms": 1e-3, "": 1.0}[unit] == pytest.approx(prior.median)
        assert (float(spread), float(least or 0), source) == (prior.spread, prior.least, prior.source)


def test_a_recipes_belief_comes_before_that_of_all_engines():
    by_name = {recipe.name: recipe for recipe in ENGINES}
    old, new = (
        next(one.prior for one in coefficients_of(by_name[name], RECIPES) if one.path == "sequence_s")
        for name in ("vllm-0.10-h100-sxm-80gb", "vllm-h100-sxm-80gb")
    )
    assert (old, new) == (3e-5, 8e-6)


def test_what_counts_in_a_fit():
    recipe = ENGINES[0]
    weights = {
        metric: weight_of(metric, recipe, RECIPES)
        for metric in ("itl_mean", "tpot_p50", "ttft_mean", "ttft_p99", "output_throughput", "e2e_mean", "itl_p95")
    }
    assert weights == {
        "itl_mean": 1, "tpot_p50": 1, "ttft_mean": 0.5, "ttft_p99": 0, "output_throughput": 0.5, "e2e_mean": 0,
        "itl_p95": 0,
    }  # fmt: skip
    only = recipe.model_copy(update={"metrics": "^itl"})
    assert weight_of("ttft_mean", only, RECIPES) == 0


SMALL = """\
priors:
  layer_s: {median: 1.0e-05, spread: 0.8, source: a guess}
weights: {"^tpot_mean$": 1}
engines:
  - {engine: a, gpu: h100-sxm-80gb, like: vllm-h100-sxm-80gb, kernels: vllm, version: 1, date: 2,
     source: x, beds: [vllm]}
"""


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("beds: [vllm]", "beds: []", "engines.0.beds: too few entries: 0; give at least 1"),
        ("median: 1.0e-05", "median: -1", "priors.layer_s.median"),
        (", source: a guess", "", "priors.layer_s.source"),
        ("engine: a", "engin: a", "engines.0.engin: unknown field. Did you mean engine?"),
        ("^tpot_mean$", "^tpot_(mean$", "not a regular expression"),
        ("spread: 0.8", "spread: wide", "priors.layer_s.spread"),
    ],
)
def test_a_mistake_gives_one_clear_message(wrong, right, message):
    assert wrong in SMALL
    with pytest.raises(SpecError) as caught:
        read_recipes(SMALL.replace(wrong, right), "recipes.yaml")
    told = str(caught.value).splitlines()
    assert message in str(caught.value)
    assert all(line.startswith("recipes.yaml:") for line in told)
    assert len(told) <= 2  # a wrong name is also a missing one


def test_two_recipes_for_one_entry():
    with pytest.raises(SpecError, match="two recipes for a-h100-sxm-80gb"):
        read_recipes(SMALL + SMALL[SMALL.index("  - {engine: a") :])


def test_entries_and_names_that_do_not_exist(point):
    with pytest.raises(CatalogError, match="its name must end with a GPU"):
        split_entry("vllm-b300")
    with pytest.raises(SpecError, match=r"no recipe of that name: nim-h100\. Did you mean"):
        chosen_recipes(["nim-h100"])
    with pytest.raises(SpecError, match="no row was measured on a100-sxm-80gb, the GPU of vllm-a100-sxm-80gb"):
        own_recipe("mine", "vllm-a100-sxm-80gb", [point()])
    assert [one.name for one in chosen_recipes(["nim-h100-sxm-80gb"])] == ["nim-h100-sxm-80gb"]
    assert chosen_recipes([]) == list(ENGINES)


def test_a_users_own_recipe_begins_at_the_engine_it_is_like(point):
    own = own_recipe("mine", "vllm-h100-sxm-80gb", [point(), point(version="0.14.0", load="concurrency=4")])
    base = load_engine("vllm", "h100-sxm-80gb")
    assert (own.name, own.version, own.beds, own.tiers) == ("mine-h100-sxm-80gb", "0.14.0, 0.15.1", ("vllm",), "")
    for path, prior in own.priors.items():
        assert prior.median == base.value_of(path) > 0
        assert prior.source == "assumed: near vllm-h100-sxm-80gb"
