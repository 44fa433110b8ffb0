"""The prefix caches of the plane and the readable model's, side by side: what is done to one is done to the other.

`Caches` has the requests, their texts and the few rules of a scheduler that the caches' interface takes for granted;
after every act it compares what can be seen of the two.
"""

from dataclasses import dataclass, field, replace

import small
from cache_drivers import (
    GROUP_KEYS,
    SmallPlane,
    close_stream,
    extend,
    find_hits,
    forget,
    hold_hits,
    is_full,
    observe,
    open_stream,
    release,
    take,
)
from slow_replica import Block, BlockPool

from sim.plane.cache_tables import grow_cache
from sim.plane.tables import DECODING, PREFILLING, WAITING


def world_of(**settings):
    """A world with one pool."""
    return small.world(replace(small.pool(1.0), **({"max_num_seqs": 8, "max_model_len": 4096} | settings)))


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

    def __init__(self, world, *, lag=0, num_replicas=2, num_requests=200):
        (self.pool,) = world.pools
        self.size, self.lag = self.pool.block_size, lag
        self.plane = SmallPlane(world, num_replicas, num_requests)
        self.models = [BlockPool(self.pool) for _ in range(num_replicas)]
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

    def finish_all(self, r):
        for q in self.running(r):
            self.finish(q)

    def forget(self, r):
        """The replica goes off."""
        self.finish_all(r)
        forget(self.plane.address, r)
        self.models[r] = BlockPool(self.pool)
        self.check()

    def drain(self, r):
        """Take all blocks one by one, so that every cached one is evicted in its turn."""
        self.finish_all(r)
        q = self.add(r, Text(stream=1 << 40), self.size * (self.pool.num_gpu_blocks - 1), 1)
        self.admit(q, 1)
        while q.computed < q.prompt - self.size:
            self.go_on(q, self.size)
