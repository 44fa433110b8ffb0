"""What every specification does: units, rules, replace, digest."""

from collections.abc import Iterator
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from sim.errors import SpecError
from sim.spec import Scenario
from sim.spec.base import Key, NonNegativeInt, PositiveInt, PositiveRate, Seconds, Spec, Text, UsdPerHour


class Leaf(Spec):
    """A leaf."""

    kind: Literal["leaf"] = "leaf"
    count: PositiveInt = 1
    """How many there are. And more words."""
    delay_s: Seconds = Field(default=0.0, alias="delay")
    price: UsdPerHour | None = None
    on: bool = True
    label: Text = ""


class Twig(Spec):
    """A twig."""

    kind: Literal["twig"]
    rate: PositiveRate
    """Rate of things [1/s]. More."""


class Tree(Spec):
    """A tree."""

    NOT_IN_DIGEST = frozenset({"label"})

    leaves: dict[Key, Leaf] = Field(default_factory=dict)
    first: Annotated[Leaf | Twig, Field(discriminator="kind")] = Leaf()
    order: tuple[NonNegativeInt, ...] = ()
    limit: PositiveInt = 10
    label: Text = ""

    def problems(self) -> Iterator[tuple[str, str]]:
        for name, leaf in self.leaves.items():
            if leaf.count > self.limit:
                yield f"leaves.{name}.count", f"must be <= limit ({self.limit})"


def _fails(text: str, spec: type[Spec] = Tree) -> list[str]:
    with pytest.raises(SpecError) as caught:
        spec.from_yaml(text, "f")
    return [str(problem) for problem in caught.value.problems]


def test_quantities_take_numbers_and_units():
    leaf = Leaf.from_yaml("{count: 1e6, delay: 2 min, price: 36 USD/day}")
    assert (leaf.count, leaf.delay_s, leaf.price) == (1_000_000, 120.0, 1.5)
    assert Leaf.from_yaml("count: 10M").count == 10_000_000
    assert Leaf(count=3, delay=1).delay_s == 1.0


def test_a_word_is_what_the_field_wants():
    assert Leaf.from_yaml("{on: no, label: no}") == Leaf(on=False, label="no")
    assert Leaf.from_yaml("{on: off, label: 2026}") == Leaf(on=False, label="2026")
    assert _fails("{on: maybe, label: true}", Leaf) == [
        'f:1  on: expected true or false, got "maybe"',
        "f:1  label: expected text (a word that YAML takes for something else stands in quotes), got true",
    ]


def test_all_mistakes_at_once_each_with_its_line():
    leaves = "leaves:\n  a:\n    cuont: 3\n    count: 0\n    delay: GB\n  b c: {}\n"
    text = leaves + "order: [1, -1]\nfirst:\n  kind: twig\nlimt: 3\n"
    assert _fails(text) == [
        "f:3  leaves.a.cuont: unknown field. Did you mean count?",
        "f:4  leaves.a.count: must be > 0, got 0",
        'f:5  leaves.a.delay: "GB" is no number; expected a time: a number [s] or text such as "20 ms" or "2 h"',
        'f:6  leaves.b c: "b c" is no name; use a letter, then letters, digits, _ and -',
        "f:7  order.1: must be >= 0, got -1",
        "f:8  first.rate: missing. Rate of things [1/s].",
        "f:10  limt: unknown field. Did you mean limit?",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("first: {kind: bush}", 'f:1  first.kind: "bush" is not allowed. Allowed: leaf, twig.'),
        ("first: {kind: lea}", 'f:1  first.kind: "lea" is not allowed. Did you mean leaf?'),
        ("first: {count: 3}", "f:1  first.kind: missing. Allowed: leaf, twig."),
        ("first: 3", "f:1  first: expected a block of fields (key: value lines), got 3"),
        ("leaves: [1]", "f:1  leaves: expected a block of named entries (name: value lines), got [1]"),
        ("order: 3", "f:1  order: expected a list (lines that begin with -), got 3"),
        ("limit: 2.5", "f:1  limit: expected a whole number, got 2.5"),
        ("limit: true", "f:1  limit: True is no number; expected a plain number: a number [1] or text such as"),
        ("limit: null", "f:1  limit: None is no number"),
        ("limit: .nan", "f:1  limit: nan is not finite"),
        ("first: {kind: twig, rate: -1/s}", "f:1  first.rate: must be > 0, got "),
        ("leaves:\n  a: {count: 11}\n", "f:2  leaves.a.count: must be <= limit (10)"),
    ],
)
def test_one_mistake_one_message(text, message):
    (found,) = _fails(text)
    assert message in found


def test_it_cannot_be_changed():
    with pytest.raises(ValidationError):
        Leaf().count = 3


def test_replace_returns_a_changed_copy():
    tree = Tree(leaves={"a": Leaf()})
    changed = tree.replace("leaves.a.count", "1e1")
    assert (tree.leaves["a"].count, changed.leaves["a"].count) == (1, 10)
    assert tree.replace("leaves.b", Leaf(count=2)).leaves["b"].count == 2
    assert tree.replace("order", [3, 4]).replace("order.1", 5).order == (3, 5)
    assert tree.replace("first", {"kind": "twig", "rate": "60 req/min"}).first == Twig(kind="twig", rate=1)


def test_replace_keeps_the_rules():
    tree = Tree(leaves={"a": Leaf()})
    for path, value, message in [
        ("leaves.a.count", 11, "leaves.a.count: must be <= limit"),
        ("leaves.a.cont", 1, "leaves.a.cont: unknown field. Did you mean count?"),
        ("limit.x", 1, "limit.x: no such place: limit is the single value 10"),
        ("order.0", 1, "order.0: no such place: order is a list of 0"),
        ("leaves.a.delay", float("nan"), "leaves.a.delay: nan is not finite"),
    ]:
        with pytest.raises(SpecError, match=message.replace("[", r"\[")):
            tree.replace(path, value)
    assert tree.replace_all({"leaves.a.count": 11, "limit": 11}).limit == 11


numbers = st.integers(min_value=1, max_value=10)
leaves = st.builds(
    Leaf,
    count=numbers,
    delay=st.floats(min_value=0, max_value=1e300),
    price=st.none() | st.floats(min_value=0, max_value=1e9),
    on=st.booleans(),
    label=st.text(),
)
twigs = st.builds(Twig, kind=st.just("twig"), rate=st.floats(min_value=1e-9, max_value=1e9))
trees = st.builds(
    Tree,
    leaves=st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,5}", fullmatch=True), leaves, max_size=3),
    first=leaves | twigs,
    order=st.lists(st.integers(min_value=0), max_size=3).map(tuple),
    label=st.text(),
)


@given(trees)
def test_yaml_and_back_is_the_same(tree):
    again = Tree.from_yaml(tree.to_yaml())
    assert again == tree
    assert again.digest == tree.digest
    assert again.to_yaml() == tree.to_yaml()


@given(trees, numbers)
def test_replace_is_a_lens(tree, value):
    changed = tree.replace("limit", value + 10)
    assert changed.limit == value + 10
    assert changed.replace("limit", tree.limit) == tree
    assert changed.replace("limit", value + 20) == tree.replace("limit", value + 20)


@given(trees, trees)
def test_the_digest_tells_contents_apart_and_nothing_else(one, other):
    same = one.replace("label", "") == other.replace("label", "")
    assert (one.digest == other.digest) == same
    assert one.replace("label", "x").digest == one.digest


def test_the_digest_stays():
    # A changed digest makes every stored result look new: change it only with a new version.
    assert Leaf().digest == "c4a4524f91741fe8f34455ba9402b2f29cc6b06b80517ea9c305a6fc7dd730c4"


def test_every_field_is_explained():
    ours = [spec for spec in _all_specs(Spec) if spec.__module__.startswith("sim.")]
    assert Scenario in ours
    bare = [
        f"{spec.__name__}.{name}" for spec in ours for name, field in spec.model_fields.items() if not field.description
    ]
    assert bare == []


def _all_specs(spec: type[Spec]) -> Iterator[type[Spec]]:
    for below in spec.__subclasses__():
        yield below
        yield from _all_specs(below)
