# ruff: noqa: INP001  (a script, in no package)
"""Writes docs/workloads.md, and the table of numbers in every workload's README, from the workloads themselves.

Run `python docs/make_workload_reference.py` after a change of a workload; a test compares. In a README it writes
between the two marks; what stands around them is written by hand.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sim import catalog
from sim.spec import Tier
from sim.spec.base import Spec
from sim.spec.distribution import Distribution
from sim.spec.workload import Workload
from sim.traffic.classes import class_of, table, workload_tables
from sim.traffic.expect import conversation_tokens
from sim.traffic.languages import language_share
from sim.traffic.moments import Drawn

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- numbers: begin -->\n", "<!-- numbers: end -->\n"
INTRODUCTION = """\
# The use cases in numbers

Each use case in `workloads/` is a `workload.yaml` with the reason for every number beside it, and a README. A
scenario names one in `traffic.workload`, or brings a file of its own; the words are those of inference-perf's workload
catalogue where it has them.

Lengths are in tokens of English text under cl100k_base, with `in language` the share of a turn's text and answer that
grows in other languages (`docs/languages.md`). A turn is what is new in it: text, passages, images, in the first turn a
file. Prompt and output are those of a whole conversation, expected, prompts in full with the repeated history. The
shared prefix is the application's own (`system_prompt` and `tools`); the tier's `system_prompt_tokens` come before it,
and count once more in each prompt.

This page and the tables in the READMEs are made by `docs/make_workload_reference.py`.
"""
HEADS = (
    "use case", "shared prefix", "first turn: mean", "turn: median", "mean", "99 %", "answer: median", "mean", "99 %",
    "turns", "gap: median [s]", "prompt a conversation", "output a conversation", "in language",
)  # fmt: skip
ENDING = """
## How parts add up

`retrieved_passages` and `images` give a number of pieces a turn and the tokens of one; `files` the share of
conversations that begin with a file, and its tokens. All are drawn independently of each other and of the text, and the
turn's length is their sum: its distribution is the convolution of theirs (`sim/traffic/parts.py`). The mean is exact; a
quantile is off by 1/1024 of probability at most, and by some parts in a thousand where a few values are likely. What a
part brings stays in the history, passages and images too, as in the APIs; a context limit drops the oldest first.

Passages found by different users are often the same, and so are parts of files; here every turn's text is its own, so
prefix caches are worth a little less than they might be.

## Limits

Most measurements are of 2023 and 2024 and of API traffic; what stands beside them for lack of better says *assumed*.
Lengths of a trace are in the tokens of its own model, not in those of cl100k_base: for English text the difference is
2 % (14 % for Llama 2), for Mooncake, whose users write Chinese, more. Answers of reasoning models keep their reasoning
in the history, which chat templates leave out.
"""


def page() -> str:
    """Return the page of all use cases."""
    lines = ["| " + " | ".join(HEADS) + " |", "|---" + "|---:" * (len(HEADS) - 1) + "|"]
    lines += ["| " + " | ".join(_row(name)) + " |" for name in catalog.list_entries("workloads")]
    return INTRODUCTION + "\n" + "\n".join(lines) + "\n" + ENDING


def _row(name: str) -> list[str]:
    workload = catalog.load_workload(name)
    tables = workload_tables(workload)
    turns = tables.pop("turns")
    like = class_of(name, "any", Tier(), **tables, min_think_s=0.0, keep_history=workload.multi_turn)
    first = Drawn(tables.get("first_user_tokens", tables["user_tokens"]), whole=True)
    prompt, output = conversation_tokens(like, turns)
    return [
        f"[{name}](../workloads/{name}/README.md)",
        f"{like.prefix_tokens:,}",
        f"{first.mean:,.0f}",
        *_three(Drawn(tables["user_tokens"], whole=True)),
        *_three(Drawn(tables["output_tokens"], whole=True)),
        f"{Drawn(turns, whole=True).mean:.1f}",
        f"{Drawn(tables['gap_s'], whole=False).quantile(np.array([0.5]))[0]:.0f}" if workload.multi_turn else "-",
        f"{prompt:,.0f}",
        f"{output:,.0f}",
        f"{language_share(workload):.2f}",
    ]


def _three(drawn: Drawn) -> list[str]:
    median, high = drawn.quantile(np.array([0.5, 0.99]))
    return [f"{median:,.0f}", f"{drawn.mean:,.0f}", f"{high:,.0f}"]


def numbers(workload: Workload) -> str:
    """Return the table of a workload's numbers, each with its reason and source."""
    lines = ["| quantity | value | why |", "|---|---|---|"]
    for name, field in Workload.model_fields.items():
        why = getattr(workload, f"{name}_justification", None)
        value = getattr(workload, name)
        if why is not None and value != field.get_default():
            lines.append(f"| `{name}` | {_value(value)} | {' '.join(why.split())} |")
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, Distribution):
        return _distribution(value)
    if isinstance(value, Spec):
        return "; ".join(f"{name}: {_value(getattr(value, name))}" for name in type(value).model_fields)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,g}" if isinstance(value, int | float) else str(value)


def _distribution(value: Distribution) -> str:
    if value.distribution_type == "constant":
        return f"{value.mean:,g}"
    if isinstance(value.percentiles, str):
        middle = Drawn(table(value), whole=False)
        return (
            f"table `{value.percentiles}`: median {middle.quantile(np.array([0.5]))[0]:,.4g}, mean {middle.mean:,.4g}"
        )
    if value.percentiles is not None:
        return "percentiles " + ", ".join(f"{at:g}: {found:g}" for at, found in value.percentiles.items())
    said = [f"{word} {number:,g}" for word, number in (
        ("mean", value.mean), ("standard deviation", value.standard_deviation), ("from", value.min or None),
        ("to", value.max),
    ) if number is not None]  # fmt: skip
    return f"{value.distribution_type}, {', '.join(said)}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def readme(name: str) -> str:
    """Return the README of a workload with its table of numbers as it should be."""
    text = (ROOT / "workloads" / name / "README.md").read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + numbers(catalog.load_workload(name)) + END + after


if __name__ == "__main__":
    (ROOT / "docs" / "workloads.md").write_text(page())
    for each in catalog.list_entries("workloads"):
        (ROOT / "workloads" / each / "README.md").write_text(readme(each))
