"""The hand-worked table of Llama-3.1-70B on four H100: derivation = value = profile, for every row of the card."""

import math
import re

import numpy as np
import scipy.optimize

ROW = re.compile(r"^\| (?P<name>[^|*]+) \| `(?P<derivation>[^`]+)` \| (?P<value>[^|]+) \| (?P<unit>[^|]+) \|")
DIGITS = 8


def table(repository):
    text = (repository / "tests/reference/llama-3.1-70b-tp4-h100.md").read_text()
    return {row["name"]: row for row in map(ROW.match, text.splitlines()) if row}


def digits(got, expected):
    """Number of leading digits in which two numbers agree."""
    if got == expected:
        return math.inf
    return -math.log10(abs(got / expected - 1.0))


def split(term, times):
    """a, b or c of a + b q + c q (q + 1) / 2, nearest to times of prompts of 128 to 16384 tokens, none negative."""
    prompts = 2.0 ** np.arange(7, 15)
    columns = np.stack([np.ones(8), prompts, prompts * (prompts + 1) / 2], axis=1) / np.array(times)[:, np.newaxis]
    units = np.linalg.norm(columns, axis=0)
    return float((scipy.optimize.nnls(columns / units, np.ones(8))[0] / units)[term])


def worked_out(derivation):
    """The value of a derivation, which may hold nothing but numbers, arithmetic and min, max, exp, floor, split."""
    assert not set(re.findall(r"[A-Za-z_]\w*", re.sub(r"\d[\d.]*(e[+-]?\d+)?", "", derivation))) - {
        "min",
        "max",
        "exp",
        "floor",
        "split",
    }
    functions = {"min": min, "max": max, "exp": math.exp, "floor": math.floor, "split": split}
    return eval(derivation, {"__builtins__": {}}, functions)


def test_every_derivation_gives_its_value(repository):
    rows = table(repository)
    assert len(rows) > 80
    for name, row in rows.items():
        assert digits(worked_out(row["derivation"]), float(row["value"])) >= DIGITS, name


def test_the_card_agrees_with_every_row_and_has_no_other(repository, compiled):
    rows = table(repository)
    card = {row.name: row for row in compiled("llama-3.1-70b", tensor_parallel_size=4).card}
    assert set(card) == set(rows)
    for name, row in rows.items():
        assert card[name].unit == row["unit"].strip(), name
        agreed = digits(card[name].value, float(row["value"]))
        assert agreed >= DIGITS, f"{name}: {card[name].value} agrees with {row['value']} in {agreed:.1f} digits"


def test_the_card_names_equation_and_source_of_every_number(compiled):
    for row in compiled("deepseek-v3", "h200-sxm-141gb", tensor_parallel_size=8, weights="fp8").card:
        assert row.equation, row.name
        assert row.source, row.name
        assert math.isfinite(row.value), row.name


def test_names_on_the_card_are_unique(compiled):
    for name, options in (("mixtral-8x7b", {"tensor_parallel_size": 2}), ("llama-3.1-8b", {})):
        names = [row.name for row in compiled(name, **options).card]
        assert len(names) == len(set(names))
