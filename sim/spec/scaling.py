"""What a pool's autoscaler, warm pool, spot capacity and operations must have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from sim.spec.startup import Startup

if TYPE_CHECKING:
    from sim.spec.fleet import Operation, Pool


def startup_of(pool: Pool) -> Startup | None:
    """How replicas of a pool start; None: at once, where nothing is said and nobody but operators adds any."""
    return pool.startup or (Startup() if is_scaled(pool) else None)


def is_scaled(pool: Pool) -> bool:
    """Whether something other than operations brings replicas of a pool."""
    return pool.autoscaler is not None or pool.warm_pool is not None or pool.spot is not None


def num_warm(pool: Pool) -> int:
    """Replicas that a pool keeps warm."""
    return pool.warm_pool.replicas if pool.warm_pool else 0


def most_serving(pool: Pool) -> int:
    """Most replicas of a scaled pool that serve; 0 where it does not say."""
    if pool.autoscaler is None:
        return pool.replicas
    return pool.autoscaler.max_replicas or max(0, (pool.max_replicas or 0) - num_warm(pool))


def most_on_line(pool: Pool) -> int:
    """Most replicas of a scaled pool at any time: those that serve, the warm ones, and as many spot ones again.

    The last may still drain when others come for them.
    """
    serving = most_serving(pool)
    draining = max(0, serving - pool.spot.on_demand_base) if pool.spot else 0
    return serving + num_warm(pool) + draining


def scaling_problems(pools: Mapping[str, Pool], operations: Sequence[Operation]) -> Iterator[tuple[str, str]]:
    """Yield limits that contradict each other, and pools that both operators and an autoscaler would change."""
    for name, pool in pools.items():
        at = f"pools.{name}"
        if pool.autoscaler is not None:
            if pool.max_replicas is None and pool.autoscaler.max_replicas is None:
                yield f"{at}.autoscaler.max_replicas", "missing: say it here, or as the pool's max_replicas"
                continue
            if most_serving(pool) < pool.autoscaler.min_replicas:
                least = pool.autoscaler.min_replicas + num_warm(pool)
                message = f"must be >= min_replicas and the warm pool ({least}), got {pool.max_replicas}"
                yield f"{at}.max_replicas", message
        if is_scaled(pool):
            needed = max(most_serving(pool), pool.replicas) + num_warm(pool)
            if pool.max_replicas is not None and pool.max_replicas < needed:
                message = f"must be >= those that serve and are warm ({needed}), got {pool.max_replicas}"
                yield f"{at}.max_replicas", message
            for index, operation in enumerate(operations):
                if operation.pool == name:
                    why = "has an autoscaler, a warm pool or spot capacity, which would undo it"
                    yield f"operations.{index}.pool", f"pool {name} {why}; use its autoscaler's schedule"
