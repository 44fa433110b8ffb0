# ruff: noqa: INP001  (a script, in no package)
"""Writes the tables of docs/languages.md from the counts and the fit.

Run `python docs/make_language_tables.py` after a change of workloads/_tokenizers.yaml; a test compares. It writes
between the marks of the page; what stands around them is written by hand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from sim import catalog
from sim.lifecycle.tokenizers import known_languages, length_factor, length_factors
from sim.spec.text import read_text

PAGE = Path(__file__).with_name("languages.md")
# p50k_base counts as r50k_base does on all but code.
SHOWN = (
    "r50k_base",
    "llama-2",
    "claude-2",
    "cl100k_base",
    "llama-3",
    "qwen",
    "deepseek",
    "tekken",
    "o200k_base",
    "bloom",
)
SIZES = (32_000, 64_000, 128_000, 152_000, 200_000, 256_000)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [" | ".join(row) for row in (head, *rows)]
    columns = lines[0].count("|") + 1
    lines.insert(1, "---" + "|---:" * (columns - 1))
    return "\n".join(f"| {line} |" if line[0] != "-" else f"|{line}|" for line in lines)


def counted() -> str:
    """The factor of every language under the counted tokenizers."""
    tokenizers = catalog.load_tokenizers().tokenizers
    head = ("language", *(f"{name} ({tokenizers[name].vocab_size / 1000:.0f}k)" for name in SHOWN))
    rows = ((language, *(_factor(language, name) for name in SHOWN)) for language in known_languages())
    return _table(head, rows)


def _factor(language: str, tokenizer: str | int) -> str:
    return f"{length_factor(language, tokenizer).value:.2f}"


def fitted() -> str:
    """The factor by the size of the vocabulary of each group's first language, and the group's error."""
    rows = []
    for group, languages in catalog.load_tokenizers().groups.items():
        error = length_factor(languages[0], SIZES[0]).relative_error
        factors = (_factor(languages[0], size) for size in SIZES)
        rows.append((group, languages[0], *factors, f"{error:.2f}", f"{math.exp(error):.2f}"))
    head = ("group", "language", *(f"{size // 1000}k" for size in SIZES), "error", "as a factor")
    return _table(head, rows)


def hindi() -> str:
    """What the same text takes in Hindi, relative to English under the same tokenizer."""
    ratios = (f"{length_factor('Hindi', n).value / length_factor('English', n).value:.2f}" for n in SHOWN)
    return _table(("tokenizer", *SHOWN), [("Hindi over English", *ratios)])


def mixes() -> str:
    """The mean factor of the page's mixes."""
    blocks = re.findall(r"```yaml\n(languages:.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    rows = []
    for name, block in zip(("worldwide", "WildChat"), blocks, strict=True):
        shares = read_text(block).data["languages"]
        means = (
            sum(
                share * each.value
                for share, each in zip(shares.values(), length_factors(tuple(shares), n), strict=True)
            )
            for n in (*SHOWN, 128_000)
        )
        rows.append((name, *(f"{mean:.2f}" for mean in means)))
    return _table(("mix", *SHOWN, "128,000 (Meridian-1)"), rows)


TABLES: dict[str, Callable[[], str]] = {"counted": counted, "fitted": fitted, "hindi": hindi, "mixes": mixes}


def page() -> str:
    """Return the page with its tables as they should be."""
    text = PAGE.read_text(encoding="utf-8")
    for name, made in TABLES.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{made()}\n{end}{after}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
