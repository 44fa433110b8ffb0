"""Mistakes about paths that are more than guards and an answer, to be planted in a copy of the sources."""

from mistakes import TEXT, Mistake, in_

WORK, VISITS = (f"sim/plane/{name}.py" for name in ("work", "visits"))

PATH_MISTAKES: dict[str, Mistake] = {
    "instructions are not part of the text": Mistake(
        in_(WORK, ("join(w, visit.extra_tokens + q.emitted, visit.keeps)", "join(w, q.emitted, visit.keeps)")),
        ("paths:critique_and_revision_take_three_answers",),
    ),
    "text goes on where something was dropped": Mistake(
        in_(TEXT, ("elif w.cut_at >= 0:", "elif w.cut_at > 1000:")),
        ("paths:the_next_turn_repeats_what_was_kept",),
    ),
    "an answer that was thrown away is taken for the other": Mistake(
        in_(WORK, ("begin_stream(p, q, q.full_prompt + w.added, q.turn + (w.anew << TURN_BITS))", "w.anew += 0")),
        ("paths:an_answer_that_was_thrown_away_is_not_found_in_place_of_the_other",),
    ),
    "gaps that nobody sees are told": Mistake(
        in_(WORK, ("kind.itl_group if visit.streams == 1 else p.num_itl - 1", "kind.itl_group")),
        ("paths:gaps_between_tokens_that_no_client_sees_are_not_told",),
    ),
    "a refusal is an answer": Mistake(
        in_(WORK, ("        return np.int64(BLOCKED)\n", "        return np.int64(COMPLETED)\n")),
        ("paths:a_refusal_is_no_answer_so_the_next_turn_does_not_repeat_it",),
    ),
    "a candidate is the client's at once": Mistake(
        in_(WORK, ("    q.first_token_s = now\n", "    q.first_token_s = w.first_s\n")),
        ("paths:an_answer_that_is_decided_on_is_withheld_until_then",),
    ),
    "what visits add takes no room": Mistake(
        in_(WORK, ("    return most_added(p, q)", "    return 0 * most_added(p, q)")),
        ("paths:history_gives_way_to_what_visits_add",),
    ),
    "the answer is reached when its delay begins": Mistake(
        in_(VISITS, ("    open_visit(p, slot)\n    if due_s > now:", "    open_visit(p, slot)\n    if False:")),
        ("paths:delays_come_one_after_the_other_and_are_no_part_of_any_pool",),
    ),
}
