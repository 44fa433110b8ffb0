"""Models: published shapes, Hugging Face configs of every family, and refusals."""

import csv
import json
from pathlib import Path

import pytest

from sim.errors import SpecError
from sim.lifecycle.shapes import parameters
from sim.spec.hf import ARCHITECTURES, TEXT_MODELS
from sim.spec.model import ModelSpec, read_model

REPOSITORY = Path(__file__).parents[2]
FILES = sorted(f for f in (REPOSITORY / "models").iterdir() if f.suffix in (".json", ".yaml") and f.name[0] != "_")


def _table() -> list[dict[str, str]]:
    lines = (REPOSITORY / "tests/reference/models.csv").read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def _load(name: str) -> ModelSpec:
    file = next(file for file in FILES if file.stem == name)
    return read_model(file.read_text(), str(file))


def _read(config: dict[str, object], filename: str = "x.json") -> ModelSpec:
    return read_model(json.dumps(config, indent=1), filename)


LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}


# --- the files of the catalogue ---


@pytest.mark.parametrize("row", _table(), ids=lambda row: row["name"])
def test_shape_is_as_published(row: dict[str, str]) -> None:
    model = _load(row["name"])
    for field, value in row.items():
        if field not in ("name", "source", "attention", "parameters_b") and value:
            assert getattr(model, field) == int(value), field
    assert model.attention == row["attention"]
    assert row["source"]


@pytest.mark.parametrize("row", _table(), ids=lambda row: row["name"])
def test_parameters_are_as_many_as_published(row: dict[str, str]) -> None:
    assert parameters(_load(row["name"])).total == pytest.approx(1e9 * float(row["parameters_b"]), rel=0.01)


def test_every_published_model_stands_in_the_reference_table() -> None:
    assert {file.stem for file in FILES if not file.stem.startswith("meridian")} == {row["name"] for row in _table()}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_file_loads_names_its_source_and_survives_the_round_trip(file: Path) -> None:
    model = read_model(file.read_text(), str(file))
    assert model.name == file.stem == file.stem.lower()
    assert model.source.startswith(("https://", "assumed"))
    assert read_model(model.to_yaml(), f"elsewhere/{file.stem}.yaml") == model


def test_meridian_family_differs_in_attention_alone() -> None:
    family = {kind: _load(f"meridian-1-70b{kind}") for kind in ("", "-mha", "-mqa", "-mla")}
    assert [model.attention for model in family.values()] == ["gqa", "mha", "mqa", "mla"]
    assert [model.num_key_value_heads for model in family.values()] == [8, 64, 1, 64]
    for model in family.values():
        assert (model.hidden_size, model.num_hidden_layers, model.num_attention_heads) == (8192, 80, 64)
        assert (model.vocab_size, model.max_position_embeddings) == (128_000, 131_072)
        assert "assumed" in model.source


def test_deepseek_keeps_its_latent_its_dense_layers_and_its_quantisation() -> None:
    model = _load("deepseek-v3")
    assert (model.q_lora_rank, model.kv_lora_rank, model.v_head_dim) == (1536, 512, 128)
    assert (model.qk_nope_head_dim, model.qk_rope_head_dim) == (128, 64)
    assert (model.first_k_dense_replace, model.num_dense_layers, model.moe_intermediate_size) == (3, 3, 2048)
    assert (model.n_shared_experts, model.shared_expert_intermediate_size) == (1, 2048)
    assert (model.quantization, model.quantized_modules, model.num_nextn_predict_layers) == ("fp8", "linear", 1)


def test_gpt_oss_keeps_its_windows_sinks_biases_and_mxfp4_experts() -> None:
    model = _load("gpt-oss-120b")
    assert (model.sliding_window, model.num_sliding_layers, model.num_full_attention_layers) == (128, 18, 18)
    assert model.attention_sinks
    assert model.attention_bias
    assert model.attention_output_bias
    assert model.mlp_bias
    assert model.router_bias
    assert (model.quantization, model.quantized_modules, model.dtype) == ("mxfp4", "experts", "bfloat16")
    assert any("bfloat16 is assumed" in note for note in model.notes)


# --- families that are not in models/: (config, what must come out) ---

FAMILIES: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    # https://huggingface.co/deepseek-ai/DeepSeek-Coder-V2-Lite-Instruct (github:scaleapi/llm-engine@28edd64)
    "DeepseekV2ForCausalLM": (
        LLAMA
        | {"first_k_dense_replace": 1, "hidden_size": 2048, "intermediate_size": 10944, "kv_lora_rank": 512}
        | {"moe_intermediate_size": 1408, "moe_layer_freq": 1, "n_routed_experts": 64, "n_shared_experts": 2}
        | {"num_attention_heads": 16, "num_experts_per_tok": 6, "num_hidden_layers": 27, "num_key_value_heads": 16}
        | {"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "vocab_size": 102400},
        {"attention": "mla", "q_lora_rank": None, "head_dim": 192, "num_moe_layers": 26}
        | {"shared_expert_intermediate_size": 2816, "router_bias": False, "intermediate_size": 10944},
    ),
    # https://huggingface.co/google/gemma-3-1b-it config.json (by github:Liwink/gemma-jax:models/README.md)
    "Gemma3ForCausalLM": (
        LLAMA
        | {"head_dim": 256, "hidden_size": 1152, "intermediate_size": 6912, "max_position_embeddings": 32768}
        | {"num_attention_heads": 4, "num_hidden_layers": 26, "num_key_value_heads": 1, "sliding_window": 512}
        | {"sliding_window_pattern": 6, "vocab_size": 262144},
        {"attention": "mqa", "num_sliding_layers": 22, "tie_word_embeddings": True, "qk_norm": True, "head_dim": 256},
    ),
    # GLM-4.5 by github:zyzshishui/slime:scripts/models/glm4.5-355B-A32B.sh, in the keys of its config.json
    "Glm4MoeForCausalLM": (
        LLAMA
        | {"attention_bias": True, "first_k_dense_replace": 3, "head_dim": 128, "hidden_size": 5120}
        | {"intermediate_size": 12288, "moe_intermediate_size": 1536, "n_routed_experts": 160, "n_shared_experts": 1}
        | {"num_attention_heads": 96, "num_experts_per_tok": 8, "num_hidden_layers": 92, "use_qk_norm": True}
        | {"vocab_size": 151552},
        {"attention_bias": True, "attention_output_bias": False, "qk_norm": True, "num_moe_layers": 89}
        | {"shared_expert_intermediate_size": 1536, "router_bias": True},
    ),
    # https://huggingface.co/microsoft/Phi-3-mini-4k-instruct (github:scaleapi/llm-engine@28edd64)
    "Phi3ForCausalLM": (
        LLAMA
        | {"hidden_size": 3072, "intermediate_size": 8192, "max_position_embeddings": 4096, "num_key_value_heads": 32}
        | {"sliding_window": 2047, "vocab_size": 32064},
        {"attention": "mha", "head_dim": 96, "num_sliding_layers": 32, "gated_mlp": True},
    ),
    # https://huggingface.co/Qwen/Qwen2-72B-Instruct (github:scaleapi/llm-engine@28edd64)
    "Qwen2ForCausalLM": (
        LLAMA
        | {"hidden_size": 8192, "intermediate_size": 29568, "max_window_layers": 80, "num_attention_heads": 64}
        | {"num_hidden_layers": 80, "sliding_window": 131072, "use_sliding_window": False, "vocab_size": 152064},
        {"attention_bias": True, "attention_output_bias": False, "num_sliding_layers": 0, "sliding_window": None},
    ),
    # https://huggingface.co/Qwen/Qwen3-30B-A3B config.json (by pypi:aiconfigurator-core==0.12.0)
    "Qwen3MoeForCausalLM": (
        LLAMA
        | {"decoder_sparse_step": 1, "head_dim": 128, "hidden_size": 2048, "intermediate_size": 6144}
        | {"mlp_only_layers": [], "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8}
        | {"num_hidden_layers": 48, "num_key_value_heads": 4, "vocab_size": 151936},
        {
            "num_moe_layers": 48,
            "num_experts": 128,
            "moe_intermediate_size": 768,
            "qk_norm": True,
            "n_shared_experts": 0,
        },
    ),
    # StarCoder2-7B: 36 heads, 4 KV heads, 4 x 4608 wide, two matrices, window 4096 (arXiv:2402.19173, tables 6 and 7)
    "Starcoder2ForCausalLM": (
        LLAMA
        | {"hidden_size": 4608, "intermediate_size": 18432, "max_position_embeddings": 16384, "num_attention_heads": 36}
        | {"num_key_value_heads": 4, "sliding_window": 4096, "use_bias": True, "vocab_size": 49152},
        {"gated_mlp": False, "mlp_bias": True, "attention_output_bias": True, "num_sliding_layers": 32},
    ),
}


@pytest.mark.parametrize("architecture", FAMILIES)
def test_family_reads_its_own_rules(architecture: str) -> None:
    config, expected = FAMILIES[architecture]
    model = _read(config | {"architectures": [architecture]})
    assert {field: getattr(model, field) for field in expected} == expected
    assert model.architecture == architecture


def test_text_models_of_multimodal_configs_are_supported_architectures() -> None:
    assert set(TEXT_MODELS.values()) <= set(ARCHITECTURES)


def test_text_model_inside_a_multimodal_config() -> None:
    text = {key: value for key, value in LLAMA.items() if key not in ("architectures", "torch_dtype")}
    config = {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "text_config": text | {"model_type": "qwen3_vl_text", "dtype": "float16", "head_dim": 128},
        "tie_word_embeddings": True,
        "vision_config": {"hidden_size": 1152},
    }
    model = _read(config)
    assert (model.architecture, model.dtype, model.hidden_size) == ("Qwen3ForCausalLM", "float16", 4096)
    assert model.tie_word_embeddings
    assert "Qwen3VLForConditionalGeneration" in model.notes[0]


def test_experts_every_other_layer() -> None:
    config = FAMILIES["Qwen3MoeForCausalLM"][0] | {"architectures": ["Qwen3MoeForCausalLM"], "decoder_sparse_step": 2}
    assert _read(config).num_moe_layers == 24
    assert _read(config | {"mlp_only_layers": [1, 2, 3]}).num_moe_layers == 22


def test_window_as_long_as_the_context_is_no_window() -> None:
    config = LLAMA | {"architectures": ["MistralForCausalLM"], "sliding_window": 131072}
    model = _read(config)
    assert (model.sliding_window, model.num_sliding_layers) == (None, 0)
    assert any("every layer is full" in note for note in model.notes)
    assert _read(config | {"sliding_window": 4096}).num_sliding_layers == 32


def test_qwen_windows_start_at_max_window_layers() -> None:
    config = LLAMA | {"architectures": ["Qwen2ForCausalLM"], "sliding_window": 4096, "use_sliding_window": True}
    assert _read(config | {"max_window_layers": 28}).num_sliding_layers == 4


def test_missing_kv_heads_are_one_for_each_query_head_and_said() -> None:
    model = _read({key: value for key, value in LLAMA.items() if key != "num_key_value_heads"})
    assert model.attention == "mha"
    assert "num_key_value_heads" in model.notes[0]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"quant_method": "fp8"}, ("fp8", "linear")),
        ({"quant_method": "fbgemm_fp8"}, ("fp8", "linear")),
        ({"quant_method": "awq", "bits": 4}, ("int4", "linear")),
        ({"quant_method": "gptq", "bits": 8}, ("int8", "linear")),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, ("int4", "linear")),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"g": {"weights": {"num_bits": 8, "type": "float"}}},
            },
            ("fp8", "linear"),
        ),
        ({"producer": {"name": "modelopt"}, "quant_algo": "FP8"}, ("fp8", "linear")),
    ],
)
def test_quantised_checkpoints(settings: dict[str, object], expected: tuple[str, str]) -> None:
    model = _read(LLAMA | {"quantization_config": settings})
    assert (model.quantization, model.quantized_modules) == expected


def test_experts_alone_are_quantised_where_attention_is_kept() -> None:
    weights = {"config_groups": {"g": {"weights": {"num_bits": 4, "type": "int"}}}, "ignore": ["re:.*self_attn.*"]}
    config = FAMILIES["Qwen3MoeForCausalLM"][0] | {"architectures": ["Qwen3MoeForCausalLM"]}
    model = _read(config | {"quantization_config": weights | {"quant_method": "compressed-tensors"}})
    assert (model.quantization, model.quantized_modules) == ("int4", "experts")


# --- names ---


def test_a_config_takes_the_name_of_its_folder() -> None:
    assert _read(LLAMA, "downloads/My-Model/config.json").name == "My-Model"
    assert _read(LLAMA, "downloads/my-model.json").name == "my-model"


def test_tabs_in_json_are_no_mistake() -> None:
    assert read_model(json.dumps(LLAMA, indent="\t"), "x.json").hidden_size == 4096


# --- refusals ---


@pytest.mark.parametrize(
    "name", ["MambaForCausalLM", "NemotronHForCausalLM", "DeepseekV4ForCausalLM", "Qwen3NextForCausalLM"]
)
def test_unknown_architecture_is_refused_by_name_with_the_known_ones(name: str) -> None:
    with pytest.raises(SpecError) as caught:
        _read(LLAMA | {"architectures": [name]})
    message = str(caught.value)
    assert message.startswith(f"x.json:2  architectures: {name} is not supported")
    assert all(known in message for known in ARCHITECTURES)


def test_unknown_text_model_is_refused_by_name() -> None:
    config = {"architectures": ["Gemma4ForConditionalGeneration"], "text_config": {"model_type": "gemma4_text"}}
    with pytest.raises(SpecError, match=r"text_config\.model_type: model_type gemma4_text is not supported"):
        _read(config)


def test_every_missing_key_is_named_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        _read({"architectures": ["MixtralForCausalLM"], "hidden_size": 4096})
    missing = {problem.path for problem in caught.value.problems}
    assert {"num_attention_heads", "num_hidden_layers", "vocab_size", "num_experts", "num_experts_per_tok"} <= missing
    assert "hidden_size" not in missing
    assert all("missing" in problem.message for problem in caught.value.problems)


def test_every_contradiction_is_named_at_once_with_its_line() -> None:
    config = LLAMA | {"num_attention_heads": 33, "num_key_value_heads": 40, "layer_types": ["full_attention", "mamba"]}
    with pytest.raises(SpecError) as caught:
        _read(config)
    found = {problem.path: problem for problem in caught.value.problems}
    assert set(found) == {"num_attention_heads", "num_key_value_heads", "layer_types"}
    lines = json.dumps(config, indent=1).splitlines()
    for path, problem in found.items():
        assert problem.line is not None
        assert f'"{path}"' in lines[problem.line - 1]
    assert "mamba" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": "32"}, "expected a whole number >= 0, got '32'"),
        ({"num_hidden_layers": 0}, "must be > 0"),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}, "NVFP4 is not supported"),
        ({"quantization_config": {"quant_method": "awq", "bits": 3}}, "3-bit int weights is not supported"),
        ({"quantization_config": "fp8"}, "expected a block of settings"),
        ({"torch_dtype": "float64"}, '"float64" is not allowed'),
    ],
)
def test_wrong_values_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        _read(LLAMA | change)
    assert message in str(caught.value)


def test_two_counts_of_experts_are_a_contradiction() -> None:
    config = FAMILIES["Qwen3MoeForCausalLM"][0] | {"architectures": ["Qwen3MoeForCausalLM"], "num_local_experts": 64}
    with pytest.raises(SpecError, match="num_experts = 128, num_local_experts = 64: which one is it"):
        _read(config)


# --- the rules of ModelSpec itself ---

FULL = _load("llama-3.1-8b").to_dict()


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"num_key_value_heads": 64}, "num_key_value_heads"),
        ({"num_key_value_heads": 5}, "num_attention_heads"),
        ({"q_lora_rank": 512}, "kv_lora_rank"),
        ({"kv_lora_rank": 512}, "kv_lora_rank"),
        ({"kv_lora_rank": 512, "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64}, "head_dim"),
        ({"num_experts": 8}, "num_moe_layers"),
        ({"num_moe_layers": 32}, "num_moe_layers"),
        (
            {"num_moe_layers": 32, "num_experts": 4, "num_experts_per_tok": 5, "moe_intermediate_size": 64},
            "num_experts_per_tok",
        ),
        ({"sliding_window": 4096}, "sliding_window"),
        ({"sliding_window": 4096, "num_sliding_layers": 33}, "num_sliding_layers"),
        ({"quantization": "fp8"}, "quantization"),
    ],
)
def test_contradictory_fields_are_refused(change: dict[str, object], path: str) -> None:
    with pytest.raises(SpecError) as caught:
        ModelSpec.from_dict(FULL | change)
    assert path in {problem.path for problem in caught.value.problems}
