"""The record types of what routers know: `sim/plane/views.py` and `sim/plane/prefix_index.py`."""

import numpy as np

from sim.plane.compiled import rows

GAUGE = np.dtype([("used", "i4"), ("own", "i4")])
"""KV blocks in use at a replica when its gauges were read last, and those of the prompts that this router sent there
since; by router and replica. No rows where no router reads gauges."""
PART = np.dtype([(name, "i4") for name in ("first", "end", "first_active", "num_active", "num_outstanding", "pad")])
"""Replicas of a pool that a tier has to itself, or that are in a region: which, where the active ones stand in
`active`, and (of regions) the requests that they have."""
PLACE = np.dtype([(name, "i4") for name in ("user", "home", "at", "heading", "settles", "pad")])
"""Where a request is, by request row: its sender's place, the region nearest to it; the region it is in, and the one it
is on its way to (-1: none), where it then stays. No rows where there are no regions."""
HOLDER = np.dtype(
    [("word", "u8"), ("replica", "i4"), ("tokens", "i4"), *((name, "i4") for name in ("next", "older", "newer", "pad"))]
)
"""That a text's first tokens were sent to a replica: a word for the text and all before it, how many tokens. The next
entry of its bucket; its neighbours among all that this router sent there, in order of last use."""
SHELF = np.dtype([("oldest", "i4"), ("newest", "i4"), ("num_blocks", "i8")])
"""All that a router remembers to have sent to a replica, by router and replica."""
FAVOURITE = np.dtype([("word", "u8"), ("replica", "i4"), ("listing", "i4")])
"""Which replica a text was found to be drawn to most, and how often active replicas had been listed by then."""

ROUTING_TABLES = {
    "routers": np.dtype([("v", "i4")]),  # 1: up, 0: down
    "via": np.dtype([("v", "i4")]),  # which of them a request came by, by request row; empty where there is one
    "sent": np.dtype([("v", "i4")]),  # requests outstanding, by router and replica; empty where there is one
    "rotations": np.dtype([("v", "i8")]),  # visits sent in rotation, by router and lane: a pool, or a part of one
    "gauges": GAUGE,
    "looked": np.dtype([("v", "f8")]),  # when a router read the gauges last
    "parts": PART,
    "region_parts": np.dtype([("v", "i4")]),  # row of `parts`, by pool and region
    "part_of": np.dtype([("v", "i4")]),  # row of `parts`, by replica; only where there are regions
    "places": PLACE,
    "place_edges": np.dtype([("v", "u8")]),  # where the words of senders go over from one place to the next
    "nearest": np.dtype([("v", "i4")]),  # region, by place of senders
    "neighbours": np.dtype([("v", "i4")]),  # of each region, all by distance
    "to_users_s": np.dtype([("v", "f8")]),  # by place of senders and region
    "between_s": np.dtype([("v", "f8")]),  # by region and region
    "class_parts": np.dtype([("v", "i4")]),  # row of `parts`, by class and pool
    "holders": HOLDER,
    "holder_buckets": np.dtype([("v", "i4")]),
    "shelves": SHELF,
    "favourites": FAVOURITE,  # by the low bits of the word; no rows where no pool goes by prefix_affinity
}
"""Tables of the plane that only routers use."""

gauge_at, part_at, holder_at, shelf_at, place_at, favourite_at = map(
    rows, (GAUGE, PART, HOLDER, SHELF, PLACE, FAVOURITE)
)
