"""Random paths: classifiers in all their modes, delays, drafts, candidates, answers of one pool or of two."""

from fleets_draws import some
from hypothesis import strategies as st

SMALL_RATES = (0.0, 0.02, 0.3)


@st.composite
def verdicts(draw):
    """How a classifier decides."""
    kind = draw(st.integers(0, 2))
    if kind == 0:
        return {"block_frac": draw(st.sampled_from(SMALL_RATES)), "template_tokens": draw(st.integers(0, 100))}
    if kind == 1:
        return {"classifier": draw(st.sampled_from(["llama-guard-3-8b", "llama-guard-3-1b", "activation-probe"]))}
    return {"true_positive_rate": 0.7, "false_positive_rate": draw(st.sampled_from(SMALL_RATES))}


@st.composite
def classifiers(draw, *, companions):
    """A classify visit in its turn; `companions`: the path has a gate or a check."""
    prompt = draw(st.sampled_from(["user", "full"]))
    found = {"pool": "guard", "kind": "classify", "prompt": prompt, **draw(verdicts())}
    if not companions and some(draw, 3):
        found["refusal_tokens"] = draw(st.integers(1, 40))
    if some(draw, 3):
        found["output_tokens"] = draw(st.integers(1, 5))
    if some(draw, 4):
        found["frac"] = 0.5
    return found


@st.composite
def delays(draw):
    """A tool or a search."""
    mean = draw(st.floats(0.01, 3.0))
    found = {"kind": "delay", "duration": {"distribution_type": "exponential", "mean": mean}}
    if some(draw):
        found |= {"adds_tokens": draw(st.integers(1, 300)), "keep_in_history": draw(st.booleans())}
    return found | ({"frac": 0.5} if some(draw, 3) else {})


@st.composite
def drafts(draw):
    """An answer by another pool that may do, with or without a judge; or a draft that the answer reads."""
    found = {"pool": draw(st.sampled_from(["small", "main"]))}
    kind = draw(st.sampled_from(["draft", "candidate", "judged"]))
    if kind == "draft":
        found |= {"output_tokens": draw(st.integers(1, 60)), "keep_in_history": draw(st.booleans())}
        return [found | {"prompt_extra_tokens": draw(st.integers(0, 40))}]
    if kind == "candidate":
        return [found | {"escalate_frac": draw(st.sampled_from([0.0, 0.4])), "frac": draw(st.sampled_from([1.0, 0.7]))}]
    judge = {"pool": "guard", "kind": "classify", "prompt": "exchange", "escalate_frac": 0.4, "template_tokens": 50}
    return [found, judge]


@st.composite
def beside(draw, *, is_check):
    """A gate or a check."""
    found = {"pool": "guard", "kind": "classify", **draw(verdicts())}
    if not is_check:
        return found | {"mode": "gate", "prompt": draw(st.sampled_from(["user", "full"]))}
    found |= {
        "mode": draw(st.sampled_from(["serial", "stream"])),
        "prompt": draw(st.sampled_from(["answer", "exchange"])),
    }
    if found["mode"] == "stream":
        found |= {"chunk_tokens": draw(st.sampled_from([1, 7, 40])), "carry_over_tokens": draw(st.integers(0, 20))}
        found |= {"release": draw(st.sampled_from(["stream_first", "hold_back"]))}
    return found


@st.composite
def paths(draw, *, split, beside: bool):
    """A path that answers in main; `split`: maybe in prefill and decode; `beside`: classifiers beside the answer."""
    has_gate, has_check = (beside and some(draw), beside and some(draw))
    companions = has_gate or has_check
    is_split = split and some(draw)
    visits = draw(st.lists(classifiers(companions=companions), max_size=2))
    if is_split:
        for visit in visits:
            visit.pop("refusal_tokens", None)
    if has_gate:
        visits.append(draw(_beside(is_check=False)))
    if some(draw, 3):
        visits.append(draw(delays()))
    if not companions and not is_split and some(draw):
        visits += draw(drafts())
    if is_split:
        visits += [{"pool": "prefill", "kind": "prefill"}, {"pool": "decode", "kind": "decode"}]
    else:
        visits.append({"pool": "main", "keep_in_history": draw(st.booleans())})
    if has_check:
        visits.append(draw(_beside(is_check=True)))
    return visits


_beside = beside


@st.composite
def gateways(draw, pools):
    """Names of pools that have a gateway."""
    return [name for name, pool in pools.items() if "reserved" not in pool and some(draw)]
