"""Hugging Face config.json -> ModelSpec: a table of families, and the few rules they differ by.

What a config leaves out is taken from its family's default in the `transformers` library (configuration_*.py) where the
family has one, and named in `ModelSpec.notes`. An architecture that is not in the table is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from sim.errors import Problem, SpecError
from sim.spec.model import ModelSpec
from sim.spec.quantization import read_quantization
from sim.spec.text import Document, Path

Flag: TypeAlias = bool | str
"""True or False for the whole family, or the config's key that says so (absent: False)."""
Sliding: TypeAlias = Literal["none", "all", "every-other", "three-of-four", "five-of-six", "upper"]


@dataclass(frozen=True)
class Family:
    """How one architecture reads its config."""

    qkv_bias: Flag = "attention_bias"
    output_bias: Flag = "attention_bias"
    mlp_bias: Flag = False
    qk_norm: Flag = False
    gated_mlp: bool = True
    tied: bool = False
    """`tie_word_embeddings` where the config does not say."""
    mla: bool = False
    sparse_attention: bool = False
    """A query reads the `index_topk` best of its context, chosen by an indexer (DeepSeek Sparse Attention)."""
    experts: Literal["", "all", "after-first-k", "sparse-step", "interleaved"] = ""
    """Which layers are MoE; empty: the family is dense."""
    expert_width: Literal["moe_intermediate_size", "intermediate_size"] = "moe_intermediate_size"
    dense_width: Literal["intermediate_size", "intermediate_size_mlp"] = "intermediate_size"
    shared_experts: int = 0
    """Experts every token visits, where the config does not say."""
    router_bias: Flag = False
    sinks: bool = False
    sliding: Sliding = "none"
    """Which layers have the window, where `layer_types` does not say."""
    window: Literal["sliding_window", "attention_chunk_size"] = "sliding_window"
    """Key of the window's width."""


ARCHITECTURES: Final[dict[str, Family]] = {
    "DeepseekV2ForCausalLM": Family(mla=True, experts="after-first-k"),
    "DeepseekV3ForCausalLM": Family(mla=True, experts="after-first-k", router_bias=True),
    "DeepseekV32ForCausalLM": Family(mla=True, sparse_attention=True, experts="after-first-k", router_bias=True),
    "Gemma2ForCausalLM": Family(tied=True, sliding="every-other"),
    "Gemma3ForCausalLM": Family(qk_norm=True, tied=True, sliding="five-of-six"),
    "Glm4MoeForCausalLM": Family(output_bias=False, qk_norm="use_qk_norm", experts="after-first-k", router_bias=True),
    "GemmaForCausalLM": Family(tied=True),
    "GlmMoeDsaForCausalLM": Family(mla=True, sparse_attention=True, experts="after-first-k", router_bias=True),
    "GptOssForCausalLM": Family(
        mlp_bias=True,
        experts="all",
        expert_width="intermediate_size",
        router_bias=True,
        sinks=True,
        sliding="every-other",
    ),
    "Llama4ForCausalLM": Family(
        experts="interleaved",
        expert_width="intermediate_size",
        dense_width="intermediate_size_mlp",
        shared_experts=1,
        sliding="three-of-four",
        window="attention_chunk_size",
    ),
    "LlamaForCausalLM": Family(mlp_bias="mlp_bias"),
    "MiniMaxM2ForCausalLM": Family(
        qkv_bias=False,
        output_bias=False,
        qk_norm="use_qk_norm",
        experts="all",
        expert_width="intermediate_size",
        router_bias="use_routing_bias",
    ),
    "MistralForCausalLM": Family(qkv_bias=False, output_bias=False, sliding="all"),
    "MixtralForCausalLM": Family(
        qkv_bias=False, output_bias=False, experts="all", expert_width="intermediate_size", sliding="all"
    ),
    "Phi3ForCausalLM": Family(qkv_bias=False, output_bias=False, sliding="all"),
    "Qwen2ForCausalLM": Family(qkv_bias=True, output_bias=False, sliding="upper"),
    "Qwen2MoeForCausalLM": Family(qkv_bias=True, output_bias=False, experts="sparse-step", sliding="upper"),
    "Qwen3ForCausalLM": Family(qk_norm=True, sliding="upper"),
    "Qwen3MoeForCausalLM": Family(qk_norm=True, experts="sparse-step", sliding="upper"),
    "Starcoder2ForCausalLM": Family(
        qkv_bias="use_bias", output_bias="use_bias", mlp_bias="use_bias", gated_mlp=False, tied=True, sliding="all"
    ),
}
"""Architectures that are read; each follows its modelling file in `transformers`."""

TEXT_MODELS: Final = {
    "gemma3_text": "Gemma3ForCausalLM",
    "glm4_moe": "Glm4MoeForCausalLM",
    "kimi_k2": "DeepseekV3ForCausalLM",
    "llama": "LlamaForCausalLM",
    "llama4_text": "Llama4ForCausalLM",
    "mistral": "MistralForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "qwen3_vl_moe_text": "Qwen3MoeForCausalLM",
    "qwen3_vl_text": "Qwen3ForCausalLM",
}
"""`model_type` of the text model inside a multimodal config -> the architecture it is."""

_EXPERT_COUNTS: Final = ("n_routed_experts", "num_experts", "num_local_experts")


class _Config:
    """A config with its places: reads keys, and writes down what is missing or of the wrong type."""

    def __init__(self, document: Document, base: Path) -> None:
        self.document, self.base = document, base
        self.data: Mapping[str, Any] = document.at(base).data
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.used: dict[str, Path] = {}
        """ModelSpec field -> where its value was read."""
        self.has_stand_ins = False

    def fault(self, key: str, message: str) -> None:
        """Write down a problem of one key."""
        self.problems.append(self.document.problem((*self.base, key), message))

    def whole(self, key: str, field: str | None = None, default: int | None = None) -> int:
        """Return a whole number; without a default the key must be there."""
        value = self.data.get(key)
        self.used[field or key] = (*self.base, key)
        if value is None and default is not None:
            return default
        if value is None:
            self.fault(key, "missing, and it cannot be guessed")
        elif type(value) is not int or value < 0:
            self.fault(key, f"expected a whole number >= 0, got {value!r}")
        else:
            return value
        self.has_stand_ins = True
        return 1

    def flag(self, rule: Flag) -> bool:
        """Return what a family's rule says: itself, or the value of the key it names."""
        return bool(self.data.get(rule, False)) if isinstance(rule, str) else rule


def is_config(data: Any) -> bool:
    """Tell whether plain data has the form of a Hugging Face config."""
    return isinstance(data, Mapping) and any(key in data for key in ("architectures", "model_type", "text_config"))


def read_config(document: Document, name: str) -> ModelSpec:
    """Return the model that a Hugging Face config describes.

    Parameters
    ----------
    document
        The config as read, with the line of every value; `_source`, `_notes` are taken as source and notes.
    name
        Name of the model.

    Returns
    -------
    ModelSpec
        The shape, with everything that was derived in its notes.

    Raises
    ------
    SpecError
        An unknown architecture, missing keys, contradictory values: all that can be found at once.
    """
    nested = isinstance(document.data.get("text_config"), Mapping)
    config = _Config(document, ("text_config",) if nested else ())
    architecture = _architecture(config)
    family = ARCHITECTURES[architecture]
    if nested:
        outer = ", ".join(document.data.get("architectures") or ())
        config.notes.append(f"the text model of {outer or 'a multimodal config'}; its other towers are never computed")
    fields: dict[str, Any] = {"name": name, "architecture": architecture}
    fields |= _widths(config, family)
    fields |= _mla(config, family) if family.mla else {}
    fields |= _experts(config, family, fields["num_hidden_layers"]) if family.experts else {}
    fields |= _window(config, family, fields["num_hidden_layers"], fields["max_position_embeddings"])
    fields |= _types(config, moe=bool(family.experts))
    fields["tokenizer"] = document.data.get("_tokenizer")
    fields["tower_parameters"] = document.data.get("_tower_parameters", 0)
    fields["source"] = document.data.get("_source") or document.file or "a Hugging Face config"
    fields["notes"] = [*_given_notes(document), *config.notes]
    return _build(config, fields)


def _architecture(config: _Config) -> str:
    """Return the supported architecture that a config names, or refuse it by name."""
    listed, kind = config.data.get("architectures"), str(config.data.get("model_type", ""))
    if isinstance(listed, list) and listed:
        key, named = "architectures", str(listed[0])
    else:
        key, named = "model_type", TEXT_MODELS.get(kind, f"model_type {kind}")
    if named in ARCHITECTURES:
        return named
    message = f"{named} is not supported: its layers may differ from every kind known here"
    raise SpecError(config.document.problem((*config.base, key), f"{message}. Supported: {', '.join(ARCHITECTURES)}."))


def _widths(config: _Config, family: Family) -> dict[str, Any]:
    """Return the fields that every family has."""
    data = config.data
    hidden, heads = config.whole("hidden_size"), config.whole("num_attention_heads")
    fields: dict[str, Any] = {
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_hidden_layers": config.whole("num_hidden_layers"),
        "vocab_size": config.whole("vocab_size"),
        "max_position_embeddings": config.whole("max_position_embeddings"),
        "intermediate_size": config.whole(family.dense_width, "intermediate_size"),
        "num_nextn_predict_layers": config.whole("num_nextn_predict_layers", default=0),
        "gated_mlp": family.gated_mlp,
        "attention_bias": config.flag(family.qkv_bias),
        "attention_output_bias": config.flag(family.output_bias),
        "mlp_bias": config.flag(family.mlp_bias),
        "qk_norm": config.flag(family.qk_norm),
        "attention_sinks": family.sinks,
    }
    if data.get("num_key_value_heads") is None:
        config.notes.append("num_key_value_heads is not in the config: one for each query head, as transformers does")
    fields["num_key_value_heads"] = config.whole("num_key_value_heads", default=heads)
    tied = data.get("tie_word_embeddings", config.document.data.get("tie_word_embeddings"))
    fields["tie_word_embeddings"] = family.tied if tied is None else bool(tied)
    if not family.mla:
        fields["head_dim"] = _head_dim(config, hidden, heads)
    return fields


def _head_dim(config: _Config, hidden: int, heads: int) -> int:
    if config.data.get("head_dim") is not None:
        return config.whole("head_dim")
    if heads > 0 and hidden % heads:
        config.fault(
            "num_attention_heads", f"{heads} heads do not divide hidden_size {hidden}, and head_dim is missing"
        )
    return hidden // heads if heads > 0 else 0


def _mla(config: _Config, family: Family) -> dict[str, Any]:
    if family.sparse_attention:
        best = config.data.get("index_topk")
        config.notes.append(
            f"sparse attention (the best {best} tokens of a context) is counted as dense, its indexer not"
        )
    nope, rope = config.whole("qk_nope_head_dim"), config.whole("qk_rope_head_dim")
    return {
        "q_lora_rank": config.whole("q_lora_rank", default=0) or None,
        "kv_lora_rank": config.whole("kv_lora_rank"),
        "qk_nope_head_dim": nope,
        "qk_rope_head_dim": rope,
        "v_head_dim": config.whole("v_head_dim"),
        "head_dim": nope + rope,
    }


def _experts(config: _Config, family: Family, layers: int) -> dict[str, Any]:
    """Return the MoE fields: counts, widths and which layers have experts."""
    data = config.data
    counts = {key: data[key] for key in _EXPERT_COUNTS if data.get(key) is not None}
    if len(set(counts.values())) > 1:
        config.fault(next(iter(counts)), f"{', '.join(f'{k} = {v}' for k, v in counts.items())}: which one is it?")
    width = config.whole(family.expert_width, "moe_intermediate_size")
    shared = config.whole("n_shared_experts", default=family.shared_experts)
    shared_width = config.whole("shared_expert_intermediate_size", default=shared * width)
    first = config.whole("first_k_dense_replace", default=0) if family.experts == "after-first-k" else 0
    if family.experts == "after-first-k":
        step = config.whole("moe_layer_freq", default=1) or 1
        moe = [i for i in range(layers) if i >= first and i % step == 0]
    elif family.experts == "sparse-step":
        step = config.whole("decoder_sparse_step", default=1) or 1
        only_dense = data.get("mlp_only_layers") or ()
        moe = [i for i in range(layers) if (i + 1) % step == 0 and i not in only_dense]
    elif family.experts == "interleaved":
        step = config.whole("interleave_moe_layer_step", default=1) or 1
        moe = list(range(step - 1, layers, step))
    else:
        moe = list(range(layers))
    return {
        "num_experts": config.whole(next(iter(counts), "num_experts"), "num_experts"),
        "num_experts_per_tok": config.whole("num_experts_per_tok"),
        "moe_intermediate_size": width,
        "n_shared_experts": shared or int(shared_width > 0),
        "shared_expert_intermediate_size": shared_width,
        "first_k_dense_replace": first,
        "num_moe_layers": len(moe),
        "router_bias": config.flag(family.router_bias),
    }


def _window(config: _Config, family: Family, layers: int, context: int) -> dict[str, Any]:
    """Return the sliding window and the number of layers that have it."""
    data, kinds = config.data, config.data.get("layer_types")
    known = {"full_attention", "sliding_attention", "chunked_attention"}
    if isinstance(kinds, list) and not known.issuperset(kinds):
        strange = ", ".join(sorted({str(kind) for kind in kinds} - known))
        config.fault("layer_types", f"layers of type {strange} are not supported; only {', '.join(sorted(known))}")
    if isinstance(kinds, list) and len(kinds) != layers:
        config.fault("layer_types", f"names {len(kinds)} layers, but num_hidden_layers is {layers}")
    window = data.get(family.window)
    if window is None or family.sliding == "none" or data.get("use_sliding_window") is False:
        return {}
    width = config.whole(family.window, "sliding_window")
    if family.window == "attention_chunk_size":
        config.notes.append(
            f"chunks of {width} tokens are counted as sliding windows of that width, twice a chunk's mean"
        )
    if isinstance(kinds, list):
        count = layers - kinds.count("full_attention")
    elif family.sliding == "upper":
        if not data.get("use_sliding_window"):
            return {}
        count = max(0, layers - config.whole("max_window_layers", default=layers))
    else:
        period = config.whole(
            "sliding_window_pattern",
            default={"every-other": 2, "three-of-four": 4, "five-of-six": 6}.get(family.sliding, 0),
        )
        count = layers - layers // period if period else layers
    if width >= context:
        config.notes.append(f"the sliding window of {width} tokens is as long as the context: every layer is full")
        return {}
    return {"sliding_window": width, "num_sliding_layers": count} if count else {}


def _types(config: _Config, *, moe: bool) -> dict[str, Any]:
    """Return the types of the checkpoint's weights."""
    outer = config.document.data
    given = next((d[k] for d in (config.data, outer) for k in ("dtype", "torch_dtype") if d.get(k) is not None), None)
    dtype = str(given).removeprefix("torch.") if given is not None else "bfloat16"
    if given is None or dtype == "auto":
        dtype = "bfloat16"
        config.notes.append("the config names no dtype: bfloat16 is assumed")
    base = config.base if "quantization_config" in config.data else ()
    settings = config.data.get("quantization_config", outer.get("quantization_config"))
    if settings is None:
        return {"dtype": dtype}
    try:
        scheme, modules = read_quantization(settings, moe=moe)
    except ValueError as error:
        config.problems.append(config.document.problem((*base, "quantization_config"), str(error)))
        return {"dtype": dtype}
    return {"dtype": dtype, "quantization": scheme, "quantized_modules": modules}


def _given_notes(document: Document) -> list[str]:
    notes = document.data.get("_notes") or []
    return [str(note) for note in notes] if isinstance(notes, list) else [str(notes)]


def _build(config: _Config, fields: dict[str, Any]) -> ModelSpec:
    """Return the model, or raise everything found: what is missing and what contradicts itself."""
    places: dict[Path, tuple[str | None, int | None]] = {
        (field,): config.document.place(path) for field, path in config.used.items()
    }
    try:
        model = ModelSpec.from_document(Document(fields, config.document.file, places))
    except SpecError as error:
        # A contradiction with the stand-in for a missing value would be no finding.
        contradictions = () if config.has_stand_ins else error.problems
        raise SpecError(*config.problems, *contradictions) from None
    SpecError.raise_if(config.problems)
    return model
