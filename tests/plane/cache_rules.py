"""What holds of extents, and of the model's index, at any time."""

from collections import Counter

from sim.plane.extent_rows import COPY
from sim.plane.tables import EXTENTS


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
    for r in range(len(caches.models)):
        if not caches.by_blocks(r):
            queue = list(queue_of(caches, r))
            assert sum(table["length"][e] for e in queue) == caches.plane["replicas"]["evictable"][r]
            queued += queue
    assert sorted(queued) == unused
    return True
