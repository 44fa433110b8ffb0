"""How the KV cache of a prompt goes from the pool that computed it to the pool that answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from sim.spec.base import Seconds, Spec, quantity

if TYPE_CHECKING:
    from sim.spec.fleet import Pool
    from sim.spec.visit import Visit

GigabytesPerSecond = Annotated[float, quantity("1"), Field(gt=0)]
SIDES = ("prefill", "decode")
"""Kinds of the visits of an answer that is split."""
DECODING = ("generate", "decode")
"""Kinds of visit that decode."""

SETTINGS = (
    ("batch_policy", "vllm_v1", "vllm_v1"), ("use_cache", True, "true"), ("kv_offload", None, "null"),
    ("speculative_config", None, "null"), ("pipeline_parallel_size", 1, "1"),
)  # fmt: skip
"""What pools of split paths must have, and how it is written."""


class KvTransfer(Spec):
    """The transfer of a prompt's KV cache from a prefill visit to the decode visit after it.

    One connector for the whole fleet: both ends of a transfer run the same, and all paths share a replica's link.
    """

    first_token: Literal["prefill", "decode"] = "decode"  # noqa: S105
    """Who emits the first token. decode: the prefill pool's is thrown away, and the decode pool computes the prompt's
    last token again (vLLM). prefill: the client gets the prefill pool's at once (DistServe). Default decode."""
    mode: Literal["push", "pull"] = "pull"
    """Where transfers queue. push: at the link out of each prefill replica. pull: at the link into each decode replica.
    Default pull: vLLM's NixlConnector reads."""
    granularity: Literal["whole", "layer"] = "whole"
    """whole: a prompt is sent when it is complete. layer: each layer is sent while the next ones compute. Default
    whole: as NixlConnector."""
    bandwidth_gb_per_s: GigabytesPerSecond | None = None
    """Bandwidth [GB/s] of one GPU's link in one direction; a replica has tensor_parallel_size of them, and a transfer
    runs at the pace of the slower end. Default: `internode_bytes_per_s` of the GPU."""
    latency_s: Seconds = 0.003
    """Time [s] that a transfer takes besides its bytes; the link is free for others in it. Default 3 ms: what
    NixlConnector takes to launch one (github.com/vllm-project/vllm/issues/23780)."""


def split_problems(
    pools: Mapping[str, Pool], paths: Mapping[str, Sequence[Visit]], transfer: KvTransfer
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the pools of paths that are split."""
    answering = {visit.pool: name for name, visits in paths.items() for visit in visits if visit.kind in DECODING}
    everyone = [(f"paths.{name}.{n}", visit) for name, visits in paths.items() for n, visit in enumerate(visits)]
    split = [(at, visit.pool, visit.kind) for at, visit in everyone if visit.kind in SIDES and visit.pool in pools]
    for at, pool, kind in split:
        if kind == "prefill" and pool in answering:
            why = "prompts that wait to be fetched and answers that wait for room could block each other"
            yield f"{at}.pool", f"pool {pool} also decodes, in path {answering[pool]}: {why}"
    for pool, kind in {pool: kind for _, pool, kind in split if pool is not None}.items():
        for setting, wanted, said in SETTINGS:
            if getattr(pools[pool], setting) != wanted:
                yield f"pools.{pool}.{setting}", f"must be {said} in the pool of a {kind} visit"
    if transfer != KvTransfer() and not split:
        yield "kv_transfer", "no path has a prefill and a decode visit, so nothing is transferred; remove it"
