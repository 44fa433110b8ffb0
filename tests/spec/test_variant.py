"""Variants of a catalogue model: a name and what differs."""

import pytest

from sim import catalog
from sim.errors import SpecError


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("llama-3.1-70b, 64 KV heads", {"num_key_value_heads": 64, "attention": "mha"}),
        ("llama-3.1-70b, MHA", {"num_key_value_heads": 64, "attention": "mha"}),
        ("llama-3.1-70b, MQA", {"num_key_value_heads": 1, "attention": "mqa"}),
        ("llama-3.1-70b, GQA-4", {"num_key_value_heads": 4, "attention": "gqa"}),
        ("llama-3.1-70b, 32k context", {"max_position_embeddings": 32_768, "num_key_value_heads": 8}),
        ("llama-3.1-70b, 40 layers, MQA", {"num_hidden_layers": 40, "num_key_value_heads": 1}),
        ("llama-3.1-70b, MLA", {"attention": "mla", "kv_lora_rank": 512, "head_dim": 192, "q_lora_rank": 1536}),
        ("deepseek-v3, MQA", {"attention": "mqa", "kv_lora_rank": None, "head_dim": 128}),
        ("models/llama-3.1-70b.json, MQA", {"num_key_value_heads": 1}),
    ],
)
def test_a_variant_differs_as_asked_and_nowhere_else(text, fields, monkeypatch, repository):
    monkeypatch.chdir(repository)
    base, varied = catalog.load_model(text.split(",")[0]), catalog.load_model(text)
    assert {name: getattr(varied, name) for name in fields} == fields
    for name in ("hidden_size", "num_attention_heads", "intermediate_size", "vocab_size", "num_experts"):
        assert getattr(varied, name) == getattr(base, name)
    assert varied.name.startswith(base.name)
    assert base.name in varied.notes[-1]


def test_a_variant_has_a_name_of_its_own():
    assert catalog.load_model("llama-3.1-70b, 64 KV heads").name == "llama-3.1-70b-64-kv-heads"
    assert catalog.load_model("llama-3.1-70b").name == "llama-3.1-70b"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("llama-3.1-70b, 7 KV heads", "64 query heads cannot share 7 key-value heads evenly"),
        ("llama-3.1-70b, 128 KV heads", "128 key-value heads cannot serve only 64 query heads"),
        ("llama-3.1-70b, faster", '"faster" is not understood'),
        ("llama-3.1-70b, 128k vocabulary", "vocab_size: a variant may change attention, num_key_value_heads"),
        ("llama-3.1-7b, MQA", "no entry llama-3.1-7b in models. Did you mean llama-"),
        ("gpt-oss-120b, 12 layers", "its layers are not all alike"),
    ],
)
def test_what_a_variant_cannot_be_is_said(text, said):
    with pytest.raises(SpecError) as caught:
        catalog.load_model(text)
    assert said in str(caught.value)


def test_a_scenario_may_name_a_variant():
    scenario = catalog.load("quickstart", set=["model=llama-3.1-8b, MHA"])
    assert scenario.pool(next(iter(scenario.fleet.pools))).model == "llama-3.1-8b, MHA"
    with pytest.raises(SpecError, match="cannot share 5 key-value heads"):
        catalog.load("quickstart", set=["model=llama-3.1-8b, 5 KV heads"])
