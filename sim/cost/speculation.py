"""Speculative decoding: what a step emits when k tokens are drafted and verified, and how long it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from sim.cost.drafter import Drafter, ngram_s
from sim.cost.machine import Machine
from sim.cost.power import power_w
from sim.cost.step import CONTEXT_KNOTS, batch_total_s, decode_attention, padded_tokens, sample_s
from sim.cost.step_times import Floats, StepTimes
from sim.errors import Problem
from sim.spec.model import ModelSpec
from sim.spec.speculation import AcceptanceTable, SpeculativeConfig

STEP_S = 700e-6
"""Host time of a speculating step beyond that of a plain one: drafts laid out, accepted and rejected [s]; fitted with
`sim.cost.drafter.PASS_S`."""


@dataclass(frozen=True, eq=False)
class Speculation:
    """Speculative decoding of a replica: how many tokens a step emits and how long it takes."""

    method: str
    num_speculative_tokens: int
    """Tokens k drafted for each sequence in a step."""
    accept_frac: Floats
    """Share accepted at each position where all before it were [1], shape [k]."""
    expected_tokens: float
    """Tokens that a sequence gets from a step on average, 1 to k + 1."""
    step_times: StepTimes
    """Steps that verify and draft, by number of sequences n. A pure decode step is that of n sequences with k + 1
    tokens each; in a mixed step T counts k + 1 tokens for each decoding sequence."""
    num_lookahead_tokens: int
    """Tokens that a sequence needs blocks for beyond those it computes: vLLM sets k aside for drafters that are models,
    none for n-grams."""
    draft_s: Floats
    """Time of a step that goes into drafting, but for reading the drafter's cache [s], by number of sequences n."""
    source: str
    """Where the acceptance comes from."""

    def speedup(self, plain: StepTimes, num_seqs: int, context_tokens: float) -> float:
        """Tokens a second with speculation over those without, for n sequences of a total context [1]."""
        steps = (times.step_s(num_seqs, num_seqs, context_tokens, num_seqs) for times in (plain, self.step_times))
        plain_s, speculating_s = steps
        return self.expected_tokens * plain_s / speculating_s


def speculation_problems(
    config: SpeculativeConfig,
    model: ModelSpec,
    draft: ModelSpec | None,
    pipeline_parallel_size: int,
    *,
    use_cache: bool,
) -> Iterator[Problem]:
    """Yield what forbids a model to be sped up so."""
    if pipeline_parallel_size > 1:
        message = f"needs one pipeline stage, got {pipeline_parallel_size}. Try a larger tensor_parallel_size"
        yield Problem(message, path="speculative_config")
    if not use_cache:
        yield Problem("needs use_cache: true; the drafter works on the cache", path="speculative_config")
    if config.method == "mtp" and model.num_nextn_predict_layers == 0:
        message = f"{model.name} has no multi-token-prediction layer. Try eagle3 or ngram"
        yield Problem(message, path="speculative_config.method")
    if draft is not None and draft.vocab_size != model.vocab_size:
        message = f"{draft.name} has a vocabulary of {draft.vocab_size}, {model.name} one of {model.vocab_size}"
        yield Problem(f"{message}; they must be the same", path="speculative_config.model")


def tokens_per_step(accept_frac: Floats) -> float:
    r"""Tokens that a step emits on average [tokens].

    Notes
    -----
    .. math:: 1 + \sum_{i=1}^{k} \prod_{j \le i} a_j

    The drafts accepted up to the first rejection, and one token that the target model adds itself
    (Leviathan et al., arXiv:2211.17192, with a share a_j for each position).
    """
    return float(1.0 + np.sum(np.cumprod(accept_frac)))


def accept_by_position(table: AcceptanceTable, num_speculative_tokens: int) -> Floats:
    """Conditional acceptance at each position as a step meets it, shape [k].

    The table's shares are those of all places of the text. Where the tokens of a step were measured too, one factor on
    every share makes them agree for this k (between two measured k on the line that joins them, beyond the last with
    its factor): steps begin at harder places than the average one.
    """
    shares = np.array(table.position_frac)

    def first(k: int) -> Floats:
        return np.append(shares[:k], np.full(max(k - len(shares), 0), shares[-1]))

    if not table.tokens_per_step:
        return first(num_speculative_tokens)
    measured = sorted(table.tokens_per_step)
    k = int(np.clip(num_speculative_tokens, measured[0], measured[-1]))
    target = float(np.interp(k, measured, [table.tokens_per_step[size] for size in measured]))
    low, high = 0.0, 1.0 / float(np.max(shares))
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if tokens_per_step(middle * first(k)) < target else (low, middle)
    return low * first(num_speculative_tokens)


def speculate(
    config: SpeculativeConfig, table: AcceptanceTable, machine: Machine, drafter: Drafter | None, plain: StepTimes
) -> Speculation:
    """Return what speculation makes of a replica.

    Parameters
    ----------
    config, table : who drafts how much, and what is accepted
    machine : what runs where
    drafter : what drafts; None: the prompt, by look-up
    plain : step times without speculation

    Notes
    -----
    Verification is a step of n (k + 1) tokens: products, transfers and head on all of them, attention of k + 1 queries
    that read each sequence's cache together. The drafter sees every token of the batch once, then runs k - 1 times on
    one token a sequence; its head runs k times.
    """
    k, dp = config.num_speculative_tokens, machine.layout.data_parallel_size
    seqs = np.arange(plain.max_num_seqs + 1.0)
    ranks = np.ceil(seqs / dp)
    rows = ranks * (k + 1)
    limit = plain.max_num_seqs // dp
    padded = padded_tokens(rows, machine.engine, limit)
    offset_s, slope_s = decode_attention(seqs, machine, num_queries=k + 1)
    batch_s, pair_s = plain.batch_s, plain.pair_s
    verify_s = np.where(seqs > 0, batch_total_s(padded, machine), 0.0)
    if drafter is None:
        first_s, later_s = np.zeros_like(seqs), ngram_s(ranks)
    else:
        batch = np.ceil(np.arange(float(len(batch_s))) / dp)
        batch_s = batch_s + np.where(batch > 0, drafter.pass_s(padded_tokens(batch, machine.engine, limit)), 0.0)
        first_s = np.where(seqs > 0, drafter.pass_s(padded), 0.0)
        one_s = drafter.pass_s(padded_tokens(ranks, machine.engine, limit))
        later_s = np.where(seqs > 0, (k - 1) * one_s + k * drafter.head_s(ranks), 0.0)
        draft_offset_s, draft_slope_s = drafter.attention(seqs)
        offset_s, slope_s = offset_s + k * draft_offset_s, slope_s + k * draft_slope_s
        terms = drafter.prefill
        batch_s = batch_s + np.arange(float(len(batch_s))) * terms.token_s
        pair_s += terms.pair_s
    emit_s = sample_s(rows, ranks, machine) + later_s + np.where(seqs > 0, STEP_S, 0.0)
    emitting_s = emit_s[np.minimum(np.arange(len(batch_s)), len(seqs) - 1)]
    accept = accept_by_position(table, k)
    return Speculation(
        method=config.method,
        num_speculative_tokens=k,
        accept_frac=accept,
        expected_tokens=tokens_per_step(accept),
        step_times=replace(
            plain,
            batch_s=batch_s,
            decode_batch_s=verify_s + first_s,
            sample_s=emit_s,
            knot_tokens=CONTEXT_KNOTS,
            decode_offset_s=offset_s,
            decode_slope_s=slope_s,
            pair_s=pair_s,
            power_w=power_w(np.arange(float(len(batch_s))), batch_s + emitting_s, machine),
        ),
        num_lookahead_tokens=0 if drafter is None else k,
        draft_s=first_s + later_s,
        source=table.source,
    )
