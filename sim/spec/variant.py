"""A variant of a model: a name and what differs, "llama-3.1-70b, 64 KV heads" -> `ModelSpec`.

The rest of the shape stays as it is, so the number of parameters changes with the attention. (The entries
`meridian-1-70b-mha`, `-mqa` and `-mla` of the catalogue keep the parameters and change the MLP instead.)
"""

from __future__ import annotations

import re
from typing import Any, Final

from sim.errors import Problem, SpecError
from sim.spec.model import ModelSpec
from sim.spec.shape import MLA, q_lora_rank
from sim.spec.short import read_phrases
from sim.spec.text import Document

_MAY_CHANGE: Final = (
    "attention",
    "num_key_value_heads",
    "max_position_embeddings",
    "num_hidden_layers",
    "tie_word_embeddings",
)
_NO_MLA: Final = {
    "q_lora_rank": None,
    "kv_lora_rank": None,
    "qk_nope_head_dim": 0,
    "qk_rope_head_dim": 0,
    "v_head_dim": 0,
}


def parse_variant(text: str) -> tuple[str, str]:
    """Return the name in a text and the phrases that follow it, if any."""
    name, _, changes = text.partition(",")
    return name.strip(), changes.strip()


def vary(model: ModelSpec, changes: str) -> ModelSpec:
    """Return a model with some of its choices changed.

    Parameters
    ----------
    model
        The model to start from.
    changes
        Phrases of the short form: "64 KV heads", "MHA", "MQA", "GQA-4", "MLA", "32k context", "40 layers".

    Returns
    -------
    ModelSpec
        The variant, with a name made of both and a note of what was changed.

    Raises
    ------
    SpecError
        A phrase is not understood or changes more than a variant may, or the shape does not hold together.
    """
    fields = read_phrases(changes, Document(changes))
    other = [name for name in fields if name not in _MAY_CHANGE]
    if other:
        message = f"{', '.join(other)}: a variant may change {', '.join(_MAY_CHANGE)}; give the shape a file of its own"
        raise SpecError(Problem(f'"{model.name}, {changes}": {message}'))
    if "max_position_embeddings" in fields:
        fields["max_position_embeddings"] = _tokens(fields["max_position_embeddings"])
    fields |= _attention(model, fields.pop("attention", None), fields.get("num_key_value_heads"))
    if fields.get("num_hidden_layers", model.num_hidden_layers) != model.num_hidden_layers and (
        model.is_moe or model.sliding_window
    ):
        raise SpecError(Problem(f'"{model.name}, {changes}": its layers are not all alike; their number is fixed'))
    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{model.name} {changes}").strip("-").lower()
    note = f"{model.name} with {changes}; all else as there, so the parameters differ"
    return model.replace_all({**fields, "name": name, "notes": [*model.notes, note]})


def _attention(model: ModelSpec, kind: str | None, kv_heads: int | None) -> dict[str, Any]:
    """Return the fields that a change of the attention sets."""
    heads = model.num_attention_heads
    if kind == "mla":
        width = MLA["qk_nope_head_dim"] + MLA["qk_rope_head_dim"]
        rank = q_lora_rank(model.hidden_size)
        plain = {"attention_bias": False, "attention_output_bias": False, "qk_norm": False}
        return {**MLA, **plain, "q_lora_rank": rank, "head_dim": width, "num_key_value_heads": heads}
    if kind is None and kv_heads is None:
        return {}
    own = {"mha": heads, "mqa": 1, "gqa": 8}
    chosen = kv_heads or own[str(kind)]
    cleared = {**_NO_MLA, "head_dim": model.v_head_dim} if model.kv_lora_rank is not None else {}
    return {**cleared, "num_key_value_heads": chosen}


def _tokens(text: str) -> int:
    """Return a length such as 128k, a k being 1,024."""
    power = {"k": 1, "M": 2}.get(text[-1], 0)
    return int(float(text[: len(text) - bool(power)]) * 1024**power)
