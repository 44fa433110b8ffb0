"""Stage 2, architecture: from wishes to a model of the catalogue's kind, and what follows from its shape.

Rules of the shape: `sim/spec/shape.py`. A mixture of experts asked for by its active parameters has the width and depth
of the dense model of that size; the numbers of experts are those that come nearest to both counts.
Published: Mixtral 2 of 8, Qwen3 8 of 128, DeepSeek-V3 8 of 256, gpt-oss 4 of 128, Kimi K2 8 of 384.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sim import catalog
from sim.errors import Problem, SpecError
from sim.lifecycle.figures import Figure, Stage, computed
from sim.lifecycle.shapes import kv_bytes_per_token_layer, parameters
from sim.spec.lifecycle import Architecture
from sim.spec.model import ModelSpec
from sim.spec.shape import ShortForm, derive

if TYPE_CHECKING:
    from sim.lifecycle.plan import Plan

BF16_BYTES: Final = 2.0
_CLOSE_FRAC: Final = 0.01
"""Difference from the active parameters asked for that is as good as none."""
_TOLERANCE_FRAC: Final = 0.03
"""Largest difference from the active parameters asked for (ours to promise, as for all parameters)."""
_PER_TOKEN: Final = (8, 6, 4, 2, 1, 10, 12)
"""Experts a token visits that are tried, the most usual first."""
_EXPERTS: Final = (*range(4, 64, 2), *range(64, 513, 8))
"""Routed experts a layer that are tried."""


def shape(wishes: Architecture, name: str = "short-form") -> ModelSpec:
    """Return the model that an architecture means.

    Parameters
    ----------
    wishes
        A model of the catalogue by name, or the size and what else matters.
    name
        What a model that is made is called.

    Raises
    ------
    SpecError
        No such model, or no plausible shape.
    """
    if wishes.model is not None:
        return catalog.load_model(wishes.model)
    given = wishes.wishes | {"name": name, "source": "assumed: made by the rules of the short form from a lifecycle"}
    active = given.pop("active_parameters", None)
    try:
        return derive(ShortForm.from_dict(given)) if active is None else _mixture(given, active)
    except SpecError as error:
        raise SpecError(*(Problem(p.message, path=f"architecture.{p.path}") for p in error.problems)) from None


def _mixture(given: dict[str, object], active: float) -> ModelSpec:
    """Return the mixture of experts nearest to its active and total parameters."""
    shared = {"num_experts", "num_experts_per_tok", "n_shared_experts"}
    dense = derive(
        ShortForm.from_dict({key: item for key, item in given.items() if key not in shared} | {"parameters": active})
    )
    size = {"hidden_size": dense.hidden_size, "num_hidden_layers": dense.num_hidden_layers}
    found = _mixtures(given | size)
    best = min(found, key=lambda model: max(_miss(model, active), _CLOSE_FRAC), default=None)
    if best is None or _miss(best, active) > _TOLERANCE_FRAC:
        message = f"no mixture of experts {dense.hidden_size} wide has {active:.4g} of {given['parameters']:.4g} active"
        raise SpecError(Problem(message, path="active_parameters"))
    return best


def _miss(model: ModelSpec, active: float) -> float:
    """Return the difference from the active parameters asked for, as a part of them."""
    return abs(parameters(model).active / active - 1.0)


def _mixtures(given: dict[str, object]) -> Iterator[ModelSpec]:
    """Yield the plausible mixtures with these wishes."""
    experts = [given["num_experts"]] if "num_experts" in given else _EXPERTS
    visits = [given["num_experts_per_tok"]] if "num_experts_per_tok" in given else _PER_TOKEN
    for visited in visits:
        for count in experts:
            if visited == count:
                continue
            try:
                yield derive(ShortForm.from_dict(given | {"num_experts": count, "num_experts_per_tok": visited}))
            except SpecError:
                continue


def stage(plan: Plan) -> Stage:
    """Return what follows from the shape."""
    return Stage("architecture", "Stage 2: architecture", tuple(_figures(plan)))


def _figures(plan: Plan) -> Iterator[Figure]:
    model, counts, source = plan.model, plan.counts, plan.model.source
    counted = f"computed: from the shape of {model.name}"
    yield Figure("parameters", counts.total, "1", counted, note=f"{model.attention} attention, {source}")
    yield Figure("active parameters", counts.active, "1", counted, note="visited by a token, input embedding left out")
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size"):
        yield Figure(name, getattr(model, name), "1", source)
    if model.is_moe:
        for name in ("num_experts", "num_experts_per_tok", "n_shared_experts", "moe_intermediate_size"):
            yield Figure(name, getattr(model, name), "1", source)
    yield Figure("vocab_size", model.vocab_size, "tokens", source)
    share = (counts.embedding + counts.head) / counts.total
    yield Figure("embedding and head", share, "of the parameters", counted)
    yield Figure("max_position_embeddings", model.max_position_embeddings, "tokens", source)
    yield computed("weights", "GB", "2 B x parameters", lambda n: BF16_BYTES * n / 1e9, counts.total, note="bf16")
    kv_kb = model.num_hidden_layers * kv_bytes_per_token_layer(model, BF16_BYTES) / 1e3
    yield Figure("KV cache of a token", kv_kb, "kB", f"{counted}, bf16")
    context_gb = kv_kb * model.max_position_embeddings / 1e6
    yield Figure("KV cache of a whole context", context_gb, "GB", f"{counted}, bf16", note="sliding windows left out")
