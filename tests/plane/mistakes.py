"""Mistakes that implementations of the scheduler have made, to be planted in a copy of the sources.

The list is that of the recorded cases' specification (section 16); names are its words. Each has the checks (see
`notice.py`) that must notice it. A mistake about the order of blocks is planted where the plane keeps blocks one by
one: extents have no place for it, since what they keep is what the right order makes of runs of blocks.
"""

from dataclasses import dataclass

SCHEDULER, BATCH, OUTPUTS, ENGINE = (f"sim/plane/{name}.py" for name in ("scheduler", "batch", "outputs", "engine"))
SEQUENCE, BUILDING, CACHE, BLOCKWISE, EXTENTS, ROWS = (
    f"sim/plane/{name}.py" for name in ("sequence", "building", "cache", "blockwise", "extents", "extent_rows")
)
JOURNEY, ENDINGS, REACTIONS, DRAWING, TEXT = (
    f"sim/plane/{name}.py" for name in ("journey", "endings", "reactions", "drawing", "text")
)
MODEL = "tests/plane/slow_replica.py"
Edit = tuple[str, str, str]
"""(file, text, what takes its place)."""


@dataclass(frozen=True)
class Mistake:
    """One rule broken."""

    edits: tuple[Edit, ...]
    noticed_by: tuple[str, ...]


def in_(file: str, *pairs: tuple[str, str]) -> tuple[Edit, ...]:
    """Edits of one file."""
    return tuple((file, old, new) for old, new in pairs)


CAPPED = "    num_delivered = min(num_delivered, request_at(p.requests, slot).prompt)\n"
USABLE = ('row["usable"], row["watermark"]', 'row["unpromised"]')
SKIP = """            slot = np.int64(q.next)
            continue
"""
FULL = "blocks_for(tokens, pool.block_size) + extra > num_free(s):\n            return\n"
CHUNK = "if blocks_for(reach(pool, cached + chunk), pool.block_size) + extra > num_free(s):\n            return\n"
WHOLE = "if pool.chunked == 0 and chunk > left:\n            return\n"
PASSES = """    left = run_together(p, pool, s, limit, hold)
    if left < 0:
        left = run_one_by_one(p, pool, s, limit, hold, now)
"""
PASSES_SWAPPED = """    admit(p, pool, s, pool.max_tokens, limit, hold, now)
    used = 0
    slot = s.run_head
    while slot >= 0:
        used += request_at(p.requests, slot).chunk
        slot = request_at(p.requests, slot).next
    pool.max_tokens -= used
    run_one_by_one(p, pool, s, limit, hold, now)
    pool.max_tokens += used
    left = 0
"""
LISTED = "        list_chunk(p, pool, s, slot)\n        left -= chunk\n        pool.cached"
FIND = "    head = bucket_of(p, pool, s, word)\n    if head.v == 0:\n        head.v = b + 1\n        return\n"
VICTIM = "victim = pick_victim(p, pool, s)"
TO_BACK = "link(p, s, b, np.int64(s.lru_tail))\n    q.published = 0"

MISTAKES: dict[str, Mistake] = {
    # Blocks
    "unhashed freed blocks appended to the back instead of the front": Mistake(
        in_(BLOCKWISE, ("            link(p, s, b, -1)", "            link(p, s, b, np.int64(s.lru_tail))")),
        ("blocks:tiny_pool", "blocks:multi_turn_preempt"),
    ),
    "hashed freed blocks put at the front too": Mistake(
        in_(BLOCKWISE, (TO_BACK, TO_BACK.replace("np.int64(s.lru_tail)", "np.int64(-1)"))),
        ("blocks:tiny_pool", "blocks:multi_turn_preempt"),
    ),
    "hashed freed blocks put at the front too (extents)": Mistake(
        in_(ROWS, ("    link(p, s, e, t)\n", "    link(p, s, e, np.int64(-1))\n")),
        ("extents:tiny_pool", "extents:multi_turn_preempt"),
    ),
    "a request's blocks freed head first instead of tail first": Mistake(
        in_(
            BLOCKWISE,
            ("    while q.num_blocks > 0:\n", "    tail = np.int64(s.lru_tail)\n    while q.num_blocks > 0:\n"),
            (TO_BACK, TO_BACK.replace("np.int64(s.lru_tail)", "tail")),
        ),
        ("blocks:tiny_pool", "blocks:multi_turn_preempt"),
    ),
    "hit may cover the last token": Mistake(
        in_(BLOCKWISE, ("most = (num_tokens - 1) // pool.block_size", "most = num_tokens // pool.block_size")),
        ("blocks:exact_boundaries",),
    ),
    "hit may cover the last token (extents)": Mistake(
        in_(EXTENTS, ("most = (num_tokens - 1) // pool.block_size", "most = num_tokens // pool.block_size")),
        ("extents:exact_boundaries",),
    ),
    "blocks published when the step ends, not when scheduled": Mistake(
        (
            *in_(SEQUENCE, ("(delivered(s, q) - 1 + is_granted(s, q)) // ", "(delivered(s, q) - 1) // ")),
            *in_(
                SCHEDULER,
                ("min(tokens, q.prompt + q.emitted))", "q.computed)"),
                (
                    "min(cached + chunk, tokens))",
                    "cached)",
                ),
            ),
            *in_(OUTPUTS, ("        if pool.depth > 0:\n            extend(", "        if True:\n            extend(")),
        ),
        ("extents:tiny_pool", "extents:long_prefill_threshold"),
    ),
    "of duplicate cached blocks the newest is used": Mistake(
        in_(BLOCKWISE, (FIND, FIND.replace("if head.v == 0:", "if True:\n        x.chained = head.v"))),
        ("blocks:exact_boundaries",),
    ),
    "a block whose hash is already cached is not published": Mistake(
        in_(
            BLOCKWISE,
            (
                "    if find(p, pool, s, word) < 0:\n        s.num_hashes += 1\n    put",
                "    if find(p, pool, s, word) >= 0:\n        return\n    s.num_hashes += 1\n    put",
            ),
        ),
        ("blocks:exact_boundaries",),
    ),
    "output tokens never cached": Mistake(
        (
            *in_(SEQUENCE, ("(delivered(s, q) - 1 + is_granted(s, q)) // ", "q.prompt // ")),
            *in_(
                CACHE,
                (
                    "    if s.by_blocks == 0:\n        if extents.extend(",
                    CAPPED + "    if s.by_blocks == 0:\n        if extents.extend(",
                ),
            ),
        ),
        ("extents:tiny_pool", "blocks:tiny_pool"),
    ),
    "resumed request looks up its prompt only": Mistake(
        in_(SCHEDULER, ("find_hits(p, pool, s, slot, tokens)", "find_hits(p, pool, s, slot, q.prompt)")),
        ("extents:tiny_pool", "blocks:tiny_pool"),
    ),
    "the null block is usable": Mistake(
        in_(BUILDING, *((f"{name} = pool.num_gpu_blocks - 1", f"{name} = pool.num_gpu_blocks") for name in USABLE)),
        ("extents:tiny_pool",),
    ),
    # Admission
    "hit blocks in the free queue not counted as needed": Mistake(
        in_(SCHEDULER, ("extra = idle - hits - loaded + ", "extra = -hits - loaded + ")), ("extents:tiny_pool",)
    ),
    "no full-sequence admission check": Mistake(
        in_(SCHEDULER, ("if pool.reserve_full == 1 and ", "if pool.reserve_full == 2 and ")),
        ("extents:multi_turn_preempt",),
    ),
    "full-sequence check over prompt + max output": Mistake(
        in_(SCHEDULER, (FULL, FULL.replace("tokens", "q.prompt + q.output"))), ("extents:tiny_pool",)
    ),
    "admission skips a head that does not fit": Mistake(
        in_(
            SCHEDULER,
            (FULL, FULL.replace("            return\n", SKIP)),
            (CHUNK, CHUNK.replace("            return\n", SKIP)),
        ),
        ("extents:tiny_pool",),
    ),
    "watermark also when nothing runs": Mistake(
        in_(SCHEDULER, ("(pool.watermark if s.num_running > 0 else 0)", "pool.watermark")), ("corner:whole_pool",)
    ),
    "watermark rounded up": Mistake(
        in_(BUILDING, ("int(pool.watermark * pool.num_gpu_blocks)", "int(pool.watermark * pool.num_gpu_blocks) + 1")),
        ("extents:kv_watermark",),
    ),
    "watermark for running requests too": Mistake(
        (
            *in_(
                SCHEDULER,
                ("        if need > num_free(s):", "        if need > num_free(s) - pool.watermark:"),
                (
                    "pool.block_size) - q.num_blocks) > num_free(s):",
                    "pool.block_size) - q.num_blocks) > num_free(s) - pool.watermark:",
                ),
                ("> num_free(s) and victim != slot", "> num_free(s) - pool.watermark and victim != slot"),
            ),
            *in_(ENGINE, ("s.step + 1, num_free(s))", "s.step + 1, max(0, num_free(s) - pool.watermark))")),
        ),
        ("extents:kv_watermark",),
    ),
    # Preemption
    "preempted request goes to the back of the queue": Mistake(
        in_(SCHEDULER, ("join_waiting(p, pool, s, slot, True, now)", "join_waiting(p, pool, s, slot, False, now)")),
        ("extents:tiny_pool",),
    ),
    "admission goes on in a step with a preemption": Mistake(
        in_(SCHEDULER, ("    elif pool.prefill_first == 0:", "    if pool.prefill_first == 0:")),
        ("corner:no_admission",),
    ),
    "FCFS victim is the oldest other request": Mistake(
        in_(
            SCHEDULER,
            (
                VICTIM,
                VICTIM
                + "\n            if pool.by_priority == 0 and s.run_head != slot:\n                victim = s.run_head",
            ),
        ),
        ("extents:tiny_pool",),
    ),
    "priority victim on ties: the last in the batch": Mistake(
        in_(SCHEDULER, ("q.arrived_s > worst.arrived_s", "q.arrived_s >= worst.arrived_s")), ("corner:same_priority",)
    ),
    "priority victim: tail of the batch": Mistake(
        in_(
            SCHEDULER,
            ("    if pool.by_priority == 0:\n        return s.run_tail", "    if True:\n        return s.run_tail"),
        ),
        ("extents:priority_preempt",),
    ),
    "priority: budget of an already scheduled victim not refunded": Mistake(
        in_(SCHEDULER, ("left += request_at(p.requests, victim).chunk", "left += 0")), ("corner:refund",)
    ),
    "priority: after a self-preemption the running scan stops": Mistake(
        in_(
            SCHEDULER,
            (
                "            if pool.by_priority == 0:\n                break",
                "            if True:\n                break",
            ),
        ),
        ("extents:priority_preempt",),
    ),
    # Limits
    "threshold also for a lone request": Mistake(
        in_(SCHEDULER, ("pool.threshold == 0 or num_there <= 1", "pool.threshold == 0")),
        ("extents:long_prefill_threshold",),
    ),
    "threshold not applied to running (later) chunks": Mistake(
        in_(
            SCHEDULER,
            (
                "    chunk = min(to_compute(q), limit, left)\n    if need",
                "    chunk = min(to_compute(q), left)\n    if need",
            ),
            ("drafts_for(pool, q), limit, left)", "drafts_for(pool, q), left)"),
        ),
        ("extents:long_prefill_threshold",),
    ),
    "adaptive threshold ignored": Mistake(
        in_(SCHEDULER, ("if pool.adaptive == 1:", "if pool.adaptive == 2:")), ("corner:adaptive",)
    ),
    "adaptive threshold counts running only": Mistake(
        in_(SCHEDULER, ("pool.max_tokens // num_there", "pool.max_tokens // max(1, s.num_running)")),
        ("corner:adaptive",),
    ),
    "chunked prefill off: head skipped instead of blocking": Mistake(
        in_(SCHEDULER, (WHOLE, WHOLE.replace("            return\n", SKIP))),
        ("extents:chunked_off", "corner:whole_prompts"),
    ),
    "chunked prefill off ignored": Mistake(
        in_(SCHEDULER, ("if pool.chunked == 0 and", "if pool.chunked == 2 and")), ("extents:chunked_off",)
    ),
    "max_num_active_seqs ignored": Mistake(
        in_(BUILDING, ("pool.max_num_active_seqs or pool.max_num_seqs", "pool.max_num_seqs")), ("corner:active_seqs",)
    ),
    # Order
    "waiting before running": Mistake(
        in_(
            SCHEDULER,
            (PASSES, PASSES_SWAPPED),
            (LISTED, LISTED.replace("list_chunk(p, pool, s, slot)", "pass")),
            ("if q.state == LEAVING or (", "if q.state == LEAVING or q.chunk > 0 or ("),
        ),
        ("extents:tiny_pool",),
    ),
    # In the plane a step's members follow from the step that ends them: an extra one has no place there.
    "async: one extra step after max_tokens (model)": Mistake(
        in_(MODEL, ("seq.num_computed + 2 - seq.pending >= seq.most_tokens", "seq.num_computed > seq.most_tokens")),
        ("model:async_prefix",),
    ),
    "finished requests' blocks freed in reverse batch order": Mistake(
        in_(
            OUTPUTS,
            (
                "for x in range(n):\n        item = i4_at(p.outputs, base + x).v\n        if pool.singly",
                "for x in range(n):\n        item = i4_at(p.outputs, base + n - 1 - x).v\n        if pool.singly",
            ),
        ),
        ("extents:exact_boundaries",),
    ),
    # Senders
    "a retry's delay counts from the arrival": Mistake(
        in_(REACTIONS, ("whole_ns(end_s + min(", "whole_ns(q.arrived_s + min(")),
        ("senders:a_retry_finds_its_own_question_in_the_cache",),
    ),
    "all delays alike": Mistake(
        in_(REACTIONS, ("range(q.attempt)", "range(0)")),
        ("senders:a_sender_tries_again_later_and_later_and_then_goes_on",),
    ),
    "one retry too many": Mistake(
        in_(REACTIONS, ("q.attempt < kind.max_retries", "q.attempt <= kind.max_retries")),
        ("senders:a_sender_tries_again_later_and_later_and_then_goes_on",),
    ),
    "the next turn counts from the last attempt": Mistake(
        in_(ENDINGS, ("due_s = asked_s(p, q, slot) + ", "due_s = q.arrived_s + ")),
        ("senders:a_sender_tries_again_later_and_later_and_then_goes_on",),
    ),
    "who would try again after the horizon goes on": Mistake(
        in_(REACTIONS, ("        return ENDS", "        return GOES_ON")),
        ("senders:retries_at_the_horizon_are_not_made_and_nothing_follows",),
    ),
    "every attempt may end the conversation": Mistake(
        in_(REACTIONS, ("if draw(p.retry_key", "if kind.leave_frac < 1.0 and draw(p.retry_key")),
        ("senders:who_leaves_sends_no_more_turns_and_only_that_counts",),
    ),
    "retries pass the token bucket": Mistake(
        in_(JOURNEY, ("if (q.bucket >= 0 or", "if ((q.bucket >= 0 and q.attempt == 0) or")),
        ("senders:every_attempt_takes_from_the_token_bucket",),
    ),
    "a retry does not look for its text": Mistake(
        in_(TEXT, ("np.int64(q.is_new == 1 and q.attempt == 0)", "np.int64(q.is_new == 1)")),
        ("senders:a_retry_finds_its_own_question_in_the_cache",),
    ),
    "a first attempt's text cannot be found": Mistake(
        in_(TEXT, ("q.attempt == 0)\n        q.is_private = 0\n", "q.attempt == 0)\n")),
        ("senders:a_retry_finds_its_own_question_in_the_cache",),
    ),
    "an outage's door is shut to first attempts only": Mistake(
        in_(JOURNEY, ("if p.num_outages > 0:", "if p.num_outages > 0 and q.attempt == 0:")),
        ("senders:a_shut_door_fails_every_attempt_at_once",),
    ),
    "lengths by language rounded down": Mistake(
        in_(DRAWING, ("factor * lookup(p, table, u) + 0.5", "factor * lookup(p, table, u)")),
        ("senders:later_turns_are_as_long_as_their_language_takes",),
    ),
}
