"""The blocks of one replica of the readable model: section 4 of the scheduler's specification (Part B)."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from slow_content import Token

from sim.plane.world import Pool


@dataclass(eq=False)
class Block:
    """A KV block. Free if nobody uses it; cached if it has a hash; it may be both."""

    num_users: int = 0
    hash: int | None = None


class BlockPool:
    """The blocks of one replica: the queue of free ones, and the index of cached ones."""

    def __init__(self, pool: Pool) -> None:
        self.free = OrderedDict.fromkeys(Block() for _ in range(pool.num_gpu_blocks - 1))  # one is the null block
        self.index: dict[int, list[Block]] = {}
        """Blocks of equal hash, in order of publishing."""
        self.hashes: dict[tuple[int | None, tuple[Token, ...]], int] = {}

    @property
    def num_free(self) -> int:
        """Free blocks, cached ones included."""
        return len(self.free)

    @property
    def num_cached(self) -> int:
        """Distinct hashes in the index."""
        return len(self.index)

    def hash_of(self, parent: int | None, tokens: tuple[Token, ...]) -> int:
        """A number that stands for a block's tokens and all before them, given its predecessor's number (4.2)."""
        return self.hashes.setdefault((parent, tokens), len(self.hashes))

    def take(self) -> Block:
        """The first of the free queue; if it was cached, it is not any more (4.3)."""
        block, _ = self.free.popitem(last=False)
        if block.hash is not None:
            self.index[block.hash].remove(block)
            if not self.index[block.hash]:
                del self.index[block.hash]
            block.hash = None
        block.num_users = 1
        return block

    def touch(self, hits: Iterable[Block]) -> None:
        """Use blocks that a lookup found (4.4)."""
        for block in hits:
            if block.num_users == 0:
                del self.free[block]
            block.num_users += 1

    def publish(self, block: Block, hash_: int) -> None:
        """Put a block into the index, behind those of the same hash (4.5)."""
        block.hash = hash_
        self.index.setdefault(hash_, []).append(block)

    def lookup(self, hashes: Iterable[int]) -> list[Block]:
        """The cached blocks of a chain, up to the first that is missing; of equal ones the first published (4.6)."""
        hits = []
        for hash_ in hashes:
            if hash_ not in self.index:
                break
            hits.append(self.index[hash_][0])
        return hits

    def release(self, table: list[Block]) -> None:
        """Give back a request's blocks, last first: unhashed ones to the front, cached ones to the back (4.7)."""
        for block in table:
            block.num_users -= 1
        freed = [block for block in reversed(table) if block.num_users == 0]
        for block in reversed([block for block in freed if block.hash is None]):
            self.free[block] = None
            self.free.move_to_end(block, last=False)
        for block in [block for block in freed if block.hash is not None]:
            self.free[block] = None
