"""What the prefix cache costs a request, by extents and by blocks: `python benchmarks/cache.py`.

Chat: 20 system prompts of 125 blocks, conversations of 3 turns, 40 requests in flight and 400 conversations a replica.
A request is looked up, admitted whole, decodes as part of the totals (by blocks: at once), and is given back when its
slot is needed again. Hits and free blocks are summed after every request and must be the same.
"""

import time
from types import SimpleNamespace

import numpy as np

from sim.plane import cache
from sim.plane.cache_tables import build_cache, grow_cache
from sim.plane.compiled import allocate, jit
from sim.plane.content import mix
from sim.plane.tables import DECODING, PLANE, PREFILLING, TABLES, i8_at, plane_at, pool_at, replica_at, request_at

IN_FLIGHT, CONVERSATIONS, GROUPS, PREFIX_TOKENS, SIZE = 40, 400, 20, 2_000, 16
BYTE, SEVEN_BITS, NINE_BITS = np.uint64(8), np.uint64(127), np.uint64(511)


@jit
def request(p, n, number, stream):
    """Serve one request of a conversation at a replica; (hits, free blocks)."""
    word = mix(np.uint64(n + 1))
    r = np.int64((word >> BYTE) % np.uint64(p.num_replicas))
    s = replica_at(p.replicas, r)
    pool = pool_at(p.pools, s.pool)
    slot = r * IN_FLIGHT + s.admissions % IN_FLIGHT
    s.admissions += 1
    q = request_at(p.requests, slot)
    if q.num_blocks > 0:
        tokens = q.prompt + q.output - 1
        cache.close_stream(p, pool, s, slot, -(-tokens // SIZE), tokens // SIZE)
        cache.release(p, pool, s, slot)
    # a conversation is four numbers: when its last request is done with, turns so far, tokens so far, its stream
    conversation = np.int64((word >> np.uint64(32)) % np.uint64(CONVERSATIONS))
    while i8_at(number, 4 * (r * CONVERSATIONS + conversation)).v > s.admissions:
        conversation = (conversation + 1) % CONVERSATIONS
    at = 4 * (r * CONVERSATIONS + conversation)
    i8_at(number, at).v = s.admissions + IN_FLIGHT
    turn, said, own = i8_at(number, at + 1), i8_at(number, at + 2), i8_at(number, at + 3)
    if turn.v % 3 == 0:
        turn.v, said.v, own.v = 0, 0, stream
    turn.v += 1
    q.replica, q.state, q.segments = r, PREFILLING, -1
    q.group, q.prefix, q.own_from, q.stream = own.v % GROUPS, PREFIX_TOKENS, PREFIX_TOKENS, np.uint64(own.v)
    q.prompt = PREFIX_TOKENS + said.v + 20 + np.int64((word >> np.uint64(20)) & SEVEN_BITS)
    q.output = 60 + np.int64((word >> np.uint64(13)) & NINE_BITS)
    said.v = q.prompt + q.output - PREFIX_TOKENS
    hits, _ = cache.find_hits(p, pool, s, slot, q.prompt)
    cache.hold_hits(p, pool, s, slot, hits)
    cache.extend(p, pool, s, slot, q.prompt, q.prompt)
    tokens = q.prompt + q.output - 1
    if s.by_blocks == 0:
        q.state, q.end_step = DECODING, s.processed  # it has decoded as soon as it begins
        cache.open_stream(p, pool, s, slot)
    if s.by_blocks == 0:
        cache.take(p, pool, s, -(-tokens // SIZE) - q.num_blocks)
    else:
        cache.extend(p, pool, s, slot, tokens, tokens)
    return hits, cache.num_free(s)


@jit
def serve(address, first, last, number):
    """Serve requests until a table could run full: (the next, checksum, hits)."""
    p = plane_at(address, 0)
    check, hits = np.int64(0), np.int64(0)
    for n in range(first, last):
        if cache.cache_is_full(p):
            return n, check, hits
        found, free = request(p, n, number, 1_000 + n)
        hits += found
        check = (31 * check + 7 * found + free) & 0xFFFFFFFFFFFF
    return last, check, hits


class Tables:
    """Owner of what the caches need of a plane."""

    def __init__(self, kind, num_replicas, usable):
        self.tables, self.record = {}, allocate(1, PLANE)
        self.address = int(self.record.ctypes.data)
        self.record["num_replicas"] = num_replicas
        pool = self.own("pools", 1)
        for name, value in {"block_size": SIZE, "usable": usable, "max_seqs": 64, "caching": 1}.items():
            pool[name] = value
        pool["max_model_len"] = 8_192
        replicas = self.own("replicas", num_replicas)
        replicas["free"] = usable
        for r in range(num_replicas):
            replicas["run_head"][r] = -1
        self.own("requests", num_replicas * IN_FLIGHT)
        self.own("group_keys", GROUPS)["v"] = np.arange(1, GROUPS + 1) << 40
        build_cache(self, SimpleNamespace(pools=[SimpleNamespace(cache=kind)]))
        self.number = allocate(4 * num_replicas * CONVERSATIONS, np.dtype([("v", "i8")]))

    def __getitem__(self, name):
        return self.tables[name]

    def own(self, name, num_rows):
        self.tables[name] = allocate(num_rows, TABLES[name])
        self.record[name] = self.tables[name].ctypes.data
        return self.tables[name]

    def serve(self, first, last):
        """Serve requests; (checksums, hits)."""
        checks, hits = [], 0
        while first < last:
            first, check, found = serve(self.address, first, last, self.number.ctypes.data)
            checks.append(check)
            hits += found
            if first < last:
                grow_cache(self)
        return checks, hits


def measure(kind, num_replicas, usable, num_requests):
    """ns a request after as many to warm up, hits a request, checksum, fall-backs."""
    tables = Tables(kind, num_replicas, usable)
    tables.serve(0, num_requests)
    began = time.perf_counter()
    checks, hits = tables.serve(num_requests, 2 * num_requests)
    spent_s = time.perf_counter() - began
    assert len(checks) == 1, "a table grew: warm up for longer"
    return spent_s / num_requests * 1e9, hits / num_requests, checks[0], int(tables.record["num_fallbacks"][0])


if __name__ == "__main__":
    for num_replicas, usable, num_requests in ((1, 37_500, 100_000), (64, 37_500, 200_000), (64, 12_000, 200_000)):
        results = [measure(kind, num_replicas, usable, num_requests) for kind in ("extents", "blocks")]
        (extents, hits, check, fallbacks), (blocks, _, other, _) = results
        print(
            f"{num_replicas:3} x {usable:6,} blocks: extents {extents:6.0f} ns, blocks {blocks:7.0f} ns a request,"
            f" {hits:.1f} hits, {'the same' if check == other else 'DIFFERENT'}, {fallbacks} fall-backs"
        )
