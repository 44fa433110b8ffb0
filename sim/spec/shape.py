"""The short form of a model: a size and a few wishes -> a whole, plausible shape, and the rules that gave it.

Rules are read off published config.json files (in `models/` where they are ours too):

- width and depth: on the line through Llama-3.2-1B, 3.2-3B, 3.1-8B, 2-13B, 3.1-70B and 3.1-405B (up to a width of 2048,
  where the grid of widths is coarse, also with fewer layers);
- head_dim 128 (Llama 2 and 3), and 64 below a width of 3072 (Llama-3.2-1B);
- MLP width: 3.5 x hidden (Llama-3.1-8B and 70B, Mistral), 8/3 x hidden under MHA (Llama-2-7B and 13B), then moved so
  that the parameters come out as asked;
- experts: active width 3 x hidden (Qwen3-30B-A3B, 235B-A22B); dense layers as wide as the active experts (DeepSeek-V3);
- MLA: ranks and head widths of DeepSeek-V3; queries compressed from a width of 4096 on (DeepSeek-V2-Lite does not);
- embeddings tied below 4B parameters (Llama-3.2-1B and 3B, Qwen3-0.6B and 1.7B; not from 8B on).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator

from sim import units
from sim.errors import Problem, SpecError
from sim.spec.base import NonNegativeInt, PositiveInt, PositiveNumber, Spec, Text
from sim.spec.model import ModelSpec

TOLERANCE_FRAC: Final = 0.03
"""Largest difference between the parameters asked for and those of the shape (ours to promise)."""
_DEPTHS: Final = ((0, 0), (2048, 16), (3072, 28), (4096, 32), (5120, 40), (8192, 80), (16384, 126))
"""(hidden_size, num_hidden_layers) of Llama-3.2-1B, 3.2-3B, 3.1-8B, 2-13B, 3.1-70B and 3.1-405B."""
_TIED_BELOW: Final = 4e9
_STEPS: Final = (256, 128, 64, 32, 16, 8)
"""Multiples an MLP width may be rounded to: GPUs like them large, the parameter count likes them small."""
MLA: Final = {"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
_Q_LORA_RANK: Final = 1536


def _count_of(thousand: int) -> BeforeValidator:
    """Return the validator of a whole number that may be written with k or M, a k being `thousand`."""

    def read(value: Any) -> Any:
        if isinstance(value, str) and value[-1:] in ("k", "K", "M"):
            number = units.parse(value[:-1]) * thousand ** (1 if value[-1] in "kK" else 2)
            return int(number) if number == int(number) else number
        return value

    return BeforeValidator(read)


VocabularySize = Annotated[PositiveInt, _count_of(1000)]
"""Size of a vocabulary; `128k` is 128,000."""
ContextLength = Annotated[PositiveInt, _count_of(1024)]
"""Length of a context [tokens]; `128k` is 131,072, as the field counts contexts."""


class ShortForm(Spec):
    """What a user may say of a model: the number of parameters, and whatever else matters."""

    name: Text = "short-form"
    """Name of the model."""
    parameters: PositiveNumber
    """Parameters in all, experts included, such as `70B`."""
    attention: Literal["mha", "gqa", "mqa", "mla"] | None = None
    """Kind of attention; by default what the number of KV heads says, else GQA."""
    num_key_value_heads: PositiveInt | None = None
    """KV heads a layer; by default 8 (as in all of Llama 3)."""
    num_attention_heads: PositiveInt | None = None
    """Query heads a layer."""
    head_dim: PositiveInt | None = None
    """Width of a head."""
    hidden_size: PositiveInt | None = None
    """Width of the residual stream."""
    num_hidden_layers: PositiveInt | None = None
    """Decoder layers."""
    vocab_size: VocabularySize = 128_256
    """Vocabulary, rounded up to a multiple of 256; `128k` is 128,000. By default that of Llama 3."""
    tokenizer: Text | None = None
    """Name of its tokenizer; by default the size of the vocabulary stands for it."""
    max_position_embeddings: ContextLength = 131_072
    """Longest context [tokens]; `128k` is 131,072, as the field counts contexts. By default that of Llama 3.1."""
    tie_word_embeddings: bool | None = None
    """Whether the head shares the embedding; by default true below 4B parameters."""
    num_experts: NonNegativeInt = 0
    """Routed experts a MoE layer; 0: a dense model."""
    num_experts_per_tok: PositiveInt | None = None
    """Experts each token visits; by default 2 of up to 16 (Mixtral), 8 of more (Qwen3, DeepSeek-V3)."""
    n_shared_experts: NonNegativeInt = 0
    """Experts every token visits."""
    first_k_dense_replace: NonNegativeInt = 0
    """Leading dense layers of a MoE model."""
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """Type of the weights."""
    source: Text = "short form"
    """Where the wishes come from."""
    notes: tuple[str, ...] = ()
    """What the reader of the model should know."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield the wishes that contradict each other."""
        kv = self.num_key_value_heads
        if kv is not None and self.attention in ("mha", "mla"):
            yield "num_key_value_heads", f"{self.attention.upper()} sets the KV heads; give one of the two"
        if kv not in (None, 1) and self.attention == "mqa":
            yield "num_key_value_heads", f"MQA has one KV head, got {kv}"
        if self.num_experts == 0:
            for name in ("num_experts_per_tok", "n_shared_experts", "first_k_dense_replace"):
                if getattr(self, name):
                    yield name, "given, but num_experts is not: how many experts are there?"
        elif (self.num_experts_per_tok or 0) > self.num_experts:
            yield "num_experts_per_tok", f"{self.num_experts_per_tok} of only {self.num_experts} experts"
        if self.attention == "mla" and self.head_dim is not None:
            yield "head_dim", "MLA takes its head widths from DeepSeek-V3; leave head_dim out"


@dataclass(frozen=True)
class _Frame:
    """A width and a depth with their heads; the MLP is still open."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    fixed: int
    """Parameters that do not depend on the MLP's width."""
    per_width: int
    """Parameters that one unit of MLP (or expert) width adds."""
    ideal: float
    """MLP (or expert) width that published models would have."""

    def count(self, width: float) -> float:
        """Return the parameters at an MLP width."""
        return self.fixed + self.per_width * width

    @property
    def step(self) -> int:
        """The largest multiple whose rounding moves the count by 1 % at most."""
        allowed = 0.02 * self.count(self.ideal)
        return next((step for step in _STEPS if step * self.per_width <= allowed), _STEPS[-1])


def derive(short: ShortForm) -> ModelSpec:
    """Return a plausible shape with the parameters asked for.

    Parameters
    ----------
    short
        The size and the wishes.

    Returns
    -------
    ModelSpec
        A shape within `TOLERANCE_FRAC` of the parameters asked for; its notes say what was derived and by which rule.
        Asking for more parameters never gives fewer.

    Raises
    ------
    SpecError
        No plausible shape meets the wishes.
    """
    asked = short.parameters
    tied = asked < _TIED_BELOW if short.tie_word_embeddings is None else short.tie_word_embeddings
    vocab = -(-short.vocab_size // 256) * 256
    frames = sorted(_frames(short, vocab, tied=tied), key=lambda frame: frame.count(frame.ideal))
    if not frames:
        raise SpecError(Problem(_no_frame(short), path="num_attention_heads"))
    # Each frame serves the sizes around its ideal one, up to the geometric middle between neighbours.
    bounds = [math.sqrt(a.count(a.ideal) * b.count(b.ideal)) for a, b in pairwise(frames)]
    place = sum(bound <= asked for bound in bounds)
    low, high = [0.0, *bounds][place], [*bounds, math.inf][place]
    if short.tie_word_embeddings is None:
        low, high = (low, min(high, _TIED_BELOW)) if tied else (max(low, _TIED_BELOW), high)
    frame = frames[place]
    width = _width(frame, asked, low, high)
    _check(short, frame, width, vocab, tied=tied)
    return _model(short, frame, width, vocab, tied=tied)


def _width(frame: _Frame, asked: float, low: float, high: float) -> int:
    """Return the rounded MLP width nearest to what was asked whose count stays within the frame's bounds."""
    step = frame.step
    width = step * round((asked - frame.fixed) / frame.per_width / step)
    if frame.count(width) < low:
        return width + step
    return width - step if frame.count(width) > high else width


def _frames(short: ShortForm, vocab: int, *, tied: bool) -> Iterator[_Frame]:
    """Yield the widths and depths that the wishes leave open."""
    for hidden, layers in _sizes(short):
        head_dim = short.head_dim or (64 if hidden < 3072 else 128)
        heads = short.num_attention_heads or hidden // head_dim
        if short.hidden_size and short.num_attention_heads and not short.head_dim and hidden % heads == 0:
            head_dim = hidden // heads
        kv_heads = _kv_heads(short, heads)
        whole = heads > 0 and heads % kv_heads == 0 and (short.num_attention_heads or hidden % head_dim == 0)
        if whole and layers > short.first_k_dense_replace:
            yield _frame(short, hidden, layers, (heads, kv_heads, head_dim), (1 if tied else 2) * vocab)


def _sizes(short: ShortForm) -> Iterator[tuple[int, int]]:
    """Yield the widths and depths to choose from; each has more parameters than the one before."""
    if short.hidden_size:
        for layers in [short.num_hidden_layers] if short.num_hidden_layers else range(1, 257):
            yield short.hidden_size, layers
        return
    above = 0
    for hidden in [512 * i for i in range(1, 6)] + [1024 * i for i in range(3, 65)]:
        depth = short.num_hidden_layers or _depth(hidden)
        fewest = depth if hidden > 2048 or short.num_hidden_layers else above + 1
        yield from ((hidden, layers) for layers in range(fewest, depth + 1))
        above = depth


def _kv_heads(short: ShortForm, heads: int) -> int:
    if short.attention in ("mha", "mla"):
        return heads
    if short.attention == "mqa":
        return 1
    return short.num_key_value_heads or 8


def _depth(hidden: int) -> int:
    """Return the number of layers that goes with a width, between and beyond the published ones."""
    for (w0, d0), (w1, d1) in pairwise(_DEPTHS):
        if hidden <= w1:
            return max(1, round(d0 + (d1 - d0) * (hidden - w0) / (w1 - w0)))
    return round(hidden * _DEPTHS[-1][1] / _DEPTHS[-1][0])


def _experts_per_token(short: ShortForm) -> int:
    return short.num_experts_per_tok or min(short.num_experts, 2 if short.num_experts <= 16 else 8)


def _frame(short: ShortForm, hidden: int, layers: int, heads: tuple[int, int, int], embedding_rows: int) -> _Frame:
    """Return the frame of a width and a depth, with the parameters it has at any MLP width."""
    num_heads, kv_heads, head_dim = heads
    attention = 2 * hidden * head_dim * (num_heads + kv_heads)
    if short.attention == "mla":
        attention = _mla_parameters(hidden, num_heads)
    fixed = embedding_rows * hidden + layers * (attention + 2 * hidden) + hidden
    if not short.num_experts:
        ratio = 8 / 3 if kv_heads == num_heads and short.attention != "mla" else 3.5
        return _Frame(hidden, layers, num_heads, kv_heads, head_dim, fixed, 3 * hidden * layers, ratio * hidden)
    active = _experts_per_token(short) + short.n_shared_experts
    moe = layers - short.first_k_dense_replace
    fixed += moe * hidden * short.num_experts
    held = moe * (short.num_experts + short.n_shared_experts) + short.first_k_dense_replace * active
    return _Frame(hidden, layers, num_heads, kv_heads, head_dim, fixed, 3 * hidden * held, 3 * hidden / active)


def _mla_parameters(hidden: int, heads: int) -> int:
    """Return the parameters of one MLA layer (DeepSeek-V3: compressed queries, one shared latent, its norms)."""
    latent, nope, rope, value = MLA.values()
    rank = q_lora_rank(hidden)
    query = heads * (nope + rope)
    queries = hidden * rank + rank + rank * query if rank else hidden * query
    keys_values = hidden * (latent + rope) + latent + latent * heads * (nope + value)
    return queries + keys_values + heads * value * hidden


def q_lora_rank(hidden: int) -> int | None:
    """Return the rank that MLA's queries are compressed to, or None where they are not."""
    return _Q_LORA_RANK if hidden >= 4096 else None


def _no_frame(short: ShortForm) -> str:
    kv = _kv_heads(short, short.num_attention_heads or 0)
    given = {
        "hidden_size": short.hidden_size,
        "num_attention_heads": short.num_attention_heads,
        "head_dim": short.head_dim,
    }
    said = ", ".join(f"{name} {value}" for name, value in given.items() if value)
    with_these = f" with {said}" if said else ""
    return f"no width has whole heads that {kv} KV heads share evenly{with_these}; give fewer of these"


def _check(short: ShortForm, frame: _Frame, width: int, vocab: int, *, tied: bool) -> None:
    """Raise if the wishes leave no plausible shape of the size asked for."""
    asked, got = short.parameters, frame.count(width)
    size = f"{frame.layers} layers of width {frame.hidden}"
    if frame.fixed >= asked:
        table = vocab * frame.hidden * (1 if tied else 2)
        message = (
            f"{asked:.4g} parameters are too few: {size} have {frame.fixed:.4g} without any MLP, {table:.4g} of them "
        )
        raise SpecError(Problem(f"{message}for a vocabulary of {vocab:,}", path="parameters"))
    if not 0.25 <= width / frame.ideal <= 4 or abs(got - asked) > TOLERANCE_FRAC * asked:
        what = "experts" if short.num_experts else "an MLP"
        message = (
            f"{asked:.4g} parameters in {size} would need {what} of width {width:,}, where published models have about "
        )
        advice = "give fewer of hidden_size, num_hidden_layers and experts, or another size"
        raise SpecError(Problem(f"{message}{frame.ideal:,.0f}; {advice}", path="parameters"))


def _model(short: ShortForm, frame: _Frame, width: int, vocab: int, *, tied: bool) -> ModelSpec:
    """Return the finished model with its notes."""
    fields: dict[str, Any] = {
        "name": short.name,
        "architecture": "short-form",
        "hidden_size": frame.hidden,
        "num_hidden_layers": frame.layers,
        "num_attention_heads": frame.heads,
        "num_key_value_heads": frame.kv_heads,
        "head_dim": frame.head_dim,
        "intermediate_size": width,
        "vocab_size": vocab,
        "tokenizer": short.tokenizer,
        "max_position_embeddings": short.max_position_embeddings,
        "tie_word_embeddings": tied,
        "dtype": short.dtype,
        "source": short.source,
    }
    if short.attention == "mla":
        head_dim = MLA["qk_nope_head_dim"] + MLA["qk_rope_head_dim"]
        fields |= MLA | {"q_lora_rank": q_lora_rank(frame.hidden), "head_dim": head_dim}
    if short.num_experts:
        chosen = _experts_per_token(short)
        fields |= {
            "intermediate_size": width * (chosen + short.n_shared_experts),
            "num_experts": short.num_experts,
            "num_experts_per_tok": chosen,
            "moe_intermediate_size": width,
            "n_shared_experts": short.n_shared_experts,
            "shared_expert_intermediate_size": width * short.n_shared_experts,
            "first_k_dense_replace": short.first_k_dense_replace,
            "num_moe_layers": frame.layers - short.first_k_dense_replace,
        }
    return ModelSpec(**fields, notes=(*short.notes, *_notes(short, frame, width, vocab, tied=tied)))


def _notes(short: ShortForm, frame: _Frame, width: int, vocab: int, *, tied: bool) -> Iterator[str]:
    """Yield what was derived, and by which rule."""
    got = frame.count(width)
    yield f"{got:,.0f} parameters, {got / short.parameters - 1:+.2%} from the {short.parameters:.4g} asked for"
    if not short.hidden_size or not short.num_hidden_layers:
        rule = "on the line through Llama-3.2-1B, 3.2-3B, 3.1-8B, 2-13B, 3.1-70B and 3.1-405B"
        yield f"hidden_size {frame.hidden} and num_hidden_layers {frame.layers}: {rule}"
    if not short.num_attention_heads:
        width_of_head = 128 if short.attention == "mla" else frame.head_dim
        rule = f"hidden_size / {width_of_head}; heads are 64 wide below a width of 3072, else 128, as in Llama 2 and 3"
        yield f"num_attention_heads {frame.heads}: {rule}"
    if short.attention == "mla":
        yield "MLA ranks and head widths: those of DeepSeek-V3"
    elif short.num_key_value_heads is None and short.attention in (None, "gqa"):
        yield "num_key_value_heads 8: not asked for; as in all of Llama 3"
    field = "moe_intermediate_size" if short.num_experts else "intermediate_size"
    rule = "active width 3 x hidden" if short.num_experts else f"{frame.ideal / frame.hidden:.2f} x hidden"
    solved = f"the multiple of {frame.step} that meets the size"
    yield f"{field} {width}: {solved}; published models would have about {frame.ideal:.0f} ({rule})"
    rounding = (
        "a multiple of 256 already"
        if vocab == short.vocab_size
        else f"{short.vocab_size:,} rounded up to a multiple of 256"
    )
    assumed = "" if "vocab_size" in short.model_fields_set else ", assumed as in Llama 3"
    yield f"vocab_size {vocab:,}: {rounding}{assumed}"
    if "max_position_embeddings" not in short.model_fields_set:
        yield f"max_position_embeddings {short.max_position_embeddings:,}: assumed, as in Llama 3.1"
    if short.tie_word_embeddings is None:
        yield f"embeddings {'tied' if tied else 'not tied'}: tied below 4B parameters, as in Llama 3.2 and Qwen3"
