"""Which bed, engine, settings and lengths a point is played with."""

import pytest

from sim.calibrate.serving.beds import bed_of, distrusted, settings_of
from sim.calibrate.serving.lengths import answers_of, longest_tokens, mean_tokens, prompts_of
from sim.calibrate.serving.library import Library, NotCoveredError
from sim.calibrate.serving.setup import make_setup
from sim.errors import SpecError
from sim.spec.bed import Client, read_beds

NIM = {"source": "NVIDIA-DLI-nim.csv", "engine": "NIM/TensorRT-LLM", "version": "NIM 1.x", "isl": "200", "osl": "200"}


def test_the_defaults_of_vllm_depend_on_version_and_gpu(point, library):
    def of(**changes):
        where = point(**changes)
        settings = settings_of(where, bed_of(where, library.beds), library.beds)
        return tuple(settings[name][0] for name in ("max_num_batched_tokens", "max_num_seqs", "async_scheduling"))

    assert of(version="0.15.1") == (8192, 1024, True)
    assert of(version="v0.11.0") == (8192, 1024, False)
    assert of(version="0.15.1", gpu="A100-SXM-80GB") == (2048, 256, True)
    assert of(version="0.7.3") == (2048, 256, False)


def test_a_bed_brings_its_client_and_policy(point, library):
    setup = make_setup(point(**NIM, load="concurrency=25"), library=library)
    assert (setup.bed, setup.kind, setup.load) == ("nim", "closed_loop", 25)
    assert (setup.pool.batch_policy, setup.pool.max_num_batched_tokens) == ("reserve_full", 32768)
    assert setup.client.reissue_interval_s == 0.001
    assert (setup.pool.engine, setup.note) == ("nim", "")


def test_notes_and_given_settings_come_over_the_bed(point, library):
    where = point(notes="max_num_batched_tokens=1024; gpu_mem_util=0.8")
    setup = make_setup(where, library=library)
    assert (setup.pool.max_num_batched_tokens, setup.pool.max_num_seqs) == (1024, 1024)
    assert setup.pool.gpu_memory_utilization == 0.8
    setup = make_setup(where, {"max_num_batched_tokens": 4096, "max_num_seqs": 64}, library)
    assert (setup.pool.max_num_batched_tokens, setup.pool.max_num_seqs) == (4096, 64)


def test_undocumented_settings_are_listed_first_choice_first(point, library):
    where = point(**NIM)
    budgets = settings_of(where, bed_of(where, library.beds), library.beds)["max_num_batched_tokens"]
    assert budgets[0] == 32768
    assert len(budgets) > 1


@pytest.mark.parametrize(
    ("changes", "weights", "activations"),
    [
        ({"precision": "fp16"}, "bf16", None),
        ({"precision": "not stated (NaN in source)"}, "bf16", None),
        ({"precision": "fp8"}, "fp8", None),
        ({"model": "openai/gpt-oss-20b", "precision": "fp4"}, "mxfp4", None),
        ({"model": "Qwen/Qwen3-14B-AWQ", "precision": "awq-int4"}, "int4", None),
        (
            {"model": "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w8a16", "precision": "compressed-tensors"},
            "int8",
            "bf16",
        ),
        ({"source": "MLPerf-Inference-v4.1", "precision": "fp16", "load": "server target_qps=10"}, "fp8", None),
    ],
)
def test_precisions(point, library, changes, weights, activations):
    pool = make_setup(point(**changes), library=library).pool
    assert (pool.weights, pool.activations) == (weights, activations)


def test_parallelism(point, library):
    def of(**changes):
        pool = make_setup(point(**changes), library=library).pool
        return (
            pool.tensor_parallel_size, pool.data_parallel_size, pool.expert_parallel_size, pool.enable_expert_parallel,
        )  # fmt: skip

    moe = {"model": "Qwen/Qwen3-30B-A3B-Instruct-2507"}
    assert of(tp="4") == (4, 1, 1, False)
    assert of(tp="1", source="ML.ENERGY", notes="num_gpus=2 dp=1 ep=2", load="max_num_seqs=8", **moe) == (
        2,
        1,
        2,
        False,
    )
    assert of(tp="8", notes="vllm serve x -tp 8 --enable-expert-parallel", **moe) == (8, 1, 1, True)
    assert of(tp="8", notes="sglang.launch_server --tp 8 --enable-dp-attention", **moe) == (1, 8, 1, False)
    assert of(tp="1", notes="id=a_sxm_tp8_ep8_5; attention_dp=64.0 moe_ep=8.0", **moe) == (1, 8, 8, False)
    assert of(tp="16", notes="id=a_sxm_tp4_ep4_5; attention_dp=1.0 moe_ep=4.0", **moe) == (4, 1, 4, False)


def test_replicas_of_a_system_whose_parallelism_is_not_said(point, library):
    mlperf = {"source": "MLPerf-Inference-v4.1", "engine": "TensorRT 10", "tp": "", "isl": "", "osl": ""}
    mlperf |= {"model": "Llama-2-70B-chat", "notes": "8 GPUs total", "load": "server target_qps=70"}
    setup = make_setup(point(**mlperf), library=library)
    # 70 GB of weights: 44 % of two GPUs of 80 GB, 88 % of one.
    assert (setup.pool.tensor_parallel_size, setup.num_replicas) == (2, 4)
    assert (setup.isl, setup.osl) == (pytest.approx(294, rel=0.01), pytest.approx(292, rel=0.01))


def test_what_cannot_be_played_says_why(point, library):
    for changes, reason in (
        ({"engine": "Triton"}, "no bed fits engine Triton"),
        ({"load": "steady 5 / burst 25 req/s"}, "load of unknown form"),
        ({"model": "nobody/knows-this"}, "no entry is spelt nobody/knows-this"),
        ({"gpu": "TPU-v5e"}, "no entry is spelt TPU-v5e"),
        ({"isl": "dist:unknown"}, "lengths of prompts or answers are not stated"),
        ({"precision": "fp2"}, "precision not known: fp2"),
    ):
        with pytest.raises(NotCoveredError, match=reason) as caught:
            make_setup(point(**changes), library=library)
        assert caught.value.known
    with pytest.raises(NotCoveredError, match="Mamba-2") as caught:
        make_setup(point(model="nvidia/NVIDIA-Nemotron-Nano-9B-v2"), library=library)
    assert not caught.value.known


def test_lengths_are_stated_stretched_or_drawn():
    client = Client(
        prompts={"7B 2": "sharegpt-vicuna-input"}, answer_deviation_frac={"7B": 1.0}, stated_isl={"arena": 150.0}
    )
    assert mean_tokens(prompts_of("7B", "215", client)) == pytest.approx(215, rel=0.01)
    assert longest_tokens(prompts_of("7B", "215", client)) > 800
    assert mean_tokens(prompts_of("7B", "512", client)) == 512
    assert mean_tokens(prompts_of("7B", "dist:arena", client)) == 150
    assert prompts_of("7B", "dist:other", client) is None
    answers = answers_of("7B", "100", client)
    assert (answers.distribution_type, mean_tokens(answers)) == ("lognormal", pytest.approx(100, rel=0.01))
    inferencex = Client(shortest_length_frac=0.8)
    assert mean_tokens(prompts_of("7B", "1000", inferencex)) == pytest.approx(900, rel=0.001)


BEDS = """
weights: {bf16: bf16}
beds:
  - name: one
    when: {engine: vllm, min_load: 4, tensor_parallel_size: [1, 2]}
    engine: vllm
    source: made up
    distrust:
      - {when: {max_load: 8}, metrics: ^ttft, reason: too few users}
      - {when: {min_ttft_ms: 1000}, reason: saturated}
  - {name: other, when: {}, engine: vllm, source: made up}
"""


def test_conditions(point):
    beds = read_beds(BEDS)
    assert bed_of(point(load="concurrency=4"), beds).name == "one"
    assert bed_of(point(load="concurrency=2"), beds).name == "other"
    assert bed_of(point(load="concurrency=4", tp="4"), beds).name == "other"
    assert bed_of(point(load="concurrency=4", engine="SGLang"), beds).name == "other"
    rules = beds.beds[0].distrust
    assert distrusted(point(load="concurrency=8"), "ttft_p50", rules) == "too few users"
    assert not distrusted(point(load="concurrency=8"), "tpot_p50", rules)
    assert not distrusted(point(load="concurrency=9"), "ttft_p50", rules)
    assert distrusted(point(load="concurrency=9", measured={"ttft_mean": 1000.0}), "tpot_p50", rules) == "saturated"


def test_a_bed_that_is_wrong_says_where():
    with pytest.raises(SpecError) as caught:
        read_beds(
            BEDS.replace("engine: vllm,", "engine: 'vllm(',").replace("too few users}", "x, who: me}"), "beds.yaml"
        )
    messages = "\n".join(map(str, caught.value.problems))
    assert "not a regular expression" in messages
    assert "beds.yaml:5" in messages
    assert "beds.yaml:9" in messages
    with pytest.raises(SpecError, match="leaves no round to measure"):
        read_beds(BEDS.replace("when: {},", "when: {}, client: {rounds: 2, first_round: 1, last_round: 1},"))


def test_every_bed_has_settings_that_a_pool_takes(library):
    for bed in library.beds.beds:
        assert bed.source
        assert bed.engine in library.beds.families


def test_a_users_beds_come_first(tmp_path, monkeypatch):
    (tmp_path / "hardware_profiles").mkdir()
    (tmp_path / "hardware_profiles" / "beds.yaml").write_text(BEDS)
    monkeypatch.setenv("TOKENFLEET_CATALOG_PATH", str(tmp_path))
    assert [bed.name for bed in Library().beds.beds] == ["one", "other"]
