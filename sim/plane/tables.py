"""The record types of the plane's state: one table a kind of thing, one record for the plane itself.

Times are absolute [s]; token, block and step counts are integers; an index is -1 where there is none.
`PLANE` holds the scalars and the address of every table, so that a plane function takes one pointer.
"""

from __future__ import annotations

import numpy as np

from sim.metrics.records import DONE
from sim.plane.companion_rows import COMPANION_TABLES
from sim.plane.compiled import rows
from sim.plane.health_rows import HEALTH_TABLES
from sim.plane.promise_rows import PROMISE_TABLES
from sim.plane.record_types import fields, record
from sim.plane.routing_rows import ROUTING_TABLES
from sim.plane.state_rows import STATE_TABLES
from sim.traffic.arrivals import ARRIVAL, SEGMENT

FAR = 1e300
"""Later than any event [s]."""

# Kinds of event; their order is the order of one instant.
ARRIVE, TIMER, TRANSFER, STEP = 1, 2, 3, 4

# Request states.
FREE, WAITING, PREFILLING, DECODING, THINKING, LEAVING, LOADING, DELAYED, QUEUED, WITHHELD = range(10)
"""PREFILLING: runs, apart from the batch's totals (mostly a chunk in progress). DECODING: in the totals, one token a
step. LEAVING: its last token is under way (asynchronous scheduling). LOADING: it waits in line and holds
blocks, and what is to be in them is on its way. DELAYED, QUEUED: at no replica, see deadlines.py; on its way or
in a tool, or in a gateway's queue."""

# Replica states, and what a replica's pending event ends.
OFF, ACTIVE, DRAINING, DOWN, STARTING, WARM = 0, 1, 2, 3, 4, 5
IDLE, SINGLE, DECODE = 0, 1, 2

# Sides of an answer that is split over two pools.
WHOLE, PREFILL_SIDE, DECODE_SIDE = 0, 1, 2

# Marks of an output that a step owes to one request (see FLIGHT): its gap is counted by itself, not with the totals';
# the token is still to be appended when the step has ended.
OWN_GAP, APPEND = 1, 2
CARRIED = OWN_GAP
"""In a pool that goes step by step, without APPEND: the step carries a chunk of the request, which gives no token."""


REPLICA = record(
    # what every event touches
    "i4 number state pool doing",
    "i4 pending num_decoding num_running num_waiting",
    "i4 num_loose loose blocked run_head",
    "i4 run_tail num_chunks num_aborts by_blocks",
    "i8 step target",  # steps scheduled; and after the event that is pending
    "i8 processed",  # steps whose output was processed
    "i4 depth granted",  # steps in flight after the pending event; whether pass 1 has served the decodes of this one
    # the decode run: end of step j after the anchor = t0 + (j d0 + slope j (j - 1) / 2)
    "f8 t0_s d0_s slope_s",
    "i8 step0",
    "i4 anchored piece",
    "f8 share_s context_s",
    "i8 counted",
    # blocks and context
    "i8 context free evictable base",
    "i8 residue_base count_base wait_base flight_base",
    "i4 lru_head lru_tail block_base bucket_base",
    # the single step scheduled last, split by what causes it
    "f8 began_s dt_s entry_s token_s",
    "f8 emit_s decode_s",
    "i8 num_tokens last_prefill",
    "i4 abort_head abort_tail saturated num_fruitless",
    # running integrals since step `origin`: per decoding sequence; per context token; that weighted by the step number
    "f8 per_seq_s per_context_s per_context_step_s",
    "f8 busy_s energy_j",
    "i8 origin admissions num_steps",
    "f8 booked_s booked_w",  # busy time is booked up to here; power of the step booked last
    # gauges: integrals over time up to `gauge_s`, KV up to `kv_at_s`
    "f8 gauge_s running_s waiting_s kv_at_s kv_s kv_blocks",
    "f8 online_at_s online_s",
    "i8 num_hashes unpromised near_live",
    # decodes pause while a step carries prefill (batch policy prefill_first)
    "i4 paused resumed",  # the step in flight is such a step; the first of the decode run comes after one
    "i8 num_pauses",
    "f8 last_decode_s",  # end of the last decode step
)

REQUEST = record(
    # queues and the visit under way, its text and its blocks: see content.py and cache.py
    "i4 state next prev replica",
    "i4 prompt output emitted computed",
    "i4 chunk visit group prefix",
    "i4 own_from leaf published num_blocks",
    "i8 admitted end_step join_offset",
    "u8 stream",
    "f8 seq_mark_s context_mark_s context_step_mark_s",
    "i4 segments itl_group",
    "f8 cost_s last_token_s",
    # who it is, and its timer
    "i8 user serial",
    "i4 conversation turn num_turns class_id",
    "f8 timer_s",
    "i4 bucket_next bucket_prev link wheel",
    "f8 arrived_s",
    # what will be recorded
    "f8 classified_s scheduled_s first_token_s abort_s",
    "f8 cost_usd guard_s",
    "i4 full_prompt full_output cached num_preemptions",
    "i4 language history user_tokens bucket",
    # its conversation's text: see text.py
    "i4 older began_at began_turn level",
    "i1 pending mid is_new is_private goes_on aborted",
    "i1 in_flight",  # steps in flight that carry it, in a pool that goes step by step
    "i1 fetches",  # the second visit of an answer that is split over two pools
    "i4 attempt",  # times that its turn was tried before; of one that waits to be tried again, the coming attempt's
)

POOL = record(
    "i4 first_replica max_replicas num_active router",
    "i4 max_seqs max_admitted max_tokens block_size usable watermark",
    "i4 reserve_full chunked caching by_priority num_levels num_pieces",
    "i4 reserves static prefill_first",  # batch policies
    "i4 depth threshold adaptive interval by_blocks num_buckets",
    "i4 singly drafts lookahead",  # the pool goes step by step; tokens drafted and reserved for drafting
    "i8 max_model_len",
    "i8 batch_s decode_batch_s sample_s excess_j",
    "i8 decode_offset_s decode_slope_s knot_tokens",
    "f8 pair_s prefill_step_s first_batch_s frontend_s usd_per_s",
    "i8 num_waiting min_waiting queue_alarm",
    "i8 num_arrived num_left num_preempted",
    "i8 prompt_tokens cached_tokens output_tokens",
    "f8 balance_rel",
    "i4 balance_abs prefix_token_count",
    "f8 kv_token_bytes",
    "i4 loads",  # whether part of a prompt's KV may come from elsewhere: `sim/plane/loading.py`
    # speculation: chance that so many drafts are accepted, and what came of them
    "i8 accept num_drafts draft_tokens accepted_tokens",
    # how long a step occupies the slowest pipeline stage
    "i8 stage_batch_s stage_decode_batch_s stage_sample_s stage_offset_s stage_slope_s",
    "f8 stage_pair_s stage_prefill_step_s idle_w attention_w",
    "f8 held_block_s",
    "i4 first_version",  # rows of this table with the step times of its versions
    "i4 first_part num_parts",  # rows of `parts`; none where no tier has replicas to itself
    # its gateway, see gateway.py: whether there is one, its order, its lanes; most that wait there
    "i4 gated order num_lanes lane_base",
    "i8 max_outstanding max_queue",  # of a replica; of the gateway
    "i8 room num_queued num_joined",  # places free at active replicas; requests that wait, and that ever did
    "f8 virtual",  # fair order: the start tag of the request that was let in last
    "f8 queued_s queued_at_s",  # integral of num_queued over time, up to queued_at_s
    "i4 streams",  # whether somebody reads along what is written here: `sim/plane/marks.py`
)

VISIT = record(
    "i4 pool generate reads_full template_tokens group ordinal",
    "f8 block_frac",
    "i4 home",  # the path's first visit to the same pool
    # `generate`: it works on the answer. Of such visits: it is the path's first, last; what it emits is the client's;
    # tokens that the client has when it begins; PREFILL or DECODE of an answer split over two pools
    "i4 first last streams emitted side",
    # of a decode visit, see world.Transfer: first link, and whether it is the prefill replica's; least part of a
    # transfer that remains when the prompt is complete
    "i4 first_link push",
    "f8 least_frac",
    "i4 path_end",  # row of the last visit of its path
    "i4 account",  # where its cost is booked: index into `World.accounts`
    # of a path that is more than guards and an answer, see work.py (`special`): what the visit is there for, whether it
    # decides on an answer, whether text joins the conversation on its path
    "i4 special role decides joins",
    "i4 extra_tokens keeps reads_exchange",
    "f8 frac escalate_frac",
    "i8 output_tokens delay_s adds_tokens refusal_tokens",  # quantile tables; -1: none
    "i8 true_positive false_positive",  # by language; -1: block_frac holds
    # a classifier beside the answer, see `sim/plane/companions.py`: the visits after it begin at once; what it reads of
    # the answer; in what pieces; whether the client gets them after their verdicts
    "i4 gates reads chunk_tokens carry_tokens holds_back",
    "i4 gate check",  # of all visits of a path: those that a companion makes, -1: none
)

HOLD = record(
    # the prompt's KV cache where it was computed: the replica (-1: nothing is held), as in a request's row, tokens
    "i4 replica leaf published num_blocks tokens",
    "i4 cached",
    "f8 scheduled_s prefilled_s",  # first step that carried it there, and the end of the last
    "f8 chunk_s",  # time of that last step
)
"""What a request whose answer is split over two pools leaves in the first, by request row: `sim/plane/handover.py`."""

CLASS = record(
    "i4 first_visit last_visit level prefix_tokens",
    "i4 group keep_history max_context itl_group",
    "f8 min_think_s",
    "i8 user_tokens output_tokens gap_s patience_s",
    "i4 refuses_long",  # a turn that exceeds max_context is refused, not cut
    "i4 spaced",  # turns after the first are sent one by one, at least an interval apart
    "f8 interval_s sent_s",  # that interval; when the last of them was (or will be) sent
    "i8 factors",  # on user and output tokens of later turns, by language; -1: 1 for all
    # what senders do about failures and late answers, where they do anything; `retried`: a bit for each ending
    "i4 reacts retried max_retries",
    "i8 backoff_s",
    "f8 retry_frac backoff_factor max_backoff_s leave_frac slow_s slow_leave_frac",
    "i4 lane user_limit max_output",  # its tier's number; row of its users' limit, -1: none; longest answer
    "i4 last_expected",  # expected output tokens by language: number of the last; where they begin, -1: not told
    "i8 expected",
    "f8 unsafe_frac",
    "i4 special",  # its path is more than guards and an answer
    "i4 scaled busted",  # drifts under way: its lengths are scaled, its prompts begin with different text
    "f8 user_factor output_factor",
)

RETRY = np.dtype(fields("f8 asked_s", "i8 retry_of"))
"""Of a turn that is tried again, by request row: its first attempt's arrival, and the serial of the attempt before. No
rows where nobody tries again."""

GUARD, DRAFT, CANDIDATE, ANSWER, PAUSE = range(5)
"""What a visit is there for. DRAFT: its output is read by later visits. CANDIDATE: it is the answer, or is thrown away.
PAUSE: a delay."""

WORK = np.dtype(
    fields(
        "i4 added kept same answered",
        "i4 read refusal drafts anew",
        "i4 cut_at told_turn visit replica",
        "i4 cached pad",
        "f8 answer_s classified_s scheduled_s first_s wait_s",
    )
)
"""What the visits of a request add and leave, by request row: `sim/plane/work.py`. No rows where all paths are guards
and an answer."""

DEADLINE = np.dtype(fields("f8 due_s limit_s patience_s"))
"""What a request waits for, by request row, FAR where it does not: `sim/plane/deadlines.py`. No rows where nothing but
patience limits a wait."""

EXTRA = np.dtype(fields("f8 gateway_s network_s verdict_s delay_s", "i4 flags pad"))
"""Fields of a request's record of the same names while it lives, by request row; no rows where none of them is used."""

OBSERVED = np.dtype(
    fields(
        "i8 num_replicas num_running num_waiting min_waiting",
        "i8 num_arrived num_left num_preempted num_steps",
        "i8 prompt_tokens cached_tokens output_tokens",
        "i8 num_drafts draft_tokens accepted_tokens",
        "f8 online_s busy_s running_s waiting_s kv_block_s busy_j down_s",
    )
)
"""A pool at one instant: what it holds, and its counters and integrals since the start."""

STRETCH = np.dtype(fields("u8 key", "i4 end next"))
"""A stretch of a prompt's text, up to position `end`; tokens are equal where key and offset are."""
EXTENT = record(
    "u8 first last",
    "i4 parent num_children start length num_users owner",
    "i4 older newer chained copies block",
)
"""Consecutive cached blocks of one chain with the same users: `sim/plane/extents.py`."""
BLOCK = np.dtype(fields("u8 hash", "i4 num_users older newer chained"))
"""One KV block: `sim/plane/blockwise.py`."""
HELD = np.dtype(fields("i4 block below above pad"))
"""An entry of a request's block table, and the entries before and after it."""
ROOM = np.dtype(fields("i8 rows used spare first slack"))
"""Rows of a cache table: all, those ever used, of these the ones given back (a list), and what an event may need."""
EXTENTS, BLOCKS, BLOCK_BUCKETS, HELD_ENTRIES = range(4)
"""Rows of the table `rooms`."""
FLIGHT = np.dtype(fields("f8 end_s dt_s", "i4 num_decodes num_outputs copied pad"))
"""A single step in flight, by its number modulo those there may be (`PLANE.ring`): when it ends and how long it takes,
how many decoding sequences it carries (by group: copied counts, or the totals of the moment), how many requests have an
output of their own."""
LOG = np.dtype(fields("f8 t_s", "i8 a b c", "i4 kind replica"))
"""A row of the log of steps: `sim/plane/log.py`."""
LINK_COUNTERS = ("busy_s", "num_bytes", "num_transfers")
LINK = record(
    "f8 bytes_per_s latency_s free_at_s",
    "f8 busy_s num_bytes",
    "i8 num_transfers",
    "i4 head tail",
)
"""A link that carries one transfer after the other: `sim/plane/links.py`."""
LOAD = np.dtype(
    fields("f8 posted_s arrives_s ahead_s least_frac", "i4 link next available upto num_loads found slower counted")
)
"""What a request loads, by request row: the link, and the one after it there; how many leading tokens can be had; how
many it will have. What a lookup found in the host tier, how much of it is sooner computed, and whether that was counted
already. No rows where nobody loads."""
LOADER = np.dtype(fields("i4 num_loading num_holding store link"))
"""Who loads at a replica: requests whose load is under way; those, and the ones that wait with what was loaded. Its
store in the host tier (-1: none) and the link to it."""
TIER_COUNTERS = (
    "prompt_tokens", "found_tokens", "loaded_tokens", "slower_tokens", "written_tokens", "evicted_tokens",
    "expired_tokens", "refused_tokens",
)  # fmt: skip
TIER = record("f8 ttl_s", "i4 min_tokens shared", "i8 " + " ".join(TIER_COUNTERS))
"""The host tier of a pool: its rules, and counters [tokens]: `sim/plane/host_tier.py`."""
WAIT = np.dtype(fields("i4 head tail"))
OUT = np.dtype(fields("f8 t_s", "i4 kind id", "i8 key"))
NODE = np.dtype(fields("f8 t_s", "i8 id"))
DUE = np.dtype(fields("f8 t_s", "i8 key slot"))
F8, I8, I4, U8 = (np.dtype([("v", code)]) for code in ("f8", "i8", "i4", "u8"))

TABLES: dict[str, np.dtype[np.void]] = {
    "replicas": REPLICA,
    "requests": REQUEST,
    "pools": POOL,
    "visits": VISIT,
    "classes": CLASS,
    "holds": HOLD,
    "retries": RETRY,
    "deadlines": DEADLINE,
    "works": WORK,
    "extras": EXTRA,
    "holding": I4,
    "transfer_times": I8,
    "group_keys": U8,
    "stretches": STRETCH,
    "segments": SEGMENT,
    "extents": EXTENT,
    "extent_buckets": I4,
    "blocks": BLOCK,
    "block_buckets": I4,
    "held": HELD,
    "rooms": ROOM,
    "links": LINK,
    "loads": LOAD,
    "loaders": LOADER,
    "tiers": TIER,
    "extent_times": F8,
    "block_times": F8,
    "waits": WAIT,
    "active": I4,
    "outstanding": I4,
    "homes": I4,
    "ends": I8,
    "flights": FLIGHT,
    "outputs": I4,
    "chunks": I4,
    "ended": I4,
    "residues": I4,
    "counts": I4,
    "flight_counts": I4,
    "itl": I8,
    "spread": I8,
    "stage_free": F8,
    "log": LOG,
    "out": OUT,
    "done": DONE,
    "arrivals": ARRIVAL,
    "nodes": NODE,
    "wheel": I4,
    "due": DUE,
    "curves": F8,
    **PROMISE_TABLES,
    **COMPANION_TABLES,
    **ROUTING_TABLES,
    "spent": F8,
    **STATE_TABLES,
    **HEALTH_TABLES,
}
"""Every table of the plane and its row type; `curves` holds all step-time and quantile arrays end to end."""

PLANE = record(
    "i8 num_out num_done done_room wake cursor leap",
    "i8 next_arrival num_arrivals arrivals_end free_slot num_free num_requests",
    "i8 next_serial num_events stuck num_fallbacks",
    "i8 logging num_log log_room",
    "i8 next_segment free_stretch num_free_stretches stretch_slack",
    "f8 now_s horizon_s",
    "i8 num_replicas num_itl tree_size has_segments",
    "i8 wheel_at num_wheel num_due due_size",
    "i8 num_homes num_links has_loads keeps_times has_holds has_retries num_retries num_outages",
    "i8 has_deadlines has_extras has_faults has_gates has_charges has_work event_stretches",
    "i8 num_user_limits meter_size num_meters meter_room",  # users' meters: rows, those taken, how many may be
    "i8 num_accounts",
    "i8 has_companions has_marks num_reached row_slack",  # rows that an event may need
    "i8 ring",  # rows of flights of a replica, less one
    "u8 user_tokens_key output_tokens_key gap_key patience_key block_key route_key affinity_key content_key",
    "u8 accept_key retry_key backoff_key leave_key router_key",
    # routers, and what they know: `sim/plane/views.py` and `sim/plane/prefix_index.py`
    "i8 num_routers num_up routes_talks num_pools num_lanes has_parts watches looks counts_own",
    "i8 index_blocks holder_mask num_holders free_holder num_listings favourite_mask",
    "f8 state_interval_s min_match_frac",
    # regions: `sim/plane/regions.py`
    "i8 num_regions num_places",
    "f8 spill_at",
    "u8 region_key",
    # long paths: `sim/plane/work.py`
    "u8 made_key delay_key delay_tokens_key visit_output_key escalate_key refusal_key unsafe_key",
    "i8 " + " ".join(TABLES),
)

plane_at = rows(PLANE)
replica_at, request_at, pool_at, visit_at, class_at = map(rows, (REPLICA, REQUEST, POOL, VISIT, CLASS))
link_at, load_at, loader_at, tier_at, hold_at, retry_at = map(rows, (LINK, LOAD, LOADER, TIER, HOLD, RETRY))
wait_at, out_at, node_at, due_at = map(rows, (WAIT, OUT, NODE, DUE))
deadline_at, extra_at, work_at = map(rows, (DEADLINE, EXTRA, WORK))
flight_at, log_at = map(rows, (FLIGHT, LOG))
stretch_at, extent_at, block_at, held_at, room_at = map(rows, (STRETCH, EXTENT, BLOCK, HELD, ROOM))
done_at, arrival_at, segment_at = rows(DONE), rows(ARRIVAL), rows(SEGMENT)
observed_at = rows(OBSERVED)
f8_at, i8_at, i4_at, u8_at = map(rows, (F8, I8, I4, U8))
