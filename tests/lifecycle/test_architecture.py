"""Shapes from wishes: of the size that was asked for, and models that the compiler takes."""

import pytest

import sim
from sim import catalog
from sim.errors import SpecError
from sim.lifecycle.architecture import shape
from sim.lifecycle.shapes import parameters
from sim.spec.lifecycle import Architecture, read_lifecycle

LLAMAS = {
    "llama-2-7b": 6.74e9,
    "llama-2-13b": 13.02e9,
    "llama-2-70b": 68.98e9,
    "llama-3.1-8b": 8.03e9,
    "llama-3.1-70b": 70.55e9,
    "llama-3.1-405b": 405.85e9,
}
"""Parameters by the safetensors metadata of the checkpoints (tests/reference/parameters.csv has their pages)."""


@pytest.mark.parametrize("attention", ["mha", "gqa", "mqa", "mla"])
@pytest.mark.parametrize("vocab_size", ["32k", "64k", "128k", "256k"])
def test_a_dense_70b_has_70b(attention, vocab_size):
    model = shape(Architecture.from_dict({"parameters": "70B", "attention": attention, "vocab_size": vocab_size}))
    assert model.attention == attention
    assert parameters(model).total == pytest.approx(70e9, rel=0.02)


@pytest.mark.parametrize(
    ("total", "active"), [(671e9, 37e9), (235e9, 22e9), (47e9, 13e9), (70e9, 12e9), (117e9, 5.1e9), (30.5e9, 3.3e9)]
)
@pytest.mark.parametrize("attention", ["gqa", "mla"])
def test_a_mixture_of_experts_has_both_its_sizes(total, active, attention):
    model = shape(Architecture(parameters=total, active_parameters=active, attention=attention))
    assert model.is_moe
    assert parameters(model).total == pytest.approx(total, rel=0.02)
    assert parameters(model).active == pytest.approx(active, rel=0.02)


@pytest.mark.parametrize("name", LLAMAS)
def test_named_models_are_the_catalogues(name):
    model = shape(Architecture(model=name))
    assert model == catalog.load_model(name)
    assert parameters(model).total == pytest.approx(LLAMAS[name], rel=1e-3)


@pytest.mark.parametrize("name", ["llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b"])
def test_the_rules_give_llama_3_back(name):
    """Asked for the size and the vocabulary alone, they find the published width and depth, and the count."""
    llama = catalog.load_model(name)
    made = shape(Architecture(parameters=parameters(llama).total, vocab_size=llama.vocab_size))
    same = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size")
    assert {field: getattr(made, field) for field in same} == {field: getattr(llama, field) for field in same}
    assert parameters(made).total == pytest.approx(parameters(llama).total, rel=0.005)


def test_meridian_is_the_model_that_its_scenario_serves(meridian):
    made, served = meridian().model, catalog.load_model("meridian-1-70b")
    told = {"name", "source", "notes", "architecture"}
    assert {k: v for k, v in made.to_dict().items() if k not in told} == {
        k: v for k, v in served.to_dict().items() if k not in told
    }


@pytest.mark.parametrize("change", [{}, {"attention": "mla"}, {"active_parameters": "12B"}, {"vocab_size": "32k"}])
def test_the_compiler_takes_what_is_made(change):
    model = shape(Architecture.from_dict({"parameters": "70B"} | change))
    profile = sim.compile(model, catalog.load_gpu("h100-sxm-80gb"), tensor_parallel_size=4)
    # Each GPU has the down-projections of MLA in full: query rank 1,536, latent 512, rotary 64 (DeepSeek-V3).
    copies = 3 * model.num_hidden_layers * model.hidden_size * (1536 + 512 + 64) if model.attention == "mla" else 0
    assert profile.weights_bytes_per_gpu * 4 == pytest.approx(2 * (70e9 + copies), rel=0.01)
    assert profile.num_gpu_blocks > 0


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("{}", "architecture.parameters: missing: give the size, or a model of the catalogue"),
        ("{model: llama-3.1-8b, vocab_size: 32k}", "leave it out, or leave out vocab_size"),
        (
            "{parameters: 7B, active_parameters: 8B}",
            "architecture.active_parameters: must be fewer than parameters = 7e",
        ),
    ],
)
def test_a_shape_is_given_once(small, block, message):
    with pytest.raises(SpecError) as caught:
        read_lifecycle(small.replace("{model: llama-3.1-8b}", block))
    assert message in str(caught.value)


def test_wishes_that_no_model_meets_are_said():
    with pytest.raises(SpecError, match=r"architecture.parameters: 1e\+08 parameters are too few"):
        shape(Architecture.from_dict({"parameters": "100M", "vocab_size": "2M"}))
    with pytest.raises(SpecError, match=r"architecture.active_parameters: no mixture of experts"):
        shape(Architecture.from_dict({"parameters": "70B", "active_parameters": "66B"}))
