"""Blocks of unfolded requests, against texts written out token by token."""

import numpy as np
import pytest
from prompt_cache import reuse

from sim.traffic import build
from sim.traffic.reuse import Unlimited
from sim.traffic.statistics.sessions import MAX_USES, infer
from sim.traffic.texts import Texts, sampled
from sim.traffic.unfold import Requests, unfold

PEOPLE = {"kind": "population", "monthly_users": 60, "turns_per_conversation": 4}
LENGTHS = {
    "input_sequence_length": {"distribution_type": "uniform", "min": 3, "max": 600},
    "output_sequence_length": {"distribution_type": "uniform", "min": 1, "max": 9},
}
OPEN = {"kind": "open_loop", "rate_per_s": 3, "num_requests": 90, "num_prompts": 7, "tier": "api", **LENGTHS}
SCENARIOS = {
    "people": {"traffic": PEOPLE},
    "people whose history is cut": {"traffic": PEOPLE, "tiers.free.max_context_tokens": 2500},
    "prompts that are repeated": {"traffic": OPEN, "tiers.api.system_prompt_tokens": 100},
}


def all_of(made):
    source = build(made)
    blocks = list(unfold(source, made.seed, horizon_s=made.horizon_s))
    requests = Requests(*(np.concatenate(columns) for columns in zip(*blocks, strict=True)))
    return source, requests


def written(source, requests):
    """The tokens of each prompt: (whose text, position in it)."""
    rows, segments = requests
    said, at, prompts = {}, 0, []
    for row in rows:
        kind = source.classes[row["class_id"]]
        text = [(kind.prefix_group, n) for n in range(kind.prefix_tokens)]
        talk = (row["user"], row["conversation"])
        own = row["prompt_tokens"] - kind.prefix_tokens
        if row["num_segments"]:
            for segment in segments[at : at + row["num_segments"]]:
                text += [(segment["key"], n) for n in range(segment["tokens"])]
            at += row["num_segments"]
        else:
            # A history that was cut is another text from there on: no block of it stands where it stood.
            history = said.get(talk, []) if kind.keep_history else []
            whole = len(history) + row["user_tokens"]
            if whole > own:
                history = []
            text += history + [(*talk, row["turn"], n) for n in range(own - len(history))]
            answer = [(*talk, row["turn"], "answer", n) for n in range(row["output_tokens"])]
            said[talk] = text[kind.prefix_tokens :] + answer
        prompts.append(text)
    return prompts


@pytest.mark.parametrize("changes", SCENARIOS.values(), ids=SCENARIOS)
@pytest.mark.parametrize("block_tokens", [64, 512])
def test_ids_are_equal_where_texts_are(scenario, changes, block_tokens):
    made = scenario(**changes)
    source, requests = all_of(made)
    ids = Texts(source.classes, made.seed).hash_ids(requests, block_tokens)
    prompts = written(source, requests)
    assert len(ids) == len(prompts) > 80
    names, num_shared = {}, 0
    for text, blocks in zip(prompts, ids, strict=True):
        assert len(blocks) == -(-len(text) // block_tokens)
        prefix = 0
        for block, begin in zip(blocks, range(0, len(text), block_tokens), strict=True):
            prefix = hash((prefix, tuple(text[begin : begin + block_tokens])))
            assert 0 <= block < 1 << 63
            num_shared += prefix in names
            assert names.setdefault(prefix, block) == block
    assert num_shared > 50
    assert len(set(names.values())) == len(names)  # and different where they are not


def test_sessions_told_by_blocks_are_the_conversations(scenario):
    made = scenario(traffic=PEOPLE, tiers__pro__max_context_tokens=None)
    source, requests = all_of(made)
    # Of a longer one, the first turns are in more prompts than those of one session are taken to be.
    requests = Requests(requests.rows[requests.rows["num_turns"] <= MAX_USES])
    found = infer(Texts(source.classes, made.seed).hash_ids(requests, 1))
    talk = requests.rows["user"] * 10**9 + requests.rows["conversation"]
    # Exactly those: as many, and none of two.
    assert len(found.turns) == len(np.unique(talk)) > 20
    assert len(np.unique(np.stack([talk, found.session]), axis=1).T) == len(found.turns)


def test_a_sample_of_conversations_reuses_as_much(scenario):
    made = scenario(traffic=PEOPLE | {"monthly_users": 20_000}, horizon="6 h", run_in="0 h")
    source, requests = all_of(made)
    texts = Texts(source.classes, made.seed)
    some = sampled(requests.rows, made.seed, 0.3)
    assert len(some) == pytest.approx(0.3 * len(requests.rows), rel=0.05)
    part = Requests(requests.rows[some])
    fracs = [reuse([texts.described(each)], Unlimited(), 64).token_frac for each in (requests, part)]
    assert fracs[1] == pytest.approx(fracs[0], abs=0.02)
    assert fracs[0] > 0.3
