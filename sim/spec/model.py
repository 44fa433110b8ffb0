"""ModelSpec: the shape of one transformer language model, in Hugging Face's words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Literal, TypeAlias

from sim.errors import Problem, SpecError
from sim.spec.base import NonNegativeInt, PositiveInt, Spec, Text
from sim.spec.quantization import Modules, Scheme
from sim.spec.text import read_text

Attention: TypeAlias = Literal["mha", "gqa", "mqa", "mla"]
"""Kinds of attention by what they cache."""


class ModelSpec(Spec):
    """The shape of a decoder-only transformer: everything its cost depends on, and no cost."""

    name: Text
    """Name in the catalogue, lower case, e.g. `llama-3.1-70b`."""
    architecture: Text
    """Hugging Face class name, e.g. `LlamaForCausalLM`, or `short-form`."""

    hidden_size: PositiveInt
    """Width of the residual stream."""
    num_hidden_layers: PositiveInt
    """Decoder layers, dense and MoE together (multi-token-prediction layers not counted)."""
    num_attention_heads: PositiveInt
    """Query heads a layer."""
    num_key_value_heads: PositiveInt
    """Key-value heads a layer; equal to the query heads for MHA and MLA."""
    head_dim: PositiveInt
    """Width of one query, key and value head; for MLA the query-key width (nope + rope)."""
    intermediate_size: PositiveInt
    """Width of the dense MLP (of the dense layers, where some layers are MoE)."""
    vocab_size: PositiveInt
    """Rows of the embedding."""
    tokenizer: Text | None = None
    """Its tokenizer: a name in workloads/_tokenizers.yaml; None: the size of its vocabulary stands for it."""
    max_position_embeddings: PositiveInt
    """Longest context the model was made for [tokens]."""
    tie_word_embeddings: bool = False
    """True if the output head shares the embedding's weights."""
    gated_mlp: bool = True
    """True for three MLP matrices (SwiGLU, GeGLU), False for two."""
    attention_bias: bool = False
    """Biases on the query, key and value projections."""
    attention_output_bias: bool = False
    """Bias on the attention output projection."""
    mlp_bias: bool = False
    """Biases on the MLP (or expert) projections."""
    qk_norm: bool = False
    """Per-head normalisation of queries and keys, `head_dim` weights each."""
    attention_sinks: bool = False
    """One learned sink logit a query head (gpt-oss)."""

    q_lora_rank: PositiveInt | None = None
    """MLA: rank of the compressed queries; None: queries are not compressed."""
    kv_lora_rank: PositiveInt | None = None
    """MLA: rank of the compressed keys and values, the part that is cached; None: no MLA."""
    qk_nope_head_dim: NonNegativeInt = 0
    """MLA: query-key width a head without rotary position."""
    qk_rope_head_dim: NonNegativeInt = 0
    """MLA: query-key width with rotary position; the key's part is shared by all heads and cached."""
    v_head_dim: NonNegativeInt = 0
    """MLA: value width a head."""

    num_experts: NonNegativeInt = 0
    """Routed experts a MoE layer; 0: no MoE."""
    num_experts_per_tok: NonNegativeInt = 0
    """Routed experts each token visits."""
    moe_intermediate_size: NonNegativeInt = 0
    """Width of one routed expert."""
    n_shared_experts: NonNegativeInt = 0
    """Experts every token visits."""
    shared_expert_intermediate_size: NonNegativeInt = 0
    """Width of all shared experts of a layer together."""
    first_k_dense_replace: NonNegativeInt = 0
    """Leading layers that are dense in a MoE model."""
    num_moe_layers: NonNegativeInt = 0
    """Layers whose MLP is MoE; the other layers are dense."""
    router_bias: bool = False
    """One bias an expert in the router."""
    tower_parameters: NonNegativeInt = 0
    """Parameters of other towers in the checkpoint (vision), which text does not visit but GPUs hold."""
    num_nextn_predict_layers: NonNegativeInt = 0
    """Multi-token-prediction layers in the checkpoint beyond `num_hidden_layers`."""

    sliding_window: PositiveInt | None = None
    """Tokens a sliding-window layer attends to; None: every layer is full attention."""
    num_sliding_layers: NonNegativeInt = 0
    """Layers with a sliding window."""

    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """Type of the checkpoint's weights that are not quantised."""
    quantization: Scheme | None = None
    """Type of the checkpoint's quantised weights; None: not quantised."""
    quantized_modules: Modules | None = None
    """What is quantised: all linear layers but the head, or the routed experts alone."""

    source: Text
    """Where the shape was published; for a short form, what was asked."""
    notes: tuple[str, ...] = ()
    """What was derived or assumed, and by which rule, one sentence each."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield the contradictions between fields."""
        heads, kv_heads = self.num_attention_heads, self.num_key_value_heads
        if kv_heads > heads:
            yield "num_key_value_heads", f"{kv_heads} key-value heads cannot serve only {heads} query heads"
        elif heads % kv_heads:
            yield "num_attention_heads", f"{heads} query heads cannot share {kv_heads} key-value heads evenly"
        yield from self._mla_problems()
        yield from self._moe_problems()
        if (self.sliding_window is None) != (self.num_sliding_layers == 0):
            yield "sliding_window", "sliding_window and num_sliding_layers must be given together"
        if self.num_sliding_layers > self.num_hidden_layers:
            yield "num_sliding_layers", f"{self.num_sliding_layers} of only {self.num_hidden_layers} layers"
        if (self.quantization is None) != (self.quantized_modules is None):
            yield "quantization", "quantization and quantized_modules must be given together"

    def _mla_problems(self) -> Iterator[tuple[str, str]]:
        widths = ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
        if self.kv_lora_rank is None:
            given = [name for name in ("q_lora_rank", *widths) if getattr(self, name)]
            if given:
                yield "kv_lora_rank", f"missing, but {', '.join(given)} are given: MLA needs it, other kinds need none"
            return
        missing = [name for name in widths if not getattr(self, name)]
        if missing:
            yield "kv_lora_rank", f"MLA also needs {', '.join(missing)}"
        elif self.head_dim != self.qk_nope_head_dim + self.qk_rope_head_dim:
            yield "head_dim", f"must be qk_nope_head_dim + qk_rope_head_dim for MLA, got {self.head_dim}"
        if self.num_key_value_heads != self.num_attention_heads:
            yield "num_key_value_heads", "must equal num_attention_heads for MLA, which shares a latent, not heads"

    def _moe_problems(self) -> Iterator[tuple[str, str]]:
        needed = ("num_experts", "num_experts_per_tok", "moe_intermediate_size")
        if self.num_moe_layers == 0:
            given = [name for name in (*needed, "n_shared_experts", "first_k_dense_replace") if getattr(self, name)]
            if given:
                yield "num_moe_layers", f"no MoE layer, but {', '.join(given)} are given"
            return
        missing = [name for name in needed if not getattr(self, name)]
        if missing:
            yield "num_moe_layers", f"MoE layers also need {', '.join(missing)}"
        if self.num_experts_per_tok > self.num_experts:
            yield "num_experts_per_tok", f"{self.num_experts_per_tok} of only {self.num_experts} experts"
        if (self.n_shared_experts == 0) != (self.shared_expert_intermediate_size == 0):
            yield "n_shared_experts", "n_shared_experts and shared_expert_intermediate_size must be given together"
        if self.num_moe_layers + self.first_k_dense_replace > self.num_hidden_layers:
            layers = f"{self.num_moe_layers} MoE and {self.first_k_dense_replace} leading dense layers"
            yield "num_moe_layers", f"{layers} are more than the {self.num_hidden_layers} there are"

    @property
    def attention(self) -> Attention:
        """Kind of attention: mla, mha, mqa or gqa."""
        if self.kv_lora_rank is not None:
            return "mla"
        if self.num_key_value_heads == self.num_attention_heads:
            return "mha"
        return "mqa" if self.num_key_value_heads == 1 else "gqa"

    @property
    def is_moe(self) -> bool:
        """True if any layer has routed experts."""
        return self.num_moe_layers > 0

    @property
    def num_dense_layers(self) -> int:
        """Layers whose MLP is dense."""
        return self.num_hidden_layers - self.num_moe_layers

    @property
    def num_full_attention_layers(self) -> int:
        """Layers that attend to the whole context."""
        return self.num_hidden_layers - self.num_sliding_layers


def read_model(text: str, filename: str | None = None) -> ModelSpec:
    """Return the model that a text describes, in whichever of the forms it is written.

    Parameters
    ----------
    text
        A Hugging Face config.json; the fields of `ModelSpec` as YAML; a short form, as a mapping with `parameters` or
        as one phrase such as "70B, 8 KV heads, 128k vocabulary".
    filename
        Where it was read, for messages; its stem (of a `config.json` its folder's name) names the model.

    Returns
    -------
    ModelSpec
        The shape.

    Raises
    ------
    SpecError
        Every problem found, with file and line.
    """
    # These build on this module: they are the ways to a ModelSpec, and each may be used alone.
    from sim.spec.hf import is_config, read_config
    from sim.spec.short import read_short

    # JSON may be indented with tabs, which YAML does not allow; lines stay where they are.
    document = read_text(text.expandtabs(2) if text.lstrip().startswith("{") else text, filename)
    name = _stem(filename)
    if isinstance(document.data, str) or (isinstance(document.data, dict) and "parameters" in document.data):
        return read_short(document, name)
    if is_config(document.data):
        return read_config(document, name or "model")
    if not isinstance(document.data, dict):
        raise SpecError(Problem("expected a model: a config.json, or fields such as parameters: 70B", filename, 1))
    document.data.setdefault("name", name or "model")
    return ModelSpec.from_document(document)


def _stem(filename: str | None) -> str | None:
    """Return the name that a file gives its model."""
    if not filename:
        return None
    path = PurePath(filename)
    return (path.parent.name or "model") if path.stem == "config" else path.stem
