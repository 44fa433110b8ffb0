"""Speculative decoding: tokens a step, what verification and drafting cost, and published speed-ups."""

import csv
import io
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import catalog
from sim.cost import compile
from sim.cost.calibration import load_engine
from sim.cost.drafter import NGRAM_SEQUENCE_S, NGRAM_STEP_S, PASS_S
from sim.cost.gemm import gemm_s
from sim.cost.speculation import STEP_S, accept_by_position, tokens_per_step
from sim.errors import CatalogError, SpecError
from sim.lifecycle.shapes import Matrix, parameters
from sim.spec.speculation import Method, SpeculativeConfig, read_acceptance


def speculating(compiled, method, k, model="llama-3.1-8b", gpu="h100-sxm-80gb", **options):
    config = {name: options.pop(name) for name in ("model_name", "acceptance", "accept_frac") if name in options}
    draft = config.pop("model_name", None)
    spec = SpeculativeConfig(method=method, num_speculative_tokens=k, model=draft, **config)
    return compiled(model, gpu, speculative_config=spec, **options)


def speedup(profile, num_seqs, context):
    return profile.speculation.speedup(profile.step_times, num_seqs, num_seqs * context)


def step_s(times, num_seqs, context):
    return times.step_s(num_seqs, num_seqs, num_seqs * context, num_seqs)


@given(st.floats(0.0, 1.0), st.integers(1, 20))
def test_a_constant_share_gives_leviathans_formula(share, k):
    """arXiv:2211.17192, equation 1: (1 - a^(k+1)) / (1 - a)."""
    expected = k + 1 if share == 1 else (1 - share ** (k + 1)) / (1 - share)
    assert tokens_per_step(np.full(k, share)) == pytest.approx(expected, rel=1e-6)


def test_every_table_gives_the_tokens_that_were_measured(repository):
    tables = read_acceptance((repository / "hardware_profiles/acceptance.yaml").read_text())
    measured = 0
    for table in tables.values():
        for k, tokens in table.tokens_per_step.items():
            shares = accept_by_position(table, k)
            assert shares.shape == (k,)
            assert np.all((shares >= 0) & (shares <= 1))
            assert tokens_per_step(shares) == pytest.approx(tokens, rel=1e-9)
            measured += 1
        grown = [tokens_per_step(accept_by_position(table, k)) for k in range(1, 12)]
        assert grown == sorted(grown), table.name
    assert (len(tables), measured) == (14, 38)
    assert {table.method for table in tables.values()} == set(get_args(Method))


def test_shares_of_all_places_overstate_what_steps_emit():
    """A step begins after a rejection: 2.47 tokens by the shares of positions, 2.25 measured, for three drafts."""
    config = SpeculativeConfig(method="eagle", num_speculative_tokens=3)
    table = catalog.load_acceptance(config)
    assert table.name == "eagle-sharegpt"
    assert tokens_per_step(np.array(table.position_frac[:3])) == pytest.approx(2.47, abs=0.005)
    assert tokens_per_step(accept_by_position(table, 3)) == pytest.approx(2.254)


def test_the_published_acceptance_of_mtp():
    """Tokens a step of seven drafts by DeepSeek-V3's own module: 3.20 (nebius/MTP-DeepSeek-V3-0324)."""
    table = catalog.load_acceptance(SpeculativeConfig(method="mtp", num_speculative_tokens=7))
    assert tokens_per_step(accept_by_position(table, 7)) == pytest.approx(3.20, rel=0.02)
    assert tokens_per_step(accept_by_position(table, 1)) == 1.85


def test_given_shares_hold_on(compiled):
    speculation = speculating(compiled, "eagle", 4, accept_frac=(0.8, 0.5)).speculation
    assert speculation.accept_frac.tolist() == [0.8, 0.5, 0.5, 0.5]
    assert speculation.expected_tokens == pytest.approx(1 + 0.8 + 0.4 + 0.2 + 0.1)


def test_verification_is_a_step_of_k_plus_one_tokens_a_sequence(compiled, vllm):
    """n-grams cost host time alone, so what is left is the step of n (k + 1) tokens with a head for each."""
    profile = speculating(compiled, "ngram", 3)
    plain, times = profile.step_times, profile.speculation.step_times
    n, rows = 16, 64
    host_s = NGRAM_STEP_S + NGRAM_SEQUENCE_S * n + STEP_S
    assert profile.speculation.draft_s[n] == pytest.approx(NGRAM_STEP_S + NGRAM_SEQUENCE_S * n)
    head_s = plain.sample_s[rows] - vllm.sequence_s * (rows - n)  # the host's time is a sequence's, not a row's
    assert times.decode_batch_s[n] == plain.decode_batch_s[rows]
    assert times.sample_s[n] == pytest.approx(head_s + host_s, rel=1e-9)
    # The queries share the reading of the cache.
    assert times.attention_s(n, n * 4000) == pytest.approx(plain.attention_s(n, n * 4000), rel=1e-9)
    assert np.array_equal(times.batch_s, plain.batch_s)


def test_eagle_drafts_with_a_layer_and_a_head(compiled, models, h100, kernels, vllm):
    """k = 1: one pass over n (k + 1) tokens and one head of n rows beyond what n-grams would take."""
    n, model, kernel = 8, models("llama-3.1-8b"), kernels.gemm["bf16"]
    eagle, ngram = (speculating(compiled, method, 1).speculation for method in ("eagle", "ngram"))
    tokens = np.array([2.0 * n])

    def product(rows, depth, width):
        scales = vllm.gemm_scale["bf16"], vllm.gemm_compute_extra["bf16"]
        return gemm_s(np.array([rows]), Matrix("", depth, width), kernel, h100, *scales)[0]

    h, i = model.hidden_size, model.intermediate_size
    layer_s = product(16.0, h, 6144) + product(16.0, h, h) + product(16.0, h, 2 * i) + product(16.0, i, h)
    other_s = vllm.elementwise_passes * 2 * tokens[0] * h / h100.memory_bandwidth_bytes_per_s + vllm.layer_s + PASS_S
    drafting_s = layer_s + other_s + product(16.0, 2 * h, h) + product(float(n), h, model.vocab_size)
    assert eagle.draft_s[n] == pytest.approx(drafting_s, rel=1e-9)
    grown = eagle.step_times.attention_s(n, n * 4000) / ngram.step_times.attention_s(n, n * 4000)
    assert grown == pytest.approx(33 / 32)  # the head's cache is read once


def test_drafters_take_memory(compiled, models):
    """EAGLE: a layer and the matrix that joins two states; a draft model: all its weights. Each caches its layers."""
    plain, eagle, eagle3 = (
        compiled("llama-3.1-8b"),
        speculating(compiled, "eagle", 3),
        speculating(compiled, "eagle3", 3),
    )
    model = models("llama-3.1-8b")
    counts = parameters(model)
    layer = counts.attention_layer + counts.dense_mlp_layer + 2 * 4096
    assert eagle.weights_bytes_per_gpu - plain.weights_bytes_per_gpu == 2 * (layer + 2 * 4096**2)
    more = 2 * (4096**2 + 32_000 * 4096 + 4096)
    assert eagle3.weights_bytes_per_gpu - eagle.weights_bytes_per_gpu == more
    assert eagle.kv_bytes_per_token == plain.kv_bytes_per_token * 33 / 32
    draft = speculating(compiled, "draft_model", 3, "llama-3.1-70b", model_name="llama-3.1-8b", tensor_parallel_size=4)
    target = compiled("llama-3.1-70b", tensor_parallel_size=4)
    norms = 2 * 3 * parameters(model).norms  # norms are on each of the four
    added = 4 * (draft.weights_bytes_per_gpu - target.weights_bytes_per_gpu)
    assert added == pytest.approx(2 * counts.total + norms, rel=1e-9)
    assert draft.num_gpu_blocks < target.num_gpu_blocks


@pytest.mark.parametrize("method", ["eagle", "eagle3"])
def test_times_per_token_of_vllm_by_number_of_drafts(repository, compiled, method):
    """EAGLE was fitted to these rows; EAGLE-3's drafter then ran without graphs, and comes out up to 28 % fast.

    Plain decoding comes out 7 % fast: the rows are of July 2025, the calibration of 0.15, half a year younger. That of
    0.10, of September 2025, gives 3 % more than was measured.
    """
    text = (repository / "tests/reference/speculation.csv").read_text()
    rows = [row for row in csv.DictReader(io.StringIO(text.split("\n", 1)[1])) if row["method"] == method]
    assert len(rows) == 6
    for row in rows:
        profile = speculating(compiled, method, int(row["num_speculative_tokens"]), acceptance=f"{method}-mtbench")
        tokens = profile.speculation.expected_tokens
        assert tokens == pytest.approx(float(row["tokens_per_step"]), rel=1e-9)
        tpot_ms = 1000 * step_s(profile.speculation.step_times, 1, 300) / tokens
        off = tpot_ms / float(row["tpot_ms"]) - 1
        assert abs(off) < 0.01 if method == "eagle" else -0.30 < off < -0.10, row
    plain_ms = float(rows[0]["plain_tpot_ms"])
    assert 1000 * step_s(profile.step_times, 1, 300) == pytest.approx(0.93 * plain_ms, rel=0.01)
    older = compiled("llama-3.1-8b", engine="vllm-0.10").step_times
    assert 1000 * step_s(older, 1, 300) == pytest.approx(1.03 * plain_ms, rel=0.01)


PUBLISHED = [
    # method, model, GPU, options, k, batch, context, speed-up, source
    (
        "eagle3",
        "llama-3.1-8b",
        "h100-sxm-80gb",
        {},
        5,
        1,
        300,
        2.36,
        "SGLang documentation, MT-Bench: 158 -> 373 tokens/s",
    ),
    ("mtp", "deepseek-v3", "h200-sxm-141gb", {"tensor_parallel_size": 8, "weights": "fp8"}, 3, 1, 1000, 1.8, "SGLang"),
    ("mtp", "deepseek-v3", "h200-sxm-141gb", {"tensor_parallel_size": 8, "weights": "fp8"}, 3, 32, 1000, 1.5, "SGLang"),
]


@pytest.mark.parametrize(
    ("method", "model", "gpu", "options", "k", "batch", "context", "published", "source"), PUBLISHED
)
def test_published_speed_ups_within_thirty_percent(
    compiled, method, model, gpu, options, k, batch, context, published, source
):
    profile = speculating(compiled, method, k, model, gpu, **options)
    assert speedup(profile, batch, context) == pytest.approx(published, rel=0.30), source


def test_the_gain_declines_with_the_batch(compiled):
    """arXiv:2503.01840: EAGLE-3 is worth 1.38 x at 64 sequences (SGLang, H100); ours 40 % more, see below."""
    profile = speculating(compiled, "eagle3", 3)
    gains = [speedup(profile, n, 500) for n in (1, 16, 64, 128, 256)]
    assert gains[1:] == sorted(gains[1:], reverse=True)
    assert gains[0] == pytest.approx(gains[1], rel=0.05)  # up to there products wait for the weights
    assert gains[0] > 2 > gains[2] > 1.38
    assert gains[2] == pytest.approx(1.40 * 1.38, rel=0.01)
    assert speedup(speculating(compiled, "ngram", 5), 256, 500) < 1 < speedup(speculating(compiled, "ngram", 5), 1, 500)


@pytest.mark.parametrize(
    ("engine", "sequence_us", "gain", "gain_by_row"),
    [("vllm", 6.5, 1.94, 1.77), ("sglang", 21.2, 1.91, 1.49), ("vllm-0.12", 40.3, 2.03, 1.39)],
)
def test_host_time_a_row_is_what_large_batches_lack(compiled, engine, sequence_us, gain, gain_by_row):
    """A speculating step samples k + 1 rows a sequence, but takes the host's time of one. Were it each row's, engines
    with the host time of that year would gain what was published at 64 sequences, 1.38, within 10 %."""
    profile = speculating(compiled, "eagle3", 3, engine=engine)
    sequence_s = load_engine(engine, "h100-sxm-80gb").sequence_s
    assert sequence_s == pytest.approx(1e-6 * sequence_us, rel=0.01)
    plain_s, speculating_s = (step_s(times, 64, 500) for times in (profile.step_times, profile.speculation.step_times))
    tokens = profile.speculation.expected_tokens
    assert tokens * plain_s / speculating_s == pytest.approx(gain, abs=0.01)
    assert tokens * plain_s / (speculating_s + 64 * 3 * sequence_s) == pytest.approx(gain_by_row, abs=0.01)


def test_a_batch_of_long_contexts_gains_more(compiled):
    """The cache is read once for k + 1 tokens, so what long contexts cost is shared."""
    profile = speculating(compiled, "eagle3", 3)
    assert speedup(profile, 64, 8000) > speedup(profile, 64, 500)


def test_without_speculation_there_is_none(compiled):
    assert compiled("llama-3.1-8b").speculation is None


@pytest.mark.parametrize(
    ("config", "options", "said"),
    [
        ({"method": "mtp"}, {}, "llama-3.1-8b has no multi-token-prediction layer. Try eagle3 or ngram"),
        ({"method": "eagle"}, {"pipeline_parallel_size": 2}, "speculative_config: needs one pipeline stage, got 2"),
        ({"method": "ngram"}, {"use_cache": False}, "speculative_config: needs use_cache: true"),
        (
            {"method": "draft_model", "model": "llama-2-7b"},
            {},
            "llama-2-7b has a vocabulary of 32000, llama-3.1-8b one of 128256; they must be the same",
        ),
    ],
)
def test_what_cannot_be_speculated_with_is_said(models, h100, config, options, said):
    spec = SpeculativeConfig(num_speculative_tokens=3, **config)
    with pytest.raises(SpecError) as caught:
        compile(models("llama-3.1-8b"), h100, speculative_config=spec, **options)
    assert said in str(caught.value)


def test_a_table_of_another_method_is_refused():
    config = SpeculativeConfig(method="eagle3", num_speculative_tokens=3, acceptance="ngram-cnn")
    with pytest.raises(CatalogError, match="ngram-cnn is of method ngram, the pool speculates with eagle3"):
        catalog.load_acceptance(config)
    with pytest.raises(
        CatalogError, match=r"no acceptance table eagle3-gsm in .*acceptance.yaml. Did you mean eagle3-gsm8k"
    ):
        catalog.load_acceptance(config.replace("acceptance", "eagle3-gsm"))
