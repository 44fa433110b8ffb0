"""Plays scenes in a process of its own, in whatever build the environment asks for, and prints a digest of each.

`python digests.py 20` prints a JSON list: the crowd below, and then 20 scenes that Hypothesis draws, always the same.
"""

import hashlib
import json
import sys

import small
from compare import NUMBERS, SHARES, TIMES, PlaneResult
from drive import run_plane
from hypothesis import HealthCheck, given, settings
from worlds import Scene, play_scene, scenes

from sim.plane.world import Bucket, Visit

FIELDS = ("serial", *NUMBERS, *TIMES, *SHARES)


def crowd() -> Scene:
    """A guard in front of a pool that is short of blocks; two priorities, prefixes, limits, impatience, a drain."""
    classes = [
        small.kind(
            priority=priority, prefix_tokens=8, prefix_group=group, keep_history=True, max_context_tokens=100,
            gap_s=small.constant(6.0), patience_s=small.constant(40.0) if priority else None,
        )
        for priority, group in enumerate(["red", "blue", "green"])
    ]  # fmt: skip
    tight = {"block_size": 2, "enable_prefix_caching": True, "max_num_seqs": 5}
    guard = small.pool(0.25, 0.125, name="guard", num_gpu_blocks=31, usd_per_replica_s=0.5, **tight)
    main = small.pool(
        0.25, 0.01, 0.003, 0.001, num_replicas=2, max_replicas=3, num_gpu_blocks=41, max_num_batched_tokens=24,
        scheduling_policy="priority", scheduler_reserve_full_isl=False, usd_per_replica_s=1.5, **tight,
    )  # fmt: skip
    path = (Visit(0, "classify", "user", template_tokens=9, block_frac=0.1), Visit(1))
    buckets = (Bucket(0.5, 3.0),)
    world = small.world((guard, main), classes, paths={"main": path}, buckets=buckets, router="power_of_two")
    requests = [(0.6 * n, 4 + n % 7, 6 + 5 * n % 23, n % 3, 1 + n % 3, -(n % 4 > 0)) for n in range(60)]
    requests[40] = (requests[40][0], 200, 30)  # refused
    commands = ((7.5, "drain", 1, 1), (12.5, "abort", 20), (21.0, "add", 1, 2), (30.5, "abort", 45))
    return Scene(world, small.rows(*requests), commands=commands, until=70.0)


def digest(result: PlaneResult) -> str:
    """Of every field that every build must agree on, field by field: record types may grow."""
    parts = [result.records[name] for name in FIELDS]
    parts += [result.itl, result.busy_s, result.num_steps, result.free_blocks, result.cached_blocks]
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def drawn(number: int) -> list[str]:
    """Digests of scenes off the grid; the readable model has told which of them end."""
    found = []

    @settings(
        max_examples=number, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(scenes(exact=False))
    def play(scene):
        play_scene(scene, exact=False)
        found.append(digest(run_plane(scene)))

    play()
    return found


if __name__ == "__main__":
    number = int(sys.argv[1])
    print(json.dumps([digest(run_plane(crowd())), *(drawn(number) if number else [])]))  # noqa: T201
