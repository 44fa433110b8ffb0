"""YAML in, plain data and lines out; nothing taken for what it is not."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sim.errors import SpecError
from sim.spec.text import Document, read_text, write_text


def test_aliases_that_stand_for_billions_of_values_are_refused_at_once():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 10)]
    with pytest.raises(SpecError, match=r"more than 100000 values, each alias counted as what it names"):
        read_text("\n".join(lines))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e6", 1e6),
        ("1E-3", 1e-3),
        ("10_000_000", 10_000_000),
        ("010", 10),
        ("+5", 5),
        (".5", 0.5),
        ("5.", 5.0),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("1:30", "1:30"),
        ("2026-05-01", "2026-05-01"),
        ("0x10", "0x10"),
        ("'1e6'", "1e6"),
        ('"null"', "null"),
        ("1.2.3", "1.2.3"),
        ("", None),
        ("80 GiB", "80 GiB"),
        ("!!str 5", "5"),
    ],
)
def test_scalars(text, value):
    (data,) = read_text(f"- {text}").data
    assert (type(data), data) == (type(value), value)


def test_keys_are_strings():
    assert read_text("no: 1\n50: 2\n1e6: 3\n").data == {"no": 1, "50": 2, "1e6": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\na: 4\n", "f:5  b.c: given twice, first in line 3; keep one"),
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\na: 4\n", "f:6  a: given twice, first in line 1; keep one"),
        ("a:\n\tb: 1\n", "f:2  not valid YAML"),
        ("a:\n\tb: 1\n", "indent with spaces, not tabs"),
        ("a: [1, 2\nb: 3\n", "f:2  not valid YAML"),
        ("a: 1\n---\nb: 1\n", "f:2  not valid YAML: expected a single document"),
        ("", "f  the file is empty"),
        ("# nothing\n", "f  the file is empty"),
        ("a: 1\nb: !!python/object:os.system x\n", "f:2  b: the tag !!python/object:os.system is not supported"),
        ("a: 1\nb: !!float 1\n", "f:2  b: the tag !!float is not supported"),
        ("a: &x [1, *x]\n", "f:1  a.1: an alias may not stand inside what it names"),
        ("? [a]\n: 1\n", "f:1  a key must be a plain word"),
        ("a: 1\nb: \x07\n", "f:2  not valid YAML: character '\\x07' is not allowed"),
        ("a: " + "9" * 5000, "f:1  a: a number with too many digits"),
        ("[" * 2000, "f"),
    ],
)
def test_what_is_no_yaml(text, message):
    with pytest.raises(SpecError) as caught:
        read_text(text, "f")
    assert message in str(caught.value)


def test_aliases_are_copies():
    assert read_text("a: &x {b: 1}\nc: *x\n").data == {"a": {"b": 1}, "c": {"b": 1}}


def test_lines():
    document = read_text("a: 1\nb:\n  - x\n  - c: 5\n    d: 6\n", "f")
    assert document.place(("a",)) == ("f", 1)
    assert document.place(("b", 1, "d")) == ("f", 5)
    assert document.place(("b", 1, "absent")) == ("f", 4)
    assert document.at(("b", 1)).place(("d",)) == ("f", 5)


def test_a_patch_brings_its_own_place():
    document = read_text("a: 1\nb: {c: {d: 2}}\n", "f")
    patched = document.patched(("b", "c"), Document({"e": 3}, "--set b.c={e: 3}"))
    assert patched.data == {"a": 1, "b": {"c": {"e": 3}}}
    assert patched.place(("b", "c", "e")) == ("--set b.c={e: 3}", None)
    assert patched.place(("b",)) == ("f", 2)
    assert document.data == {"a": 1, "b": {"c": {"d": 2}}}


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
keys = st.text(min_size=0, max_size=8)
plain = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)
printable = st.characters(exclude_categories=("C", "Z"), include_characters=" \n")
printable_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(printable)
tricky = st.sampled_from(
    [
        "1e6",
        "no",
        "on",
        "null",
        "~",
        "",
        "1:30",
        "0o7",
        "0x1F",
        "=",
        "<<",
        "- a",
        "a: b",
        "#",
        "nan",
        ".nan",
        "+.inf",
        "1_0",
        "2026-05-01",
        " a ",
        "a\n",
        "'",
        '"',
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "`a",
    ]
)


@given(st.dictionaries(keys, plain, min_size=1) | st.lists(plain, min_size=1))
def test_what_is_written_reads_back(data):
    assert read_text(write_text(data)).data == data


@given(st.dictionaries(tricky | st.text(printable, max_size=5), tricky | printable_scalars, min_size=1))
def test_what_is_written_means_the_same_to_other_readers(data):
    assert yaml.safe_load(write_text(data)) == data
