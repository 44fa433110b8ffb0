"""A prefix cache of the plane and the readable model's, side by side: whatever is done to one is done to the other.

`Caches` has the requests, their texts and the few rules of a scheduler that the caches' interface takes for granted;
after every act it compares what can be seen of the two.
"""

from collections import Counter
from dataclasses import dataclass, field, replace

import small
from slow_replica import Block, BlockPool

from sim.plane import cache
from sim.plane.cache_tables import build_cache, grow_cache
from sim.plane.compiled import allocate, jit
from sim.plane.extent_rows import COPY
from sim.plane.tables import (
    DECODING,
    EXTENTS,
    PLANE,
    PREFILLING,
    TABLES,
    WAITING,
    plane_at,
    pool_at,
    replica_at,
)

GROUP_KEYS = (1 << 63, 1 << 62)
REPLICAS = 2

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

    def __init__(self, world, num_requests):
        self.tables, self.record = {}, allocate(1, PLANE)
        self.address = int(self.record.ctypes.data)
        (pool,) = world.pools
        row = self.own("pools", 1)[0]
        row["block_size"], row["usable"], row["max_seqs"] = pool.block_size, pool.num_gpu_blocks - 1, pool.max_num_seqs
        row["caching"], row["max_model_len"] = pool.enable_prefix_caching, pool.max_model_len
        replicas = self.own("replicas", REPLICAS)
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


# Texts


@dataclass(frozen=True)
class Text:
    """Group and length of the shared prefix, older stretches (key, end), key of the own stream and where it begins."""

    group: int = 0
    prefix: int = 0
    older: tuple[tuple[int, int], ...] = ()
    stream: int = 0

    @property
    def own_from(self):
        return self.older[-1][1] if self.older else self.prefix

    def token(self, position):
        if position < self.prefix:
            return GROUP_KEYS[self.group], position
        start = self.prefix
        for key, end in self.older:
            if position < end:
                return key, position - start
            start = end
        return self.stream, position - start

    def quoted(self, end, stream):
        """A text that says the same up to `end` and then goes its own way."""
        older = [(key, min(stop, end)) for key, stop in self.older]
        if end > self.own_from:
            older.append((self.stream, end))
        return replace(self, older=tuple(older), stream=stream, prefix=min(self.prefix, end))


@dataclass(eq=False)
class Request:
    """A request as the model sees it."""

    slot: int
    replica: int
    text: Text
    prompt: int
    output: int
    emitted: int = 0
    computed: int = 0
    state: str = "waiting"
    granted: bool = False
    blocks: list[Block] = field(default_factory=list)
    published: int = 0

    @property
    def delivered(self):
        return self.prompt + self.emitted


class Caches:
    """The two caches of a replica (or several), and who uses them. `lag`: steps scheduled but not processed."""

    def __init__(self, world, *, lag=0, num_requests=200):
        (self.pool,) = world.pools
        self.size, self.lag = self.pool.block_size, lag
        self.plane = SmallPlane(world, num_requests)
        self.models = [BlockPool(self.pool) for _ in range(REPLICAS)]
        self.requests = []
        self.plane["replicas"]["step"] = 100 + lag
        self.plane["replicas"]["processed"] = 100

    # What both have in common

    def by_blocks(self, r):
        return bool(self.plane["replicas"]["by_blocks"][r])

    def running(self, r, *states):
        return [q for q in self.requests if q.replica == r and q.state in (states or ("prefilling", "decoding"))]

    def chain(self, r, text, count):
        model, hashes, parent = self.models[r], [], None
        for place in range(count):
            tokens = tuple(text.token(x) for x in range(place * self.size, (place + 1) * self.size))
            parent = model.hash_of(parent, tokens)
            hashes.append(parent)
        return hashes

    def blocks_for(self, tokens):
        return -(-tokens // self.size)

    def check(self):
        """Compare what can be seen, and leave room for the next act."""
        for r, model in enumerate(self.models):
            assert observe(self.plane.address, r) == (model.num_free, model.num_cached)
        if is_full(self.plane.address):
            grow_cache(self.plane)
        assert not is_full(self.plane.address)

    def link_running(self, r):
        """`running` of the plane, in order of admission."""
        rows, before = self.plane["requests"], -1
        self.plane["replicas"]["run_head"][r] = -1
        for q in self.running(r):
            if before >= 0:
                rows["next"][before] = q.slot
            else:
                self.plane["replicas"]["run_head"][r] = q.slot
            rows["next"][q.slot] = -1
            before = q.slot

    # Acts

    def add(self, r, text, prompt, output):
        """A new request, waiting."""
        slot = len(self.requests)
        row = self.plane["requests"][slot]
        row["replica"], row["state"], row["prompt"], row["output"] = r, WAITING, prompt, output
        for name in ("group", "prefix", "stream", "own_from"):
            row[name] = getattr(text, name)
        row["segments"], row["leaf"], row["next"] = -1, -1, -1
        stretches = self.plane["stretches"]
        for key, end in reversed(text.older):
            free = self.plane.record["free_stretch"][0]
            self.plane.record["free_stretch"] = stretches["next"][free]
            self.plane.record["num_free_stretches"] -= 1
            stretches["key"][free], stretches["end"][free], stretches["next"][free] = key, end, row["segments"]
            row["segments"] = free
        q = Request(slot, r, text, prompt, output)
        self.requests.append(q)
        self.check()
        return q

    def look(self, q):
        """What a request would find; the model's blocks."""
        model, hits = self.models[q.replica], []
        if self.pool.enable_prefix_caching:
            hits = model.lookup(self.chain(q.replica, q.text, (q.delivered - 1) // self.size))
        idle = sum(block.num_users == 0 for block in hits)
        assert find_hits(self.plane.address, q.replica, q.slot, q.delivered) == (len(hits), idle)
        return hits, idle

    def admit(self, q, chunk):
        """Admit a waiting request with a first chunk, if it fits."""
        hits, idle = self.look(q)
        cached = len(hits) * self.size
        tokens = cached + min(chunk, q.delivered - cached)
        if self.blocks_for(tokens) - len(hits) + idle > self.models[q.replica].num_free:
            return
        hold_hits(self.plane.address, q.replica, q.slot, len(hits))
        self.models[q.replica].touch(hits)
        q.blocks, q.published = list(hits), len(hits)
        self.check()
        self.compute(q, tokens)
        q.state = "prefilling"
        self.plane["requests"]["state"][q.slot] = PREFILLING
        self.link_running(q.replica)

    def compute(self, q, tokens):
        """Blocks for the first `tokens`."""
        extend(self.plane.address, q.replica, q.slot, tokens, q.delivered)
        self.model_extend(q, tokens)
        q.computed = tokens
        self.check()

    def model_extend(self, q, tokens):
        model = self.models[q.replica]
        while len(q.blocks) < self.blocks_for(tokens):
            q.blocks.append(model.take())
        full = min(tokens, q.delivered) // self.size
        if self.pool.enable_prefix_caching and full > q.published:
            hashes = self.chain(q.replica, q.text, full)
            for place in range(q.published, full):
                model.publish(q.blocks[place], hashes[place])
            q.published = full

    def go_on(self, q, chunk):
        """The next chunk of a prefill; at its end a token, and decoding begins or the request is done."""
        tokens = min(q.computed + chunk, q.delivered)
        ahead = self.lag if tokens == q.delivered else 0  # blocks of steps scheduled before this one is processed
        if self.blocks_for(tokens + ahead) - len(q.blocks) > self.models[q.replica].num_free:
            return
        if tokens > q.computed:
            self.compute(q, tokens)
        if tokens < q.delivered:
            return
        q.emitted += 1
        self.plane["requests"]["emitted"][q.slot] = q.emitted
        if q.emitted >= q.output:
            self.finish(q)
            return
        if ahead:
            self.compute(q, tokens + ahead)
        self.begin_decoding(q)

    def begin_decoding(self, q):
        row, r = self.plane["requests"][q.slot], q.replica
        q.state, row["state"] = "decoding", DECODING
        row["end_step"] = q.prompt + q.output - q.delivered + self.plane["replicas"]["processed"][r]
        open_stream(self.plane.address, r, q.slot)
        self.check()

    def grant(self, q):
        """Serve a decoding request in the step that is being formed; whether it fits."""
        tokens = q.delivered + self.lag
        missing = self.blocks_for(tokens) - len(q.blocks)
        if missing > self.models[q.replica].num_free:
            return False
        if self.by_blocks(q.replica):
            extend(self.plane.address, q.replica, q.slot, tokens, q.delivered)
        else:
            take(self.plane.address, q.replica, missing)
        self.plane["requests"]["chunk"][q.slot] = 1
        self.model_extend(q, tokens)
        q.granted = True
        self.check()
        return True

    def step(self, r, at=0, act=lambda: None):
        """Serve all decoding requests, preempting the last while they do not fit; then end the step.

        After `at` of them are served, `act`.
        """
        served = 0
        while todo := [q for q in self.running(r, "decoding") if not q.granted]:
            if served == at:
                act()
                served += 1
                continue
            if self.grant(todo[0]):
                served += 1
            else:
                self.preempt(self.running(r)[-1])
        replica = self.plane["replicas"][r]
        replica["granted"] = 1
        for q in self.running(r, "decoding"):
            self.plane["requests"]["chunk"][q.slot] = 0
        self.check()
        replica["granted"] = 0
        replica["step"] += 1
        replica["processed"] += 1
        for q in self.running(r, "decoding"):
            q.granted = False
            q.emitted += 1
        self.check()
        for q in self.running(r, "decoding"):
            if q.emitted >= q.output:
                self.finish(q)

    def drop(self, q):
        """Give up all that a running request holds."""
        row = self.plane["requests"][q.slot]
        if q.state == "decoding":
            close_stream(self.plane.address, q.replica, q.slot, len(q.blocks), q.published)
            row["state"], row["emitted"], row["chunk"] = PREFILLING, q.emitted, 0
            self.check()
        release(self.plane.address, q.replica, q.slot)
        self.models[q.replica].release(q.blocks)
        q.blocks, q.published, q.computed, q.granted = [], 0, 0, False
        self.check()

    def finish(self, q):
        self.drop(q)
        q.state = "done"
        self.link_running(q.replica)

    def preempt(self, q):
        self.drop(q)
        q.state = "waiting"
        self.plane["requests"]["state"][q.slot] = WAITING
        self.link_running(q.replica)

    def forget(self, r):
        for q in self.running(r):
            self.finish(q)
        forget(self.plane.address, r)
        self.models[r] = BlockPool(self.pool)
        self.check()


def extent_rows(caches):
    """Extents in use."""
    room, table = caches.plane["rooms"][EXTENTS], caches.plane["extents"]
    free, e = set(), int(room["first"])
    while e >= 0:
        free.add(e)
        e = int(table["chained"][e])
    return [e for e in range(int(room["used"])) if e not in free]


def has_no_holes(model):
    """Whether the block before each cached one is cached too (`parents`: hash -> hash before)."""
    parents = {number: parent for (parent, _), number in model.hashes.items()}
    return all(parents[number] is None or parents[number] in model.index for number in model.index)


def queue_of(caches, r):
    """Extents that nobody uses, oldest first."""
    table, e = caches.plane["extents"], int(caches.plane["replicas"]["lru_head"][r])
    while e >= 0:
        yield e
        e = int(table["newer"][e])


def world_of(**settings):
    """A world with one pool."""
    return small.world(replace(small.pool(1.0), **({"max_num_seqs": 8, "max_model_len": 4096} | settings)))


def sound(caches):
    """Whether the extents keep their rules: who uses what, how many children, which are in the queue."""
    table = caches.plane["extents"]
    used = extent_rows(caches)
    originals = [e for e in used if table["num_children"][e] != COPY]
    copies_of = {e: [] for e in originals}
    for e in originals:
        c = int(table["copies"][e])
        while c >= 0:
            assert table["parent"][c] == e
            assert table["length"][c] == table["length"][e]
            copies_of[e].append(c)
            c = int(table["copies"][c])
    assert sorted([*originals, *(c for copies in copies_of.values() for c in copies)]) == used
    children = Counter(table["parent"][e] for e in originals)
    users = {e: sum(table["num_users"][c] for c in (e, *copies_of[e])) for e in originals}
    for e in originals:
        parent = table["parent"][e]
        assert table["num_children"][e] == children[e]
        if parent >= 0:
            assert users[parent] >= users[e]
            assert table["start"][e] == table["start"][parent] + table["length"][parent]
        else:
            assert table["start"][e] == 0
    unused = [e for e in used if table["num_users"][e] == 0]
    queued = []
    for r in range(REPLICAS):
        if not caches.by_blocks(r):
            queue = list(queue_of(caches, r))
            assert sum(table["length"][e] for e in queue) == caches.plane["replicas"]["evictable"][r]
            queued += queue
    assert sorted(queued) == unused
    return True
