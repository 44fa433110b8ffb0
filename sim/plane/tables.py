"""The record types of the plane's state: one table a kind of thing, one record for the plane itself.

Times are absolute [s]; token, block and step counts are integers; an index is -1 where there is none.
`PLANE` holds the scalars and the address of every table, so that a plane function takes one pointer.
"""

from __future__ import annotations

import numpy as np

from sim.metrics.records import DONE
from sim.plane.compiled import rows
from sim.traffic.arrivals import ARRIVAL

FAR = 1e300
"""Later than any event [s]."""

# Kinds of event; their order is the order of one instant.
ARRIVE, TIMER, STEP = 1, 2, 4

# Request states.
FREE, WAITING, PREFILLING, DECODING, THINKING = 0, 1, 2, 3, 4

# Replica states, and what a replica's pending event ends.
OFF, ACTIVE, DRAINING = 0, 1, 2
IDLE, MIXED, DECODE = 0, 1, 2

# What a classifier reads.
READS_USER, READS_FULL = 0, 1


def record(*fields: tuple[str, str]) -> np.dtype[np.void]:
    """A record type padded to whole cache lines, so that a row never straddles more lines than it must."""
    size = np.dtype(list(fields)).itemsize
    pad = -size % 64
    return np.dtype([*fields, ("pad", "u1", pad)] if pad else list(fields))


REPLICA = record(
    # what every event touches
    ("state", "i4"), ("pool", "i4"), ("doing", "i4"), ("pending", "i4"),
    ("num_decoding", "i4"), ("num_running", "i4"), ("num_waiting", "i4"), ("num_prefilled", "i4"),
    ("partial", "i4"), ("blocked", "i4"), ("run_head", "i4"), ("run_tail", "i4"),
    ("step", "i8"), ("target", "i8"),
    # the decode run: end of step j after the anchor = t0 + (j d0 + slope j (j - 1) / 2)
    ("t0_s", "f8"), ("d0_s", "f8"), ("slope_s", "f8"), ("step0", "i8"),
    ("anchored", "i4"), ("piece", "i4"), ("share_s", "f8"), ("context_s", "f8"), ("counted", "i8"),
    # blocks and context
    ("context", "i8"), ("free", "i8"), ("evictable", "i8"), ("base", "i8"),
    ("residue_base", "i8"), ("group_base", "i8"), ("count_base", "i8"), ("wait_base", "i8"),
    # the mixed step in progress, split by what causes it
    ("began_s", "f8"), ("dt_s", "f8"), ("entry_s", "f8"), ("token_s", "f8"),
    ("emit_s", "f8"), ("decode_s", "f8"), ("num_tokens", "i8"), ("num_aborts", "i4"), ("abort_head", "i4"),
    # running integrals: per decoding sequence; per context token; the same weighted by the step number
    ("per_seq_s", "f8"), ("per_context_s", "f8"), ("per_context_step_s", "f8"),
    ("busy_s", "f8"), ("energy_j", "f8"), ("admissions", "i8"), ("stamp", "i8"), ("num_steps", "i8"),
    # gauges: integrals over time up to `gauge_s`, KV up to `kv_at_s`
    ("gauge_s", "f8"), ("running_s", "f8"), ("waiting_s", "f8"), ("kv_at_s", "f8"), ("kv_s", "f8"), ("kv_blocks", "f8"),
    ("online_at_s", "f8"), ("online_s", "f8"), ("abort_tail", "i4"), ("unused", "i4"),
)  # fmt: skip

REQUEST = record(
    # line 1: queues and the visit under way
    ("state", "i4"), ("next", "i4"), ("prev", "i4"), ("replica", "i4"),
    ("prompt", "i4"), ("output", "i4"), ("emitted", "i4"), ("computed", "i4"),
    ("chunk", "i4"), ("shared", "i4"), ("group", "i4"), ("visit", "i4"),
    ("level", "i4"), ("prefix", "i4"), ("admitted", "i8"),
    # line 2: the decode run it is part of
    ("end_step", "i8"), ("join_offset", "i8"), ("seq_mark_s", "f8"), ("context_mark_s", "f8"), ("context_step_mark_s", "f8"),
    ("cost_s", "f8"), ("itl_group", "i4"), ("link", "i4"), ("last_token_s", "f8"),
    # line 3: who it is, and its timer
    ("user", "i8"), ("serial", "i8"), ("conversation", "i4"), ("turn", "i4"), ("num_turns", "i4"), ("class_id", "i4"),
    ("timer_s", "f8"), ("bucket_next", "i4"), ("bucket_prev", "i4"), ("wheel", "i8"), ("arrived_s", "f8"),
    # line 4: what will be recorded
    ("classified_s", "f8"), ("scheduled_s", "f8"), ("first_token_s", "f8"), ("abort_s", "f8"),
    ("cost_usd", "f8"), ("guard_s", "f8"), ("full_prompt", "i4"), ("full_output", "i4"), ("cached", "i4"), ("num_preemptions", "i4"),
    ("language", "i4"), ("history", "i4"), ("user_tokens", "i4"), ("bucket", "i4"), ("aborted", "i4"),
)  # fmt: skip

POOL = record(
    ("first_replica", "i4"), ("max_replicas", "i4"), ("num_active", "i4"), ("router", "i4"), ("rotation", "i8"),
    ("max_seqs", "i4"), ("max_tokens", "i4"), ("block_size", "i4"), ("usable", "i4"), ("watermark", "i4"),
    ("reserve_full", "i4"), ("chunked", "i4"), ("caching", "i4"), ("by_priority", "i4"), ("num_levels", "i4"), ("num_pieces", "i4"), ("max_model_len", "i8"),
    ("batch_s", "i8"), ("decode_batch_s", "i8"), ("sample_s", "i8"), ("power_w", "i8"),
    ("decode_offset_s", "i8"), ("decode_slope_s", "i8"), ("knot_tokens", "i8"),
    ("pair_s", "f8"), ("prefill_step_s", "f8"), ("first_batch_s", "f8"), ("frontend_s", "f8"), ("usd_per_s", "f8"),
    ("num_waiting", "i8"), ("min_waiting", "i8"), ("queue_alarm", "i8"),
    ("num_arrived", "i8"), ("num_left", "i8"), ("num_preempted", "i8"),
    ("prompt_tokens", "i8"), ("cached_tokens", "i8"), ("output_tokens", "i8"),
)  # fmt: skip

VISIT = record(
    ("pool", "i4"), ("generate", "i4"), ("reads", "i4"), ("template_tokens", "i4"), ("group", "i4"), ("ordinal", "i4"), ("block_frac", "f8"),
)  # fmt: skip

CLASS = record(
    ("first_visit", "i4"), ("last_visit", "i4"), ("level", "i4"), ("prefix_tokens", "i4"),
    ("group", "i4"), ("keep_history", "i4"), ("max_context", "i4"), ("itl_group", "i4"),
    ("min_think_s", "f8"), ("user_tokens", "i8"), ("output_tokens", "i8"), ("gap_s", "i8"), ("patience_s", "i8"),
)  # fmt: skip

OBSERVED = np.dtype([
    ("num_replicas", "i8"), ("num_running", "i8"), ("num_waiting", "i8"), ("min_waiting", "i8"),
    ("num_arrived", "i8"), ("num_left", "i8"), ("num_preempted", "i8"), ("num_steps", "i8"),
    ("prompt_tokens", "i8"), ("cached_tokens", "i8"), ("output_tokens", "i8"),
    ("online_s", "f8"), ("busy_s", "f8"), ("running_s", "f8"), ("waiting_s", "f8"), ("kv_block_s", "f8"), ("busy_j", "f8"),
])  # fmt: skip
"""A pool at one instant: what it holds, and its counters and integrals since the start."""

BUCKET = np.dtype([("level", "f8"), ("at_s", "f8"), ("rate_per_s", "f8"), ("capacity", "f8")])
GROUP = np.dtype([("cached", "i4"), ("depth", "i4"), ("base", "i8"), ("stamp", "i8")])
"""A shared prefix on one replica: leading blocks in the index, the deepest in use, when last released."""
WAIT = np.dtype([("head", "i4"), ("tail", "i4")])
OUT = np.dtype([("t_s", "f8"), ("kind", "i4"), ("id", "i4"), ("key", "i8")])
NODE = np.dtype([("t_s", "f8"), ("id", "i8")])
DUE = np.dtype([("t_s", "f8"), ("key", "i8"), ("slot", "i8")])
F8, I8, I4 = (np.dtype([("v", code)]) for code in ("f8", "i8", "i4"))

TABLES: dict[str, np.dtype[np.void]] = {
    "replicas": REPLICA, "requests": REQUEST, "pools": POOL, "visits": VISIT, "classes": CLASS, "buckets": BUCKET,
    "groups": GROUP, "depths": I4, "waits": WAIT, "active": I4, "outstanding": I4, "ends": I8, "prefilled": I4, "ended": I4,
    "residues": I4, "counts": I4, "itl": I8, "out": OUT, "done": DONE, "arrivals": ARRIVAL, "nodes": NODE,
    "wheel": I4, "due": DUE, "curves": F8,
}  # fmt: skip
"""Every table of the plane and its row type; `curves` holds all step-time and quantile arrays end to end."""

PLANE = record(
    ("num_out", "i8"), ("num_done", "i8"), ("done_room", "i8"), ("wake", "i8"), ("cursor", "i8"), ("leap", "i8"),
    ("next_arrival", "i8"), ("num_arrivals", "i8"), ("arrivals_end", "i8"), ("free_slot", "i8"), ("num_free", "i8"), ("num_requests", "i8"),
    ("next_serial", "i8"), ("num_events", "i8"), ("now_s", "f8"), ("horizon_s", "f8"),
    ("num_replicas", "i8"), ("num_pools", "i8"), ("num_groups", "i8"), ("num_itl", "i8"), ("tree_size", "i8"),
    ("wheel_at", "i8"), ("num_wheel", "i8"), ("num_due", "i8"), ("due_size", "i8"),
    ("user_tokens_key", "u8"), ("output_tokens_key", "u8"), ("gap_key", "u8"), ("patience_key", "u8"), ("block_key", "u8"), ("route_key", "u8"),
    *((name, "i8") for name in TABLES),
)  # fmt: skip

plane_at = rows(PLANE)
replica_at, request_at, pool_at, visit_at, class_at, bucket_at = map(
    rows, (REPLICA, REQUEST, POOL, VISIT, CLASS, BUCKET)
)
group_at, wait_at, out_at, node_at, due_at = map(rows, (GROUP, WAIT, OUT, NODE, DUE))
done_at, arrival_at = rows(DONE), rows(ARRIVAL)
observed_at = rows(OBSERVED)
f8_at, i8_at, i4_at = map(rows, (F8, I8, I4))
