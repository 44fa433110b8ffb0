"""Shapes: parameters, matrices, FLOPs and cache bytes that follow from a model's architecture alone."""

from __future__ import annotations

from dataclasses import dataclass

from sim.spec.model import ModelSpec


@dataclass(frozen=True)
class Matrix:
    """One weight matrix as a GPU holds it: it turns `depth` inputs into `width` outputs."""

    name: str
    depth: int
    """Inner dimension k, the number of inputs."""
    width: int
    """Outer dimension n, the number of outputs."""

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.depth * self.width


@dataclass(frozen=True)
class Parameters:
    """Parameter counts of a model; `*_layer` are per layer."""

    embedding: int
    """Input embedding."""
    head: int
    """Output head; 0 where it shares the embedding's weights."""
    attention_layer: int
    """Attention of one layer: projections, biases, norms of queries, keys and latents, sinks."""
    dense_mlp_layer: int
    """MLP of one dense layer."""
    router_layer: int
    """Router of one MoE layer."""
    expert: int
    """One routed expert."""
    shared_experts_layer: int
    """All shared experts of one MoE layer."""
    norms: int
    """Layer norms of the whole model, the final one included."""
    total: int
    """All parameters, multi-token-prediction layers left out."""
    active: int
    """Parameters that one token visits; the input embedding (one row is read) is not counted."""


def parameters(model: ModelSpec) -> Parameters:
    """Count the parameters of a model exactly.

    Parameters
    ----------
    model : the architecture, in Hugging Face's words

    Returns
    -------
    counts, per part and in total

    Notes
    -----
    Sizes of the matrices as in Hugging Face's modelling files. An MLP has three matrices of
    hidden x intermediate (gate, up, down) if gated, else two; every layer has two norms of width hidden.
    """
    h = model.hidden_size
    embedding = model.vocab_size * h
    head = 0 if model.tie_word_embeddings else embedding
    attention = _attention_parameters(model)
    dense = _mlp_parameters(model, model.intermediate_size)
    expert = _mlp_parameters(model, model.moe_intermediate_size) if model.is_moe else 0
    shared = _mlp_parameters(model, model.shared_expert_intermediate_size) if model.n_shared_experts else 0
    router = (h + model.router_bias) * model.num_experts
    norms = (2 * model.num_hidden_layers + 1) * h
    always = (
        norms
        + model.num_hidden_layers * attention
        + model.num_dense_layers * dense
        + model.num_moe_layers * (router + shared)
    )
    return Parameters(
        embedding=embedding,
        head=head,
        attention_layer=attention,
        dense_mlp_layer=dense,
        router_layer=router,
        expert=expert,
        shared_experts_layer=shared,
        norms=norms,
        total=embedding + head + always + model.num_moe_layers * model.num_experts * expert,
        active=head_parameters(model) + always + model.num_moe_layers * model.num_experts_per_tok * expert,
    )


def head_parameters(model: ModelSpec) -> int:
    """Parameters of the output head, be it shared with the embedding or not."""
    return model.vocab_size * model.hidden_size


def _attention_parameters(model: ModelSpec) -> int:
    """Parameters of one layer's attention."""
    h, heads = model.hidden_size, model.num_attention_heads
    projections = sum(matrix.size for matrix in attention_matrices(model))
    if model.kv_lora_rank is not None:
        return projections + model.kv_lora_rank + (model.q_lora_rank or 0)
    kv = model.num_key_value_heads
    biases = (heads + 2 * kv) * model.head_dim * model.attention_bias + h * model.attention_output_bias
    return projections + biases + 2 * model.head_dim * model.qk_norm + heads * model.attention_sinks


def _mlp_parameters(model: ModelSpec, width: int) -> int:
    """Parameters of one MLP of a given intermediate width."""
    h, inputs = model.hidden_size, 2 if model.gated_mlp else 1
    biases = (inputs * width + h) * model.mlp_bias
    return (inputs + 1) * h * width + biases


def attention_matrices(model: ModelSpec, tensor_parallel_size: int = 1) -> tuple[Matrix, ...]:
    """Weight matrices of one layer's attention as one GPU holds them.

    Parameters
    ----------
    model : the architecture
    tensor_parallel_size : GPUs among which the heads are split; fewer key-value heads than that are copied

    Returns
    -------
    tuple of Matrix
        Grouped-query attention: qkv and o. MLA: down-projections (on every GPU in full), up-projections and o; the
        absorbed decode multiplies by the same matrices in another order (DeepSeek-V2, arXiv:2405.04434, section 2.1).
    """
    tp, h = tensor_parallel_size, model.hidden_size
    heads = model.num_attention_heads // tp
    if model.kv_lora_rank is None:
        kv_heads = max(model.num_key_value_heads // tp, 1)
        return (
            Matrix("qkv", h, (heads + 2 * kv_heads) * model.head_dim),
            Matrix("o", heads * model.head_dim, h),
        )
    rank, rope = model.kv_lora_rank, model.qk_rope_head_dim
    query_width = heads * (model.qk_nope_head_dim + rope)
    kv_b = Matrix("kv_b", rank, heads * (model.qk_nope_head_dim + model.v_head_dim))
    o = Matrix("o", heads * model.v_head_dim, h)
    if model.q_lora_rank is None:
        return Matrix("kv_a", h, rank + rope), Matrix("q", h, query_width), kv_b, o
    return (
        Matrix("qkv_a", h, model.q_lora_rank + rank + rope),
        Matrix("q_b", model.q_lora_rank, query_width),
        kv_b,
        o,
    )


def mlp_matrices(model: ModelSpec, width: int, tensor_parallel_size: int = 1) -> tuple[Matrix, ...]:
    """Weight matrices of one MLP of intermediate width `width` as one GPU holds them."""
    h, share = model.hidden_size, -(-width // tensor_parallel_size)
    first = Matrix("gate_up", h, 2 * share) if model.gated_mlp else Matrix("up", h, share)
    return first, Matrix("down", share, h)


def head_matrix(model: ModelSpec, tensor_parallel_size: int = 1) -> Matrix:
    """Output head as one GPU holds it: its share of the vocabulary."""
    return Matrix("head", model.hidden_size, -(-model.vocab_size // tensor_parallel_size))


def kv_bytes_per_token_layer(model: ModelSpec, value_bytes: float, tensor_parallel_size: int = 1) -> float:
    r"""Cache bytes of one token in one layer on one GPU [B].

    Parameters
    ----------
    model : the architecture
    value_bytes : bytes of one cached value: 2 for bf16, 1 for fp8 [B]
    tensor_parallel_size : GPUs that share the key-value heads; the latent of MLA is on every GPU in full

    Notes
    -----
    .. math:: 2 \cdot \max(h_{kv}/tp, 1) \cdot d \cdot b \qquad\text{or, for MLA,}\qquad (r_{kv} + d_{rope}) b
    """
    if model.kv_lora_rank is not None:
        return (model.kv_lora_rank + model.qk_rope_head_dim) * value_bytes
    return 2 * max(model.num_key_value_heads // tensor_parallel_size, 1) * model.head_dim * value_bytes


def kv_bytes_per_sequence(model: ModelSpec, context_tokens: int, value_bytes: float) -> float:
    """Cache bytes of one sequence in all layers of one copy of the model [B].

    Full-attention layers keep every token, sliding-window layers at most the last `sliding_window` of them.
    """
    window = min(context_tokens, model.sliding_window or context_tokens)
    kept = model.num_full_attention_layers * context_tokens + model.num_sliding_layers * window
    return kept * kv_bytes_per_token_layer(model, value_bytes)


def linear_flops_per_token(model: ModelSpec) -> float:
    """FLOPs of one token in all matrix products, the output head included [FLOP]: 2 per weight visited."""
    attention = sum(matrix.size for matrix in attention_matrices(model))
    dense = sum(matrix.size for matrix in mlp_matrices(model, model.intermediate_size))
    moe = model.hidden_size * model.num_experts
    for width, copies in (
        (model.moe_intermediate_size, model.num_experts_per_tok),
        (model.shared_expert_intermediate_size, 1),
    ):
        moe += copies * sum(matrix.size for matrix in mlp_matrices(model, width))
    layers = model.num_hidden_layers * attention + model.num_dense_layers * dense + model.num_moe_layers * moe
    return 2.0 * (layers + head_parameters(model))


def attention_flops_per_pair_layer(model: ModelSpec, tensor_parallel_size: int = 1) -> float:
    """FLOPs of one query x context pair in one layer's prefill attention on one GPU [FLOP].

    Two products, scores and values, of 2 FLOP per head and channel: 4 d a head; for MLA 2 (d_qk + d_v).
    """
    heads = model.num_attention_heads / tensor_parallel_size
    value_width = model.v_head_dim if model.kv_lora_rank is not None else model.head_dim
    return 2.0 * heads * (model.head_dim + value_width)


def training_attention_flops_per_token(model: ModelSpec, context_tokens: float) -> float:
    r"""FLOPs of attention over the context for each token of a training sequence [FLOP].

    A token of a causal sequence of s tokens attends to s / 2 on average, forward and twice backward:

    .. math:: 3 \cdot \tfrac{s}{2} \cdot n_{layers} \cdot 2 h (d_{qk} + d_v)

    (PaLM's MFU, arXiv:2204.02311, appendix B, halved for causality). A sliding window holds at most itself.
    """
    window = min(model.sliding_window or context_tokens, context_tokens / 2)
    pairs = model.num_full_attention_layers * context_tokens / 2 + model.num_sliding_layers * window
    return 3.0 * pairs * attention_flops_per_pair_layer(model)


def decode_flops_per_token_layer(model: ModelSpec, tensor_parallel_size: int = 1) -> float:
    """FLOPs of one decoding query per context token in one layer on one GPU [FLOP].

    As in prefill, but MLA decodes absorbed: each head compares with the latent of width r + d_rope and sums r values.
    """
    if model.kv_lora_rank is None:
        return attention_flops_per_pair_layer(model, tensor_parallel_size)
    heads = model.num_attention_heads / tensor_parallel_size
    return 2.0 * heads * (2 * model.kv_lora_rank + model.qk_rope_head_dim)
