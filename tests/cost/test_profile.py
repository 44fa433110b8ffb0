"""Profile: what compile refuses and says, what it rests on, how long it takes."""

import time

import pytest

from sim import catalog
from sim.calibrate.serving.recipes import load_recipes
from sim.cost import compile
from sim.cost.calibration import load_engine, load_kernels
from sim.errors import CapacityError, CatalogError, SpecError


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tensor_parallel_size": 3}, "tensor_parallel_size: 3 does not divide llama-3.1-70b: 64 query heads"),
        ({"tensor_parallel_size": 16}, "spans nodes of 8 GPUs"),
        ({"tensor_parallel_size": 0}, "tensor_parallel_size: must be >= 1, got 0"),
        ({"pipeline_parallel_size": 81}, "pipeline_parallel_size: 81 stages for 80 layers"),
        ({"expert_parallel_size": 2}, "expert_parallel_size: llama-3.1-70b has no experts"),
        ({"weights": "fp7"}, 'weights: "fp7" has no fit on vllm-h100-sxm-80gb; fitted: fp16, bf16, fp8'),
        ({"weights": "mxfp4"}, "weights: mxfp4 quantises experts"),
        ({"weights": "bf16", "activations": "fp8"}, "activations: bf16 weights are multiplied in bf16"),
        ({"kv": "int4"}, 'kv_cache_dtype: "int4" has no fit'),
        ({"max_num_seqs": 0}, "max_num_seqs: must be >= 1, got 0"),
        ({"max_num_seqs": 300, "max_num_batched_tokens": 200}, "must be >= max_num_seqs (300), got 200"),
        ({"gpu_memory_utilization": 1.2}, "gpu_memory_utilization: must be above 0 and at most 1, got 1.2"),
        ({"max_model_len": 200_000}, "max_model_len: must be 1 to 131072, the context length of llama-3.1-70b"),
    ],
)
def test_what_cannot_be_is_said(models, h100, options, said):
    with pytest.raises(SpecError) as caught:
        compile(models("llama-3.1-70b"), h100, **options)
    assert said in str(caught.value)


def test_every_mistake_is_said_at_once(models, h100):
    with pytest.raises(SpecError) as caught:
        compile(models("llama-3.1-70b"), h100, tensor_parallel_size=5, weights="fp7", kv="fp3", max_num_seqs=0)
    assert {problem.path for problem in caught.value.problems} == {
        "tensor_parallel_size",
        "weights",
        "kv_cache_dtype",
        "max_num_seqs",
    }


def test_experts_spread_over_a_divisor_of_the_gpus(models, h100):
    with pytest.raises(SpecError, match="must divide tensor_parallel_size"):
        compile(models("mixtral-8x7b"), h100, tensor_parallel_size=2, expert_parallel_size=4)


def test_fp8_experts_are_not_fitted_on_a100(models, gpus):
    with pytest.raises(SpecError, match=r"experts in fp8 have no fit on vllm-a100-sxm-80gb; fitted: bf16, int4, mxfp4"):
        compile(models("mixtral-8x7b"), gpus("a100-sxm-80gb"), weights="fp8", tensor_parallel_size=2)


def test_a_missing_calibration_lists_those_there_are(models, h100):
    with pytest.raises(CatalogError, match=r"no calibration of engine vlm on h100-sxm-80gb.*vllm-h100-sxm-80gb"):
        compile(models("llama-3.1-70b"), h100, engine="vlm")


@pytest.mark.parametrize(
    ("model", "options", "short_gb", "remedies"),
    [
        ("llama-3.1-70b", {}, 66.4, ["tensor_parallel_size=4", "weights=int4"]),
        ("llama-3.1-70b", {"tensor_parallel_size": 2, "max_model_len": 131072}, 17.4, ["max_model_len=24960"]),
        ("llama-3.1-405b", {"tensor_parallel_size": 8}, 26.8, ["weights=fp8", "pipeline_parallel_size=2"]),
        ("gpt-oss-120b", {}, 159.9, ["Try weights=mxfp4", "tensor_parallel_size=4"]),
        ("llama-3.1-405b", {}, 738.5, ["Try tensor_parallel_size=8 with weights=fp8"]),
    ],
)
def test_what_does_not_fit_says_by_how_much_and_what_would(models, h100, model, options, short_gb, remedies):
    with pytest.raises(CapacityError) as caught:
        compile(models(model), h100, **options)
    assert f"short of {short_gb} GB a GPU" in str(caught.value)
    for remedy in remedies:
        assert remedy in str(caught.value)
        changes = (change.split("=") for change in remedy.removeprefix("Try ").split(" with "))
        changed = options | {name: int(value) if value.isdecimal() else value for name, value in changes}
        assert compile(models(model), h100, **changed).num_gpu_blocks > 1


def test_a_context_that_does_not_fit_is_cut_only_where_none_was_asked_for(models, h100):
    profile = compile(models("qwen3-32b"), h100)
    assert profile.max_model_len == (profile.num_gpu_blocks - 1) * 16 < models("qwen3-32b").max_position_embeddings
    assert compile(models("llama-3.1-8b"), h100).max_model_len == 131_072


@pytest.mark.parametrize(
    ("model", "gpu", "options", "grade"),
    [
        ("llama-3.1-70b", "h100-sxm-80gb", {"tensor_parallel_size": 4}, "good"),
        ("llama-3.1-70b", "h100-sxm-80gb", {"tensor_parallel_size": 8}, "good"),
        ("llama-3.1-70b", "h100-sxm-80gb", {"tensor_parallel_size": 4, "weights": "fp8"}, "good"),
        ("llama-3.1-70b", "h100-sxm-80gb", {"tensor_parallel_size": 4, "engine": "nim"}, "good"),
        ("llama-3.1-70b", "h100-sxm-80gb", {"tensor_parallel_size": 4, "engine": "sglang"}, "good"),
        ("mixtral-8x7b", "h100-sxm-80gb", {"tensor_parallel_size": 2}, "good"),
        ("llama-3.1-8b", "a100-sxm-80gb", {"engine": "nim"}, "good"),
        ("llama-3.1-8b", "a100-sxm-80gb", {}, "thin"),
        ("llama-3.1-70b", "h100-sxm-80gb", {"tensor_parallel_size": 4, "weights": "int4"}, None),
        ("qwen3-32b", "h100-sxm-80gb", {"weights": "fp8", "engine": "sglang"}, None),
        ("llama-3.1-8b", "h100-sxm-80gb", {"engine": "vllm-0.10"}, None),
        ("mixtral-8x7b", "h100-sxm-80gb", {"tensor_parallel_size": 2, "engine": "nim"}, None),
        ("llama-3.1-70b", "h200-sxm-141gb", {"tensor_parallel_size": 4}, None),
        ("llama-3.1-70b", "h100-pcie-80gb", {"tensor_parallel_size": 4}, None),
        ("llama-3.1-8b", "h100-sxm-80gb", {"engine": "vllm-0.19"}, None),
    ],
)
def test_a_profile_says_whether_it_was_measured_and_else_why_not(compiled, model, gpu, options, grade):
    """Measured: how good its calibration is, and what that rests on. Not measured: why not."""
    calibration = compiled(model, gpu, **options).calibration
    assert calibration.status == ("calibrated" if grade else "extrapolated")
    if grade:
        assert calibration.grade == grade
        assert (calibration.errors["tpot"].median_frac < 0.08) == (grade == "good")
        assert calibration.num_points >= calibration.num_curves >= 5
    else:
        assert calibration.notes


def test_engines_keep_their_gpu_to_themselves():
    """An overhead is not carried to another GPU unless the file says that it is extrapolated."""
    for name in catalog.list_entries("engines"):
        engine = load_engine(*name.split("-", 1))
        assert engine.name == name
        shown = name.removeprefix(engine.engine).removesuffix(f"-{engine.gpu}").removeprefix("-")
        assert not shown or f"{engine.version.split()[0]}.".startswith(f"{shown}."), name
        kernels = load_kernels(engine.gpu, engine.kernels)
        assert kernels.name == f"{engine.kernels}-{engine.gpu}"
        if engine.like and not engine.like.endswith(engine.gpu) and engine.engine == "vllm":
            assert engine.status == "extrapolated", name


def test_every_coefficient_is_physical_and_has_a_source():
    """Shares of a ceiling are at most 1 (the specification holds that); what is not assumed has an error.

    An engine's factors on the kernels' times stand for all their precisions, none below what is believed physical.
    """
    priors = load_recipes().priors
    for name in catalog.list_entries("engines"):
        engine = load_engine(*name.split("-", 1))
        kernels = load_kernels(engine.gpu, engine.kernels)
        for kind in (kernels.gemm, kernels.experts, kernels.decode_attention, kernels.prefill_attention):
            for kernel in kind.values():
                assert "assumed" in kernel.fit.source or (kernel.fit.error and kernel.fit.held_out), (name, kernel.fit)
        assert set(engine.gemm_scale) >= set(kernels.gemm), name
        assert set(engine.expert_scale) >= set(kernels.experts), name
        assert set(engine.decode_attention_scale) >= set(kernels.decode_attention), name
        for field in ("gemm_scale", "expert_scale", "decode_attention_scale"):
            assert min(getattr(engine, field).values()) >= priors[f"{field}.*"].least > 0.5, (name, field)
        assert engine.prefill_attention_scale >= priors["prefill_attention_scale"].least > 0.5, name
        assert engine.source
        assert engine.memory.source


def test_compiling_takes_less_than_a_fifth_of_a_second(models, gpus):
    gpu, model = gpus("h200-sxm-141gb"), models("deepseek-v3")
    started = time.perf_counter()
    compile(model, gpu, tensor_parallel_size=8, weights="fp8", max_num_batched_tokens=8192, max_num_seqs=1024)
    assert time.perf_counter() - started < 0.2


def test_graphs_pad_decodes_up_to_twice_the_sequences(compiled):
    times = compiled("llama-3.1-8b", max_num_seqs=100).step_times
    assert times.decode_batch_s[97] == times.decode_batch_s[100]
    # In a mixed batch every token has its share of prefill attention beside.
    token_s = times.batch_s[104] - times.batch_s[103]
    assert times.batch_s[104] - 104 * token_s == pytest.approx(times.decode_batch_s[100], rel=1e-9)
    assert times.batch_s[200] - times.batch_s[193] == pytest.approx(7 * token_s)
    assert times.batch_s[203] - times.batch_s[201] > 2 * token_s


def test_two_changes_at_once_are_tried_where_no_single_one_does(models, gpus):
    with pytest.raises(CapacityError, match=r"Try tensor_parallel_size=8 with weights=fp8\."):
        compile(models("deepseek-v3"), gpus("h200-sxm-141gb"))


def test_the_card_shows_the_first_token_of_an_idle_replica(compiled):
    profile = compiled("llama-3.1-8b")
    card = {row.name: row.value for row in profile.card}
    assert card["host time before the first token"] == profile.frontend_s > 0
    assert card["TTFT of 2048 tokens, alone"] == profile.frontend_s + card["prefill of 2048 tokens"]
