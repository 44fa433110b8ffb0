"""The tables of the prefix caches: made with the plane, doubled between events when the next could run out of rows.

Rows are handed out from those given back, else from those never used, so a table's spare room costs address space
but no memory.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sim.plane.blockwise import begin
from sim.plane.compiled import jit
from sim.plane.extent_rows import COPY, ROWS_PER_BUCKET, UNLISTED, put_in_bucket
from sim.plane.tables import (
    BLOCK_BUCKETS,
    BLOCKS,
    EXTENTS,
    HELD_ENTRIES,
    extent_at,
    plane_at,
    pool_at,
    replica_at,
    room_at,
)
from sim.plane.world import World

Table = NDArray[np.void]
TABLE_OF = {EXTENTS: "extents", BLOCKS: "blocks", BLOCK_BUCKETS: "block_buckets", HELD_ENTRIES: "held"}
TIMES_OF = {EXTENTS: "extent_times", BLOCKS: "block_times"}
"""When a row was given back, where that matters."""
FIRST_STRETCHES = 1 << 10
FIRST_SLACK = 8
"""Stretches that an event without segments may need."""


class Owner(Protocol):
    """What the tables need of a plane."""

    record: Table
    address: int

    def __getitem__(self, name: str) -> Table: ...
    def own(self, name: str, num_rows: int) -> Table:
        """Make a table, keep it, and write its address."""
        ...


def build_cache(plane: Owner, world: World) -> None:
    """Make the cache tables. Pools and replicas are there already."""
    pools, replicas, rooms = plane["pools"], plane["replicas"], plane.own("rooms", len(TABLE_OF))
    usable = pools["usable"].astype(np.int64) * pools["caching"]  # without a cache, blocks are only counted
    max_seqs = pools["max_seqs"].astype(np.int64)
    pools["num_buckets"] = [1 << max(1, int(n - 1).bit_length()) for n in usable]
    pools["by_blocks"][: len(world.pools)] = [
        pool.cache == "blocks" and pool.enable_prefix_caching for pool in world.pools
    ]
    replicas["lru_head"] = replicas["lru_tail"] = replicas["block_base"] = replicas["bucket_base"] = -1
    rooms["first"] = -1

    # What one event may need: it is about one replica, and its store if it has one. An extent has at least one block or
    # is a request's live leaf. A request holds no more blocks than there are, nor than its longest text fills. Stores
    # (the last pools) never go over to blocks.
    n = len(world.pools)
    longest = np.minimum(usable, -(-pools["max_model_len"] // pools["block_size"]))
    stored = most_written(world, pools)
    rooms["slack"][EXTENTS] = int(np.max((usable + max_seqs)[:n])) + stored + 8
    holders = max_seqs * (1 + pools["loads"])  # as many may wait with what was loaded for them
    rooms["slack"][HELD_ENTRIES] = int(np.max((holders * longest)[:n])) + stored
    rooms["slack"][BLOCKS] = int(np.max(usable[:n]))
    rooms["slack"][BLOCK_BUCKETS] = int(np.max(pools["num_buckets"][:n]))
    by_blocks = pools["by_blocks"][replicas["pool"]] == 1
    for room, given in ((BLOCKS, usable), (BLOCK_BUCKETS, pools["num_buckets"])):
        begun = int(np.sum(given[replicas["pool"][by_blocks]]))
        resize(plane, room, begun + int(rooms["slack"][room]))
    resize(plane, HELD_ENTRIES, int(rooms["slack"][HELD_ENTRIES]))
    resize(plane, EXTENTS, 2 * int(rooms["slack"][EXTENTS]))
    for r in np.flatnonzero(by_blocks):
        begin_blocks(plane.address, int(r))
    plane.record["stretch_slack"] = FIRST_SLACK
    grow_stretches(plane, FIRST_STRETCHES)


def most_written(world: World, pools: Table) -> int:
    """Extents that one event may add to a store: a step ends at most all running requests, and each is written."""
    most = 0
    for row, pool in zip(pools, world.pools, strict=False):
        if pool.kv_offload is not None:
            longest = min(int(row["usable"]), -(-int(row["max_model_len"]) // int(row["block_size"])))
            most = max(most, min(pool.kv_offload.num_blocks, int(row["max_seqs"]) * (longest + 3)))
    return most


def grow_cache(plane: Owner) -> None:
    """Double the cache tables that the next event could fill (`cache_is_full`). No event is half done."""
    while plane.record["num_free_stretches"][0] < plane.record["stretch_slack"][0]:
        grow_stretches(plane, 2 * len(plane["stretches"]))
    for number in TABLE_OF:
        room = plane["rooms"][number]
        while room["rows"] - room["used"] + room["spare"] < room["slack"]:
            resize(plane, number, 2 * int(room["rows"]))


def resize(plane: Owner, number: int, num_rows: int) -> None:
    """Make a table anew with `num_rows` rows, and move what was used to it."""
    name, room = TABLE_OF[number], plane["rooms"][number]
    used = int(room["used"])
    old = plane[name][:used] if used else None
    old_times = plane[TIMES_OF[number]][:used] if used and number in TIMES_OF else None
    if number == EXTENTS:  # the hash table follows
        num_rows = 1 << (num_rows - 1).bit_length()
        plane.own("extent_buckets", num_rows // ROWS_PER_BUCKET)
    table = plane.own(name, num_rows)
    room["rows"] = num_rows
    if old is not None:
        table[:used] = old
    if number in TIMES_OF:
        times = plane.own(TIMES_OF[number], num_rows if plane.record["keeps_times"][0] else 0)
        if old is not None and plane.record["keeps_times"][0]:
            times[:used] = old_times
    if number == EXTENTS and used:
        find_again(plane.address)


def grow_stretches(plane: Owner, num_rows: int) -> None:
    """Make the stretches anew with `num_rows` rows; those added come first in the list of free ones."""
    old = plane["stretches"] if plane.record["stretches"][0] else None
    table = plane.own("stretches", num_rows)
    n = 0 if old is None else len(old)
    if old is not None:
        table[:n] = old
    table["next"][n:] = np.arange(n + 1, num_rows + 1)
    table["next"][-1] = plane.record["free_stretch"][0] if n else -1
    plane.record["free_stretch"] = n
    plane.record["num_free_stretches"] += num_rows - n


@jit
def begin_blocks(address: Any, r: Any) -> None:
    """Start a replica by blocks."""
    p = plane_at(address, 0)
    s = replica_at(p.replicas, r)
    begin(p, pool_at(p.pools, s.pool), s)


@jit
def find_again(address: Any) -> None:
    """Put all extents into a new hash table."""
    p = plane_at(address, 0)
    room = room_at(p.rooms, EXTENTS)
    e = room.first
    while e >= 0:  # rows given back have no users and no blocks
        x = extent_at(p.extents, e)
        x.length, x.owner = 0, -1
        e = x.chained
    for e in range(room.used):
        x = extent_at(p.extents, e)
        if (x.length > 0 or x.owner >= 0) and x.num_children != COPY and x.chained != UNLISTED:
            put_in_bucket(p, e)
