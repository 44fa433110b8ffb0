"""Shapes against published counts, and against other ways to count them."""

import csv
import io

import pytest

from sim.lifecycle.shapes import (
    attention_flops_per_pair_layer,
    attention_matrices,
    decode_flops_per_token_layer,
    head_matrix,
    kv_bytes_per_sequence,
    kv_bytes_per_token_layer,
    linear_flops_per_token,
    mlp_matrices,
    parameters,
)


def published(repository):
    text = (repository / "tests/reference/parameters.csv").read_text()
    return list(csv.DictReader(io.StringIO(text.split("\n", 1)[1])))


def rounded_like(count, text):
    """A count in billions with as many decimals as `text` has."""
    decimals = len(text.rstrip("B").partition(".")[2])
    return f"{count / 1e9:.{decimals}f}B"


def test_counts_agree_with_the_published_ones_to_their_last_digit(repository, models):
    rows = published(repository)
    assert len(rows) == 12
    for row in rows:
        counts = parameters(models(row["name"]))
        assert rounded_like(counts.total, row["total"]) == row["total"], row["name"]
        if row["active"]:
            active = counts.active + (counts.embedding if row["input_embedding"] == "yes" else 0)
            assert rounded_like(active, row["active"]) == row["active"], row["name"]


def test_gpt_oss_agrees_part_by_part(models):
    """arXiv:2508.10925, table 1: MLP 114.71B, attention 0.96B, embedding and unembedding 1.16B."""
    model = models("gpt-oss-120b")
    counts = parameters(model)
    mlp = model.num_moe_layers * (model.num_experts * counts.expert + counts.router_layer)
    assert f"{mlp / 1e9:.2f}" == "114.71"
    assert f"{model.num_hidden_layers * counts.attention_layer / 1e9:.2f}" == "0.96"
    assert f"{(counts.embedding + counts.head) / 1e9:.2f}" == "1.16"


@pytest.mark.parametrize("name", ["llama-3.1-70b", "deepseek-v3", "gpt-oss-120b", "mixtral-8x7b"])
@pytest.mark.parametrize("tp", [1, 2, 4, 8])
def test_gpus_together_hold_the_split_matrices_once(models, name, tp):
    model = models(name)
    whole = {matrix.name: matrix.size for matrix in attention_matrices(model)}
    copied = {"qkv_a", "kv_a"}  # the latent's down-projections are on every GPU
    for matrix in attention_matrices(model, tp):
        assert matrix.size * (1 if matrix.name in copied else tp) == whole[matrix.name]
    assert sum(m.size for m in mlp_matrices(model, 4096, tp)) * tp == sum(m.size for m in mlp_matrices(model, 4096))
    assert head_matrix(model, tp).size * tp == head_matrix(model).size


def test_fewer_key_value_heads_than_gpus_are_copied(models):
    model = models("meridian-1-70b-mqa")
    assert model.num_key_value_heads == 1
    assert kv_bytes_per_token_layer(model, 2, 8) == kv_bytes_per_token_layer(model, 2, 1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama-2-7b", 2 * 32 * 32 * 128 * 2),
        ("llama-3.1-70b", 2 * 80 * 8 * 128 * 2),
        ("deepseek-v3", 61 * 576 * 2),  # arXiv:2405.04434: rank 512 and 64 of rotary position
    ],
)
def test_cache_bytes_of_a_token(models, name, expected):
    model = models(name)
    assert model.num_hidden_layers * kv_bytes_per_token_layer(model, 2) == expected
    assert kv_bytes_per_sequence(model, 1000, 2) == 1000 * expected
    assert kv_bytes_per_sequence(model, 1000, 1) == 500 * expected


def test_sliding_windows_bound_the_cache(models):
    model = models("gpt-oss-120b")
    assert (model.sliding_window, model.num_sliding_layers) == (128, 18)
    layer = kv_bytes_per_token_layer(model, 2)
    assert kv_bytes_per_sequence(model, 100, 2) == 36 * 100 * layer
    assert kv_bytes_per_sequence(model, 10_000, 2) == (18 * 10_000 + 18 * 128) * layer


def test_flops_are_two_per_weight_visited(models):
    for name in ("llama-3.1-70b", "deepseek-v3", "gpt-oss-120b"):
        counts = parameters(models(name))
        assert linear_flops_per_token(models(name)) == pytest.approx(2 * counts.active, rel=2e-3)


def test_attention_flops(models):
    llama, deepseek = models("llama-3.1-70b"), models("deepseek-v3")
    assert attention_flops_per_pair_layer(llama) == 4 * 64 * 128
    assert decode_flops_per_token_layer(llama, 4) == 4 * 16 * 128
    assert attention_flops_per_pair_layer(deepseek) == 2 * 128 * (192 + 128)
    assert decode_flops_per_token_layer(deepseek) == 2 * 128 * (576 + 512)
