"""Compute and memory after pretraining, against what was published."""

import pytest

from sim import catalog
from sim.lifecycle.alignment import ROLLOUT_MFU, Models, learning, num_gpus, writing
from sim.lifecycle.context import training_flops_at
from sim.lifecycle.plan import MFU, Rented
from sim.lifecycle.shapes import parameters, training_attention_flops_per_token
from sim.spec.lifecycle import read_lifecycle
from sim.spec.post_training import Dpo, Grpo, Ppo, RewardModel, Sft
from sim.spec.ranged import assumed

PFLOPS_DAY = 1e15 * 86400
GPT3 = Models(175e9, 175e9)
H100 = Rented(catalog.load_gpu("h100-sxm-80gb"), MFU["h100"], assumed(2.0))


def _compute(stage, models):
    rule, inputs = learning(stage, models)
    answers = writing(stage, models)
    return rule(*inputs) + (answers[0](*answers[1]) if answers else 0.0)


def test_instructgpts_fine_tuning():
    """arXiv:2203.02155: 4.9 PFLOP/s-days, 0.13 %. 12,725 prompts (table 6), 16 epochs; 2,048 tokens *assumed*."""
    sft = Sft.from_dict({"kind": "sft", "num_examples": 12725, "tokens_per_example": 2048, "epochs": 16})
    assert _compute(sft, GPT3) / PFLOPS_DAY == pytest.approx(4.9, rel=0.05)
    assert _compute(sft, GPT3) / PFLOPS_DAY / 3640 == pytest.approx(0.0013, abs=0.0001)


def test_instructgpts_ppo():
    """60 PFLOP/s-days, 1.6 %: 256k episodes and 8 pretraining texts of 2,048 tokens with each (appendix C.4).

    Reward and value models of 6B; prompts and answers of about 500 tokens are assumed (each at most 1,000).
    """
    ppo = Ppo.from_dict(
        {
            "kind": "ppo",
            "num_episodes": "256k",
            "prompt_tokens": 500,
            "response_tokens": 500,
            "reward_parameters": "6B",
            "value_parameters": "6B",
            "pretraining_tokens_per_episode": 8 * 2048,
        }
    )
    assert _compute(ppo, GPT3) / PFLOPS_DAY == pytest.approx(60, rel=0.10)
    # Nearly all of it is pretraining text: the reinforcement itself is 6 of 60.
    alone = ppo.replace("pretraining_tokens_per_episode", 0)
    assert _compute(alone, GPT3) / PFLOPS_DAY == pytest.approx(6.3, rel=0.05)


def test_deepseek_r1_zeros_gpu_hours():
    """512 GPUs x 198 h = 101k H800-hours (supplement of Nature 645, 2025); 10,400 steps of 512 answers.

    The rollout MFU is chosen by this row, with answers of 6,000 tokens (assumed): no prediction, but the sum holds.
    """
    grpo = Grpo.from_dict(
        {"kind": "grpo", "num_prompts": 10_400 * 32, "group_size": 16, "prompt_tokens": 200, "response_tokens": 5800}
    )
    models = Models(37e9, 671e9)
    rule, inputs = learning(grpo, models)
    written, amounts, mfu = writing(grpo, models)
    assert mfu is ROLLOUT_MFU
    hours = H100.hours(rule(*inputs), MFU["h100"]) + H100.hours(written(*amounts), mfu)
    assert hours == pytest.approx(101e3, rel=0.05)
    assert pytest.approx(0.053, abs=0.0005) == 147e3 / 2.788e6
    assert 147e3 * H100.usd_per_gpu_hour == pytest.approx(294e3)


def test_deepseek_v3s_longer_contexts():
    """119k H800-hours (arXiv:2412.19437): 1,000 steps of 1,920 x 32k tokens, then of 480 x 128k."""
    model = catalog.load_model("deepseek-v3")
    flops = sum(
        training_flops_at(model, 37e9, 1000 * batch * length, length)
        for batch, length in ((1920, 32768), (480, 131072))
    )
    assert H100.hours(flops, MFU["h100"]) == pytest.approx(119e3, rel=0.25)
    # Attention is most of it: without it, the estimate would be less than half.
    assert H100.hours(37e9 * 6 * 1000 * 2 * 1920 * 32768, MFU["h100"]) < 0.5 * 119e3


def test_attention_over_a_context_by_hand():
    """Llama 3.1 70B: 12 x layers x hidden x s / 2 in training (PaLM's 12 L H Q T, halved for causality)."""
    model = catalog.load_model("llama-3.1-70b")
    assert training_attention_flops_per_token(model, 131072) == 12 * 80 * 8192 * 131072 / 2
    assert training_attention_flops_per_token(model, 131072) > 6 * parameters(model).total
    sliding = catalog.load_model("gpt-oss-20b")
    assert training_attention_flops_per_token(sliding, 131072) < 0.51 * training_attention_flops_per_token(
        sliding.model_copy(update={"num_sliding_layers": 0}), 131072
    )


@pytest.mark.parametrize(
    ("stage", "bytes_a_parameter", "gpus"),
    [
        (Sft.from_dict({"kind": "sft", "num_examples": 1, "tokens_per_example": 1}), 16, 24),
        (RewardModel.from_dict({"kind": "reward", "num_examples": 1, "tokens_per_example": 1}), 16, 24),
        (Dpo.from_dict({"kind": "dpo", "num_examples": 1, "tokens_per_example": 1}), 18, 32),
        (Ppo.from_dict({"kind": "ppo", "num_episodes": 1, "prompt_tokens": 1, "response_tokens": 1}), 36, 56),
        (
            Grpo.from_dict(
                {
                    "kind": "grpo",
                    "num_prompts": 1,
                    "prompt_tokens": 1,
                    "response_tokens": 1,
                    "reward_parameters": "70B",
                }
            ),
            20,
            32,
        ),
    ],
)
def test_memory_of_the_models_at_work(stage, bytes_a_parameter, gpus):
    """ZeRO's 16 B for each that learns, 2 B for each that reads; on H100s of 85.0 GB, 60 % of it, in nodes of 8."""
    held = Models(70e9, 70e9).memory_bytes(stage)
    assert held == bytes_a_parameter * 70e9
    assert num_gpus(held, H100, 0.6) == gpus
    assert gpus - 8 < held / (0.6 * 79.18 * 2**30) <= gpus


def test_compute_by_hand():
    """N = 70B, reward model 7B, value model 7B, 100 and 200 tokens: in units of 1e9 x 300."""
    models = Models(70e9, 70e9)
    answers = {"prompt_tokens": 100, "response_tokens": 200, "reward_parameters": "7B"}
    ppo = Ppo.from_dict({"kind": "ppo", "num_episodes": 1, "value_parameters": "7B"} | answers)
    assert _compute(ppo, models) == pytest.approx(300e9 * (6 * 70 + 6 * 7 + 2 * 70 + 2 * 70 + 2 * 7 + 2 * 7 + 2 * 70))
    grpo = Grpo.from_dict({"kind": "grpo", "num_prompts": 1, "group_size": 4} | answers)
    assert _compute(grpo, models) == pytest.approx(4 * 300e9 * (6 * 70 + 2 * 70 + 2 * 70 + 2 * 7 + 2 * 70))
    dpo = Dpo.from_dict({"kind": "dpo", "num_examples": 1, "tokens_per_example": 300})
    assert _compute(dpo, models) == pytest.approx(2 * 300e9 * 8 * 70)


def test_people_may_cost_more_than_gpus(meridian):
    stage = meridian()["alignment"]
    assert stage["sft: dollars"].value == pytest.approx(1e6 * 2 + stage["sft: GPU-hours"].value * 3)
    parts = [figure.value for figure in stage.figures if figure.name.endswith(": dollars") and figure.name[:3] != "all"]
    assert stage["all: dollars"].value == pytest.approx(sum(parts))


def test_a_kind_that_is_not_known_is_said(small):
    from sim.errors import SpecError

    with pytest.raises(SpecError, match=r"alignment.stages.a.kind: .*dpo, grpo, ppo, reward, sft"):
        read_lifecycle(small + "alignment: {stages: {a: {kind: rlhf}}}\n")
