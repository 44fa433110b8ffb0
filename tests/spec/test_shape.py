"""The short form: within 3 % of the size asked for, monotone, plausible, and plain about what it derived."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.errors import SpecError
from sim.spec.model import ModelSpec, read_model
from sim.spec.shape import TOLERANCE_FRAC, ShortForm, derive
from sim.spec.short import is_short


def num_parameters(m: ModelSpec) -> int:
    """Count the parameters of a bias-free shape, matrix by matrix."""
    h, heads = m.hidden_size, m.num_attention_heads
    if m.kv_lora_rank is None:
        attention = h * heads * m.head_dim + 2 * h * m.num_key_value_heads * m.head_dim + heads * m.head_dim * h
    else:
        query = heads * (m.qk_nope_head_dim + m.qk_rope_head_dim)
        rank = m.q_lora_rank
        attention = h * query if rank is None else h * rank + rank + rank * query
        attention += h * (m.kv_lora_rank + m.qk_rope_head_dim) + m.kv_lora_rank
        attention += m.kv_lora_rank * heads * (m.qk_nope_head_dim + m.v_head_dim) + heads * m.v_head_dim * h
    dense = 3 * h * m.intermediate_size
    moe = 3 * h * (m.num_experts * m.moe_intermediate_size + m.shared_expert_intermediate_size) + h * m.num_experts
    tables = m.vocab_size * h * (1 if m.tie_word_embeddings else 2)
    layers = m.num_hidden_layers * (attention + 2 * h) + m.num_dense_layers * dense + m.num_moe_layers * moe
    return tables + layers + h


# A published model of that size has the shape; the width of its MLP may differ by the rounding.
@pytest.mark.parametrize(
    ("text", "shape", "intermediate_size"),
    [
        ("8B", (4096, 32, 32, 8, 128), 14336),  # Llama-3.1-8B
        ("13B, MHA, 32k vocabulary", (5120, 40, 40, 40, 128), 13824),  # Llama-2-13B
        ("70B, 8 KV heads, 128k vocabulary", (8192, 80, 64, 8, 128), 28416),  # Llama-3.1-70B: 28672
        ("405B", (16384, 126, 128, 8, 128), 52992),  # Llama-3.1-405B: 53248
        ("1.24B", (2048, 16, 32, 8, 64), 8192),  # Llama-3.2-1B
        ("3.2B", (3072, 28, 24, 8, 128), 8192),  # Llama-3.2-3B
    ],
)
def test_sizes_of_published_models_give_their_shapes(text: str, shape: tuple[int, ...], intermediate_size: int) -> None:
    m = read_model(text)
    assert shape == (m.hidden_size, m.num_hidden_layers, m.num_attention_heads, m.num_key_value_heads, m.head_dim)
    assert m.intermediate_size == pytest.approx(intermediate_size, rel=0.03)


def test_every_phrase_is_understood() -> None:
    m = read_model(
        "671B; MLA; 128k vocabulary, 160k context, 61 layers, hidden 7168, 128 heads, 256 routed experts, top-8, "
        "1 shared expert, 3 dense layers, untied embeddings"
    )
    assert (m.attention, m.vocab_size, m.max_position_embeddings) == ("mla", 128_000, 163_840)
    assert (m.num_hidden_layers, m.hidden_size, m.num_attention_heads) == (61, 7168, 128)
    assert (m.num_experts, m.num_experts_per_tok, m.n_shared_experts) == (256, 8, 1)
    assert (m.first_k_dense_replace, m.num_moe_layers, m.tie_word_embeddings) == (3, 58, False)
    # Asked for the size and frame of DeepSeek-V3, it finds the widths of DeepSeek-V3 (2048 and 18432).
    assert m.moe_intermediate_size == pytest.approx(2048, rel=0.02)
    assert m.intermediate_size == 9 * m.moe_intermediate_size
    assert abs(num_parameters(m) / 671e9 - 1) < TOLERANCE_FRAC


@pytest.mark.parametrize(
    ("text", "kv_heads", "attention"),
    [
        ("70B, MHA", 64, "mha"),
        ("70B, MQA", 1, "mqa"),
        ("70B, mla", 64, "mla"),
        ("70B, GQA", 8, "gqa"),
        ("70B, GQA-16", 16, "gqa"),
        ("70B, 4 key-value heads", 4, "gqa"),
        ("70B, 1 KV head", 1, "mqa"),
        ("70B", 8, "gqa"),
    ],
)
def test_kinds_of_attention(text: str, kv_heads: int, attention: str) -> None:
    m = read_model(text)
    assert (m.num_key_value_heads, m.attention) == (kv_heads, attention)


def test_thousands_of_words_are_decimal_and_of_context_binary() -> None:
    m = read_model("7B, 32k vocab, 32k context")
    assert (m.vocab_size, m.max_position_embeddings) == (32_000, 32_768)
    odd = read_model("7B, 50,257 vocabulary")
    assert odd.vocab_size == 50_432
    assert any("50,257 rounded up to a multiple of 256" in note for note in odd.notes)


def test_the_mapping_says_the_same_as_the_phrase() -> None:
    text = "parameters: 70B\nnum_key_value_heads: 8\nvocab_size: 128k\nmax_position_embeddings: 128k\n"
    mapping, phrase = read_model(text, "m.yaml"), read_model("70B, 8 KV heads, 128k vocabulary, 128k context")
    assert mapping.name == "m"
    assert mapping.to_dict() | {"name": "", "source": ""} == phrase.to_dict() | {"name": "", "source": ""}


def test_notes_say_what_was_derived_and_what_was_assumed() -> None:
    asked = " ".join(
        read_model("70B, 8 KV heads, 80 layers, hidden 8192, 64 heads, 128k vocabulary, 128k context").notes
    )
    left_open = " ".join(read_model("70B").notes)
    for derived in ("hidden_size 8192", "num_key_value_heads 8", "num_attention_heads 64", "max_position_embeddings"):
        assert derived not in asked
        assert derived in left_open
    assert "assumed" in left_open
    assert "assumed" not in asked


@pytest.mark.parametrize("text", ["70B", "70B, 8 KV heads", " 7b ,MQA", "671B; MLA", "1.5T", "350M parameters"])
def test_a_size_begins_a_short_form(text: str) -> None:
    assert is_short(text)


@pytest.mark.parametrize("text", ["llama-3.1-70b", "70b-instruct", "models/70B.json", "meridian-1-70b", "8 KV heads"])
def test_names_and_paths_are_no_short_form(text: str) -> None:
    assert not is_short(text)


# --- laws ---

SHORT_FORMS = st.fixed_dictionaries(
    {},
    optional={
        "attention": st.sampled_from(["mha", "gqa", "mqa", "mla"]),
        "vocab_size": st.integers(1_000, 262_144),
        "num_experts": st.sampled_from([4, 8, 16, 64, 128, 256]),
        "tie_word_embeddings": st.booleans(),
    },
)
SIZES = st.floats(8.5, 12.3).map(lambda exponent: 10.0**exponent)


@given(SIZES, SHORT_FORMS)
def test_parameters_are_within_tolerance_of_what_was_asked(size: float, wishes: dict[str, object]) -> None:
    try:
        m = derive(ShortForm(parameters=size, **wishes))
    except SpecError:
        assert size < 3e9  # only a model that its vocabulary or its experts fill may be refused
        return
    assert abs(num_parameters(m) / size - 1) <= TOLERANCE_FRAC
    assert m.vocab_size % 256 == 0
    assert m.vocab_size - 256 < wishes.get("vocab_size", 128_256) <= m.vocab_size
    assert (m.moe_intermediate_size or m.intermediate_size) % 8 == 0
    assert m.num_attention_heads % m.num_key_value_heads == 0
    if not m.is_moe:
        # Below 8B the grid of widths is coarse and a vocabulary may be half of the model: the MLP makes up for it.
        low, high = (1.4, 5.5) if size > 8e9 else (0.6, 14)
        assert low < m.intermediate_size / m.hidden_size < high
        assert 80 <= m.hidden_size / m.num_hidden_layers <= 180


@given(SIZES, SIZES, SHORT_FORMS)
def test_asking_for_more_never_gives_less(a: float, b: float, wishes: dict[str, object]) -> None:
    small, large = sorted((a, b))
    try:
        fewer, more = (num_parameters(derive(ShortForm(parameters=size, **wishes))) for size in (small, large))
    except SpecError:
        assert small < 3e9
        return
    assert fewer <= more


def test_monotone_step_by_step_across_all_frames_and_the_tying_threshold() -> None:
    counts = [num_parameters(derive(ShortForm(parameters=5e8 * 1.004**i))) for i in range(1500)]
    assert counts == sorted(counts)


# --- refusals ---


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("70B, 8 kv heads, foo, 9 KV heads", ['"foo" is not understood', "num_key_value_heads is given twice"]),
        ("70B, MHA, 8 KV heads, 2 active", ["MHA sets the KV heads", "how many experts are there?"]),
        ("70B, MQA, 2 KV heads", ["MQA has one KV head, got 2"]),
        ("70B, 4 experts, top-8", ["8 of only 4 experts"]),
        ("8 KV heads", ["parameters: missing"]),
        ("70B, hidden 100, 3 heads", ["no width has whole heads that 8 KV heads share evenly"]),
        ("50M", ["too few", "vocabulary of 128,256"]),
        ("70B, hidden 1024, 4 layers", ["would need an MLP of width"]),
        ("30B, 80 layers, hidden 8192, 64 experts, 2 active", ["would need experts of width"]),
    ],
)
def test_what_cannot_be_met_is_said(text: str, messages: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        read_model(text)
    for message in messages:
        assert message in str(caught.value)


def test_mistakes_in_a_file_carry_its_line() -> None:
    with pytest.raises(SpecError) as caught:
        read_model("parameters: 70B\nattention: mha\nnum_key_value_heads: 8\nn_shared_experts: 1\n", "m.yaml")
    assert {(problem.file, problem.line) for problem in caught.value.problems} == {("m.yaml", 3), ("m.yaml", 4)}
    with pytest.raises(SpecError) as caught:
        read_model("# small\nparameters: 40M\n", "m.yaml")
    assert (caught.value.problems[0].file, caught.value.problems[0].line) == ("m.yaml", 2)
