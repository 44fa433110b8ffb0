"""The tables of answers that are split over two pools: links, and what a request leaves in the first pool."""

from __future__ import annotations

from typing import NamedTuple

from sim.metrics.histogram import NUM_BINS
from sim.plane.cache_tables import Owner
from sim.plane.world import Transfer, World


class Split(NamedTuple):
    """A path whose answer is split."""

    row: int
    """Of its decode visit."""
    prefill: int
    """Number of the pool that computes the prompt."""
    decode: int
    """Number of the pool that answers."""
    transfer: Transfer

    @property
    def queue(self) -> int:
        """Number of the pool at whose replicas transfers queue."""
        return self.prefill if self.transfer.push else self.decode


def splits(world: World) -> list[Split]:
    """The paths of a world whose answers are split, in order."""
    visits = [visit for path in world.paths.values() for visit in path]
    return [
        Split(row, visits[row - 1].pool, visit.pool, visit.transfer)
        for row, visit in enumerate(visits)
        if visit.transfer is not None
    ]


def pools_with_links(world: World) -> list[int]:
    """Pools at whose replicas transfers queue."""
    return sorted({split.queue for split in splits(world)})


def build_handovers(plane: Owner, world: World, num_requests: int, link: int) -> None:
    """Make them, with links from number `link` on."""
    pools, links, visits = plane["pools"], plane["links"], plane["visits"]
    found = splits(world)
    plane.own("holds", num_requests if found else 0)["replica"] = -1
    plane.own("holding", int(pools["max_replicas"].sum()))
    plane.own("transfer_times", len(world.pools) * NUM_BINS if found else 0)
    plane.record["has_holds"] = bool(found)
    first_link = {}
    for number in pools_with_links(world):
        count = int(pools["max_replicas"][number])
        shared = [split.transfer for split in found if split.queue == number]
        links["bytes_per_s"][link : link + count] = min(transfer.bytes_per_s for transfer in shared)
        links["latency_s"][link : link + count] = max(transfer.latency_s for transfer in shared)
        first_link[number] = link
        link += count
    for split in found:
        pools["loads"][split.decode] = 1
        pools["kv_token_bytes"][split.decode] = world.pools[split.decode].kv_bytes_per_token
        row, num_layers = visits[split.row : split.row + 1], split.transfer.num_layers
        row["push"] = split.transfer.push
        row["first_link"] = first_link[split.queue] - pools["first_replica"][split.queue]
        row["least_frac"] = 1.0 / num_layers if num_layers else 1.0
