"""Drafters: a layer on the target model, or a smaller model; how long a pass takes and what memory it needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sim.cost.attention import PrefillTerms
from sim.cost.machine import Machine
from sim.cost.memory import PLAIN_BYTES, Draft, weights_bytes
from sim.cost.precision import resolve_precisions
from sim.cost.step import batch_total_s, decode_attention, prefill_attention, product_s
from sim.cost.step_times import Floats
from sim.lifecycle.shapes import Matrix, head_matrix, kv_bytes_per_token_layer
from sim.spec.model import ModelSpec
from sim.spec.speculation import SpeculativeConfig

PASS_S = 170e-6
"""Host time of a drafting pass that the GPU waits for [s]; with `sim.cost.speculation.STEP_S` fitted to six steps of
EAGLE on Llama-3.1-8B, 2 to 7 drafts (github:vllm-project/vllm, issue 20780, 2025-07; within 1 %)."""
NGRAM_STEP_S = 50e-6
NGRAM_SEQUENCE_S = 20e-6
"""Host time to look up n-grams, for a step and for each sequence [s]; *assumed*."""
EAGLE3_VOCABULARY = 32_000
"""Rows of an EAGLE-3 head: the frequent tokens (huggingface.co/nm-testing/EAGLE3-LLaMA3.1-Instruct-8B-converted,
config.json: draft_vocab_size)."""
FUSED = {"eagle": 2, "eagle3": 3, "mtp": 2, "draft_model": 0}
"""Hidden states that are joined before the layer, by a matrix of so many times hidden x hidden: embedding and last
feature (EAGLE, arXiv:2401.15077; MTP, arXiv:2412.19437), low, middle and high features (EAGLE-3, arXiv:2503.01840)."""


def ngram_s(num_seqs: Floats) -> Floats:
    """Host time to draft by look-up for n sequences [s]; 0 for none."""
    return np.where(num_seqs > 0, NGRAM_STEP_S + NGRAM_SEQUENCE_S * num_seqs, 0.0)


@dataclass(frozen=True)
class Drafter:
    """A model that drafts, on the GPUs of the model that verifies."""

    machine: Machine
    """The drafter as a model of its own; its `step_s` is that of a drafting pass."""
    fused: int
    """Hidden states joined before its layers."""

    @property
    def _fuse(self) -> Matrix:
        hidden = self.machine.model.hidden_size
        return Matrix("fuse", self.fused * hidden, hidden)

    def pass_s(self, tokens: Floats) -> Floats:
        """Time of one pass over a rank's batch of tokens, its head and the reading of its cache left out [s]."""
        time_s = batch_total_s(tokens, self.machine)
        return time_s + self._product_s(tokens, self._fuse) if self.fused else time_s

    def head_s(self, rows: Floats) -> Floats:
        """Time of the drafter's output head for so many rows [s]."""
        return self._product_s(rows, head_matrix(self.machine.model, self.machine.layout.tensor_parallel_size))

    def attention(self, num_seqs: Floats) -> tuple[Floats, Floats]:
        """Offset and slope of one pass's decode attention in each piece of total context [s], shape [n, K]."""
        return decode_attention(num_seqs, self.machine)

    @property
    def prefill(self) -> PrefillTerms:
        """Prefill attention of its layers, in the terms of a step."""
        return prefill_attention(self.machine)

    def memory(self, *, own_head: bool, own_embedding: bool) -> Draft:
        """Weights and cache that the drafter adds on a GPU."""
        machine, m = self.machine, self.machine.model
        weights = weights_bytes(m, machine.layout, m.num_hidden_layers, first=own_embedding, last=own_head)
        layer_bytes = kv_bytes_per_token_layer(m, machine.precisions.value_bytes, machine.layout.tensor_parallel_size)
        return Draft(weights + self._fuse.size * PLAIN_BYTES, m.num_hidden_layers * layer_bytes)

    def _product_s(self, tokens: Floats, matrix: Matrix) -> Floats:
        return product_s(tokens, matrix, self.machine.precisions.plain, self.machine)


def make_drafter(config: SpeculativeConfig, target: Machine, draft: ModelSpec | None) -> tuple[Drafter | None, Draft]:
    """Return what drafts for a target model (None: look-up in the prompt) and the memory that it takes.

    EAGLE heads and draft models are bf16, an MTP layer has the target's precision; all run on the target's GPUs with
    its tensor parallelism. EAGLE and MTP share the target's embedding, and all but EAGLE-3 its head.
    """
    method = config.method
    if method == "ngram":
        return None, Draft(0.0, 0.0)
    model = draft or _layer_of(target.model, method)
    precisions = target.precisions
    if method != "mtp":
        kv = target.precisions.kv
        precisions = resolve_precisions(model, target.kernels, "bf16", None, kv)
    experts = precisions.experts
    layout = replace(
        target.layout,
        linear_bytes=precisions.linear.fit.weight_bytes,
        expert_bytes=experts.fit.weight_bytes if experts else 0.0,
        expert_parallel_size=target.layout.expert_parallel_size if model.is_moe else 1,
    )
    engine = target.engine.model_copy(update={"step_s": PASS_S})
    machine = replace(target, model=model, precisions=precisions, layout=layout, engine=engine)
    drafter = Drafter(machine, FUSED[method])
    own = method == "draft_model"
    return drafter, drafter.memory(own_head=own or method == "eagle3", own_embedding=own)


def _layer_of(model: ModelSpec, method: str) -> ModelSpec:
    """Return one layer of a model as a model: dense for EAGLE, of the model's last kind for MTP."""
    fields: dict[str, object] = {
        "name": f"{model.name} {method} layer",
        "num_hidden_layers": 1,
        "num_nextn_predict_layers": 0,
        "sliding_window": None,
        "num_sliding_layers": 0,
        "first_k_dense_replace": 0,
    }
    if method == "mtp":
        fields["num_moe_layers"] = int(model.is_moe)
    else:
        no_experts = (
            "num_experts",
            "num_experts_per_tok",
            "moe_intermediate_size",
            "n_shared_experts",
            "num_moe_layers",
        )
        fields |= dict.fromkeys((*no_experts, "shared_expert_intermediate_size"), 0)
        fields |= {"quantization": None, "quantized_modules": None}
    if method == "eagle3":
        fields["vocab_size"] = min(EAGLE3_VOCABULARY, model.vocab_size)
    return model.replace_all(fields)
