"""From a pool of a scenario to its profile."""

from __future__ import annotations

from sim.cost.kernels import Kernels
from sim.cost.profile import Profile, compile
from sim.spec.engine import EngineSpec
from sim.spec.fleet import Pool
from sim.spec.hardware import GpuSpec
from sim.spec.model import ModelSpec


def compile_pool(
    pool: Pool,
    model: ModelSpec | str,
    gpu: GpuSpec | str,
    engine: EngineSpec | None = None,
    kernels: Kernels | None = None,
) -> Profile:
    """Compile the replicas of a pool, every field of it taken along; raises as `compile` does.

    A calibration given here takes the place of the one that the pool names.
    """
    return compile(
        model,
        gpu,
        tensor_parallel_size=pool.tensor_parallel_size,
        pipeline_parallel_size=pool.pipeline_parallel_size,
        data_parallel_size=pool.data_parallel_size,
        enable_expert_parallel=pool.enable_expert_parallel,
        expert_parallel_size=pool.expert_parallel_size,
        weights=pool.weights,
        activations=pool.activations,
        kv=pool.kv_cache_dtype,
        kv_cache_layout=pool.kv_cache_layout,
        use_cache=pool.use_cache,
        attn_implementation=pool.attn_implementation,
        speculative_config=pool.speculative_config,
        max_model_len=pool.max_model_len,
        max_num_seqs=pool.max_num_seqs,
        max_num_batched_tokens=pool.max_num_batched_tokens,
        block_size=pool.block_size,
        gpu_memory_utilization=pool.gpu_memory_utilization,
        engine=engine or pool.engine,
        kernels=kernels,
    )
