"""Spellings: what the names in publications mean."""

import csv
import os

import pytest

from sim import catalog
from sim.errors import CatalogError
from sim.spec.spelling import read_spellings, resolve

DATA = """
words:
  instruct: {}
  fp8: {weights: fp8}
  w8a8: {weights: int8, note: activations too}
entries:
  a-old: {entry: a-7b, note: shorter context}
not_covered:
  a-hybrid*: Mamba layers
"""


def _rows(path):
    lines = path.read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def _resolve(name):
    return resolve(name, read_spellings(DATA), ("a-7b", "a-7b-instruct"))


def test_every_model_that_measurements_name_has_an_entry_or_a_reason(repository):
    rows = _rows(repository / "tests/reference/model_spellings.csv")
    assert len(rows) == 113
    uncovered = []
    for row in rows:
        if row["entry"] == "-":
            uncovered.append(row["name"])
            with pytest.raises(CatalogError, match=r"is not covered: .* layers"):
                catalog.resolve_model(row["name"])
        else:
            found = catalog.resolve_model(row["name"])
            assert (found.entry, found.weights or "") == (row["entry"], row["weights"]), row["name"]
    assert [name.split("/")[1] for name in uncovered] == [
        "Qwen3.5-397B-A17B",
        "NVIDIA-Nemotron-Nano-12B-v2",
        "NVIDIA-Nemotron-Nano-9B-v2",
    ]


def test_every_gpu_that_measurements_name_has_an_entry(repository):
    rows = _rows(repository / "tests/reference/gpu_spellings.csv")
    assert len(rows) == 27
    for row in rows:
        assert catalog.resolve_gpu(row["name"]).entry == row["entry"], row["name"]
    assert catalog.resolve_gpu("A100-SXM-80GB (power limited 330W)").note == "power limited 330W"


@pytest.mark.parametrize("column", ["model", "gpu"])
def test_the_lists_of_names_are_those_of_the_measurements(repository, column):
    file = repository.parent / "shared/data/measured/serving_public.csv"
    if not file.exists():
        pytest.skip("the measured data is not here")
    with file.open(newline="") as lines:
        names = {row[column].lstrip("/") for row in csv.DictReader(lines)}
    assert names == {row["name"] for row in _rows(repository / f"tests/reference/{column}_spellings.csv")}


@pytest.mark.parametrize("kind", ["models", "hardware"])
def test_every_spelling_leads_to_an_entry(kind):
    entries = catalog.list_entries(kind)
    spellings = catalog._spellings(kind)
    assert spellings.entries
    assert {other.entry for other in spellings.entries.values()} <= set(entries)
    assert not set(spellings.entries) & set(entries)


@pytest.mark.parametrize("name", catalog.list_entries("models"))
def test_an_entry_is_its_own_spelling(name):
    assert catalog.resolve_model(name).entry == name


def test_the_fewest_words_are_left_out():
    assert _resolve("Org/A-7B-Instruct").entry == "a-7b-instruct"
    assert _resolve("org/A 7B FP8") == _resolve("a_7b_fp8")
    assert (_resolve("a-7b-fp8").entry, _resolve("a-7b-fp8").weights) == ("a-7b", "fp8")


def test_remarks_and_differences_are_passed_on():
    found = _resolve("A-Old-w8a8 (as the page says)")
    assert (found.entry, found.weights) == ("a-7b", "int8")
    assert found.note == "shorter context; activations too; as the page says"


@pytest.mark.parametrize(
    ("name", "message"),
    [("a-hybrid-9b-fp8", "a-hybrid-9b-fp8 is not covered: Mamba layers"), ("a-8b", "no entry is spelt a-8b")],
)
def test_a_name_that_means_nothing_here_is_refused(name, message):
    with pytest.raises(CatalogError, match=message):
        _resolve(name)


def test_a_users_spelling_comes_first(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "_spellings.yaml").write_text("entries: {deepseek-r1: {entry: llama-3.1-8b}, ours: {entry: gpt-j-6b}}")
    monkeypatch.setenv(catalog.USER_FOLDERS, os.fspath(tmp_path))
    assert catalog.resolve_model("deepseek-ai/DeepSeek-R1").entry == "llama-3.1-8b"
    assert catalog.resolve_model("Ours").entry == "gpt-j-6b"
    assert catalog.resolve_model("GPTJ 6B").entry == "gpt-j-6b"
