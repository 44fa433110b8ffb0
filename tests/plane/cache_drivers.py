"""The plane's prefix caches without the rest of a plane: their tables, and compiled calls of their interface."""

from sim.plane import cache
from sim.plane.cache_tables import build_cache
from sim.plane.compiled import allocate, jit
from sim.plane.tables import PLANE, TABLES, plane_at, pool_at, replica_at

GROUP_KEYS = (1 << 63, 1 << 62)

# Compiled drivers: a replica's number in, what the cache says out


@jit
def find_hits(address, r, slot, num_tokens):
    p = plane_at(address, 0)
    s = replica_at(p.replicas, r)
    return cache.find_hits(p, pool_at(p.pools, s.pool), s, slot, num_tokens)


@jit
def hold_hits(address, r, slot, hits):
    p = plane_at(address, 0)
    s = replica_at(p.replicas, r)
    cache.hold_hits(p, pool_at(p.pools, s.pool), s, slot, hits)


@jit
def extend(address, r, slot, num_tokens, num_delivered):
    p = plane_at(address, 0)
    s = replica_at(p.replicas, r)
    cache.extend(p, pool_at(p.pools, s.pool), s, slot, num_tokens, num_delivered)


@jit
def take(address, r, n):
    p = plane_at(address, 0)
    s = replica_at(p.replicas, r)
    cache.take(p, pool_at(p.pools, s.pool), s, n)


@jit
def open_stream(address, r, slot):
    p = plane_at(address, 0)
    s = replica_at(p.replicas, r)
    cache.open_stream(p, pool_at(p.pools, s.pool), s, slot)


@jit
def close_stream(address, r, slot, num_blocks, full_blocks):
    p = plane_at(address, 0)
    s = replica_at(p.replicas, r)
    cache.close_stream(p, pool_at(p.pools, s.pool), s, slot, num_blocks, full_blocks)


@jit
def release(address, r, slot):
    p = plane_at(address, 0)
    s = replica_at(p.replicas, r)
    cache.release(p, pool_at(p.pools, s.pool), s, slot)


@jit
def forget(address, r):
    p = plane_at(address, 0)
    s = replica_at(p.replicas, r)
    cache.forget(p, pool_at(p.pools, s.pool), s)


@jit
def observe(address, r):
    p = plane_at(address, 0)
    s = replica_at(p.replicas, r)
    return cache.num_free(s), cache.num_indexed(p, pool_at(p.pools, s.pool), s)


@jit
def is_full(address):
    return cache.cache_is_full(plane_at(address, 0))


# The tables that a cache needs, without the rest of a plane


class SmallPlane:
    """Owner of a pool, its replicas, the requests and the cache tables."""

    def __init__(self, world, num_replicas, num_requests):
        self.tables, self.record = {}, allocate(1, PLANE)
        self.address = int(self.record.ctypes.data)
        (pool,) = world.pools
        row = self.own("pools", 1)[0]
        row["block_size"], row["usable"], row["max_seqs"] = pool.block_size, pool.num_gpu_blocks - 1, pool.max_num_seqs
        row["caching"], row["max_model_len"] = pool.enable_prefix_caching, pool.max_model_len
        replicas = self.own("replicas", num_replicas)
        replicas["free"], replicas["run_head"] = pool.num_gpu_blocks - 1, -1
        self.own("requests", num_requests)
        self.own("group_keys", len(GROUP_KEYS))["v"] = GROUP_KEYS
        build_cache(self, world)

    def __getitem__(self, name):
        return self.tables[name]

    def own(self, name, num_rows):
        self.tables[name] = allocate(num_rows, TABLES[name])
        self.record[name] = self.tables[name].ctypes.data
        return self.tables[name]
