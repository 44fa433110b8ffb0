"""The short form as a phrase: "70B, 8 KV heads, 128k vocabulary" -> `ShortForm` -> `ModelSpec`."""

from __future__ import annotations

import re
from typing import Any, Final

from sim.errors import Problem, SpecError
from sim.spec.model import ModelSpec
from sim.spec.shape import ShortForm, derive
from sim.spec.text import Document

_N: Final = r"(\d[\d,_]*)"
_PHRASES: Final = (
    ("parameters", r"(\d[\d.,_]*\s*[MBT])(?:illion)?(?:\s+param(?:eter)?s?)?"),
    ("num_key_value_heads", rf"{_N}\s+(?:kv|key-value|key/value)[\s-]heads?"),
    ("num_attention_heads", rf"{_N}\s+(?:query\s+|attention\s+)?heads"),
    ("head_dim", rf"head[\s_](?:dim|width|size)\s+{_N}|heads?\s+of\s+(?:width\s+)?{_N}"),
    ("attention", r"(mha|gqa|mqa|mla)"),
    ("gqa", r"gqa[-\s](\d+)"),
    ("vocab_size", r"(\d[\d.,_]*\s*k?)\s*(?:vocab(?:ulary)?|tokens?\s+vocab(?:ulary)?)"),
    ("max_position_embeddings", r"(\d[\d.,_]*\s*[kM]?)\s*context"),
    ("num_hidden_layers", rf"{_N}\s+layers"),
    ("first_k_dense_replace", rf"{_N}\s+(?:leading\s+)?dense\s+layers?"),
    ("hidden_size", rf"(?:hidden|width)(?:[\s_]size)?\s+{_N}|{_N}\s+(?:hidden|wide)"),
    ("num_experts", rf"{_N}\s+(?:routed\s+)?experts"),
    ("num_experts_per_tok", rf"top[-\s]{_N}|{_N}\s+active(?:\s+experts)?|{_N}\s+(?:experts\s+)?per\s+token"),
    ("n_shared_experts", rf"{_N}\s+shared(?:\s+experts?)?"),
    ("tie_word_embeddings", r"(tied|untied)(?:\s+embeddings?)?"),
)
_EXAMPLES: Final = (
    '"70B", "8 KV heads", "MQA", "MHA", "MLA", "GQA-8", "64 heads", "head_dim 128", "80 layers", "hidden 8192", '
    '"128k vocabulary", "128k context", "64 experts", "8 active", "1 shared", "3 dense layers", "tied embeddings"'
)
_FIRST: Final = re.compile(rf"\s*(?:{_PHRASES[0][1]})\s*(?:,|;|$)", re.IGNORECASE)


def is_short(text: str) -> bool:
    """Tell whether a text is a short form (it begins with a size, such as 70B) and not a name or path."""
    return _FIRST.match(text) is not None


def read_short(document: Document, name: str | None = None) -> ModelSpec:
    """Return the model that a short form describes.

    Parameters
    ----------
    document
        A text such as "70B, 8 KV heads, 128k vocabulary", or a mapping of the fields of `ShortForm`.
    name
        Name of the model; by default the text itself.

    Returns
    -------
    ModelSpec
        A shape of that size; its notes say what was derived.

    Raises
    ------
    SpecError
        Phrases that are not understood, contradictions, or no plausible shape: all at once where that can be.
    """
    data = document.data
    if isinstance(data, str):
        data = read_phrases(data, document) | {"name": name or data, "source": f'short form "{data}"'}
    else:
        data = ({"name": name} if name else {}) | data
    try:
        return derive(ShortForm.from_document(Document(data, document.file, document.places)))
    except SpecError as error:
        problems = [p if p.file else document.problem(tuple(p.path.split(".")), p.message) for p in error.problems]
        raise SpecError(*problems) from None


def read_phrases(text: str, document: Document) -> dict[str, Any]:
    """Return the fields of `ShortForm` that the phrases of a text name; raises SpecError for those not understood."""
    fields: dict[str, Any] = {}
    problems: list[Problem] = []
    for phrase in re.split(r"[;\n]|,(?!\d{3}\b)", text):
        phrase = " ".join(phrase.split())
        if not phrase:
            continue
        found = _phrase(phrase)
        if not found:
            problems.append(document.problem((), f'"{phrase}" is not understood. Write phrases such as {_EXAMPLES}'))
        for field, value in found.items():
            if field in fields:
                problems.append(document.problem((), f'"{phrase}": {field} is given twice'))
            fields[field] = value
    SpecError.raise_if(problems)
    return fields


def _phrase(phrase: str) -> dict[str, Any]:
    """Return the fields that one phrase names; nothing if it is not understood."""
    for field, pattern in _PHRASES:
        match = re.fullmatch(pattern, phrase, re.IGNORECASE)
        if match is None:
            continue
        value = next(group for group in match.groups() if group).replace(",", "").replace(" ", "")
        if field == "gqa":
            return {"attention": "gqa", "num_key_value_heads": int(value)}
        if field == "attention":
            return {field: value.lower()}
        if field == "tie_word_embeddings":
            return {field: value.lower() == "tied"}
        if field in ("parameters", "vocab_size", "max_position_embeddings"):
            return {field: value.upper() if field == "parameters" else value.replace("K", "k")}
        return {field: int(value.replace("_", ""))}
    return {}
