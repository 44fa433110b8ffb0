"""Stage 5, alignment: compute, memory, GPU-hours and dollars of what follows pretraining.

A model that learns holds 16 B a parameter: weights and gradients in bf16, and in fp32 a copy of the weights and Adam's
two moments (ZeRO, arXiv:1910.02054, section 3.1). One that only reads or writes holds 2 B. Learning from a token takes
6 N FLOP, reading or writing one 2 N.

=======  ==============  =======================  ====================================================================
kind     learn           held beside them         compute, with T = prompt + answer tokens
=======  ==============  =======================  ====================================================================
sft      policy                                   6 N T a demonstration and epoch
reward   reward model                             6 Nr 2 T a comparison
dpo      policy          reference                (6 N + 2 N) 2 T a pair and epoch
ppo      policy, value   reference, reward model  (6 N + 6 Nv + 2 (N + N + Nr + Nv)) T an episode, and 2 N T to write it
grpo     policy          reference, reward model  (6 N + 2 (N + N + Nr)) T an answer, and 2 N T to write it
=======  ==============  =======================  ====================================================================

(The second 2 N reads the answer again under the policy as it was, once for each answer.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sim.lifecycle.figures import Figure, Stage, computed, inputs
from sim.lifecycle.plan import Plan, Rented
from sim.spec.post_training import Dpo, Grpo, PostTraining, Ppo, RewardModel, Sft
from sim.spec.ranged import Ranged, assumed, given

LEARNING_BYTES: Final = 16.0
"""Weights, gradients, master weights and two moments of a parameter that learns [B] (arXiv:1910.02054)."""
READING_BYTES: Final = 2.0
"""A parameter in bf16 [B]."""
ROLLOUT_MFU: Final = assumed(
    0.0075,
    0.0025,
    0.05,
    why="fits the 101k H800-hours of DeepSeek-R1-Zero with answers of 6,000 tokens; everybody waits for the longest",
)
"""Model FLOPs utilisation while answers are written, of the peak in bf16."""
PUBLISHED: Final[tuple[tuple[str, Ranged], ...]] = (
    ("InstructGPT: SFT", given(4.9 / 3640, "arXiv:2203.02155: 4.9 of 3,640 PFLOP/s-days", "published")),
    ("InstructGPT: PPO-ptx", given(60 / 3640, "arXiv:2203.02155: 60 of 3,640 PFLOP/s-days", "published")),
    (
        "DeepSeek-R1: all of RL",
        given(
            147e3 / 2.788e6,
            "147k H800-hours (USD 294k; supplement of Nature 645, 2025) of 2.788M of DeepSeek-V3 (arXiv:2412.19437)",
            "published",
        ),
    ),
)
"""What others spent, over their pretraining."""


@dataclass(frozen=True)
class Models:
    """Parameters of the models at work."""

    policy: float
    """N of the policy's compute."""
    held: float
    """Parameters of the policy that memory holds (more than N in a mixture of experts)."""

    def reward(self, stage: PostTraining) -> float:
        """Return the parameters of the reward model; 0 where there is none."""
        if isinstance(stage, RewardModel):
            return self.policy if stage.parameters is None else float(stage.parameters)
        if isinstance(stage, Ppo):
            return self.policy if stage.reward_parameters is None else float(stage.reward_parameters)
        return float(stage.reward_parameters) if isinstance(stage, Grpo) else 0.0

    def value(self, stage: PostTraining) -> float:
        """Return the parameters of the value model; 0 where there is none."""
        if not isinstance(stage, Ppo):
            return 0.0
        return self.policy if stage.value_parameters is None else float(stage.value_parameters)

    def memory_bytes(self, stage: PostTraining) -> float:
        """Return the bytes of weights, gradients and optimiser states of all models of a stage [B]."""
        own = self.held / self.policy
        reward, value = (n * own if n == self.policy else n for n in (self.reward(stage), self.value(stage)))
        match stage:
            case Sft():
                return LEARNING_BYTES * self.held
            case RewardModel():
                return LEARNING_BYTES * reward
            case Dpo():
                return (LEARNING_BYTES + READING_BYTES) * self.held
            case Ppo() | Grpo():
                return LEARNING_BYTES * (self.held + value) + READING_BYTES * (self.held + reward)


def learning(stage: PostTraining, models: Models) -> tuple[Callable[..., float], tuple[Ranged | float, ...]]:
    """Return the compute of a stage without the writing of answers [FLOP]: a rule, and its inputs."""
    n, reward, value = models.policy, models.reward(stage), models.value(stage)
    match stage:
        case Sft():
            return lambda k, t, e: 6 * n * k * t * e, (stage.num_examples, stage.tokens_per_example, stage.epochs)
        case RewardModel():
            return lambda k, t: 6 * reward * 2 * k * t, (stage.num_examples, stage.tokens_per_example)
        case Dpo():
            return lambda k, t, e: 8 * n * 2 * k * t * e, (stage.num_examples, stage.tokens_per_example, stage.epochs)
        case Ppo():
            return (
                lambda k, p, r, mixed: k * ((10 * n + 8 * value + 2 * reward) * (p + r) + 6 * n * mixed),
                (stage.num_episodes, stage.prompt_tokens, stage.response_tokens, stage.pretraining_tokens_per_episode),
            )
        case Grpo():
            return (
                lambda k, g, p, r: k * g * (10 * n + 2 * reward) * (p + r),
                (stage.num_prompts, stage.group_size, stage.prompt_tokens, stage.response_tokens),
            )


def writing(stage: PostTraining, models: Models) -> tuple[Callable[..., float], tuple[Ranged, ...], Ranged] | None:
    """Return the compute of writing answers [FLOP]: a rule, its inputs, and the MFU; None where none are written."""
    n = models.policy
    match stage:
        case Ppo():
            inputs: tuple[Ranged, ...] = (stage.num_episodes, stage.prompt_tokens, stage.response_tokens)
            return lambda k, p, r: 2 * n * k * (p + r), inputs, stage.rollout_mfu or ROLLOUT_MFU
        case Grpo():
            inputs = (stage.num_prompts, stage.group_size, stage.prompt_tokens, stage.response_tokens)
            return lambda k, g, p, r: 2 * n * k * g * (p + r), inputs, stage.rollout_mfu or ROLLOUT_MFU
        case _:
            return None


def num_gpus(memory_bytes: float, rented: Rented, usable_frac: float) -> int:
    """Return the GPUs over which so many bytes are sharded, in whole nodes."""
    gpu = rented.gpu
    nodes = memory_bytes / (gpu.hbm_bytes * usable_frac * gpu.gpus_per_node)
    return math.ceil(nodes - 1e-9) * int(gpu.gpus_per_node)


def stage(plan: Plan, pretraining_flops: float) -> Stage:
    """Return the stages after pretraining, and their sum."""
    figures = tuple(post_training(plan, plan.spec.alignment.stages, pretraining_flops))
    published = tuple(
        Figure(f"{who} (published)", float(share), "of pretraining", share.source) for who, share in PUBLISHED
    )
    return Stage("alignment", "Stage 5: alignment", (*figures, *published))


def post_training(plan: Plan, stages: Mapping[str, PostTraining], pretraining_flops: float) -> Iterator[Figure]:
    """Yield memory, GPUs, GPU-hours and dollars of each stage, and the sums."""
    rented = plan.alignment
    models = Models(plan.compute_parameters, float(plan.counts.total))
    sums: dict[str, list[Figure]] = {"GPU-hours": [], "dollars": []}
    for name, one in stages.items():
        figures = tuple(_one(plan, name, one, models, rented, pretraining_flops))
        yield from figures
        for what, found in sums.items():
            found += [figure for figure in figures if figure.name == f"{name}: {what}"]
    for what, found in sums.items():
        unit = {"GPU-hours": "GPU-hours", "dollars": "USD"}[what]
        parts = [figure.number for figure in found]
        yield computed(f"all: {what}", unit, "sum of the stages", lambda *values: float(sum(values)), *parts)


def _one(
    plan: Plan, name: str, one: PostTraining, models: Models, rented: Rented, pretraining_flops: float
) -> Iterator[Figure]:
    """Yield the figures of one stage."""
    usable = plan.spec.alignment.usable_memory_frac
    held = models.memory_bytes(one)
    yield from inputs(name, one)
    states = "weights, gradients, Adam; arXiv:1910.02054"
    yield Figure(
        f"{name}: memory", held / 1e9, "GB", f"computed: 16 B x learning + 2 B x reading ({states})", note=one.kind
    )
    yield computed(
        f"{name}: GPUs",
        "GPUs",
        "memory / (GPU memory x usable part), in whole nodes",
        lambda part: float(num_gpus(held, rented, part)),
        usable,
        note=rented.gpu.name,
    )
    flops, hours = _work(name, one, models, rented)
    yield flops
    yield hours
    yield computed(
        f"{name}: share", "of pretraining", "C / C of pretraining", lambda c: c / pretraining_flops, flops.number
    )
    yield computed(
        f"{name}: dollars",
        "USD",
        "GPU-hours x price + examples x what people are paid",
        lambda h, usd, count, each: h * usd + count * each,
        hours.number,
        rented.usd_per_gpu_hour,
        one.num_examples if isinstance(one, Sft | RewardModel | Dpo) else 0.0,
        one.usd_per_example,
        source=rented.usd_per_gpu_hour.source,
    )


def _work(name: str, one: PostTraining, models: Models, rented: Rented) -> tuple[Figure, Figure]:
    """Return compute and GPU-hours of one stage."""
    rule, inputs = learning(one, models)
    equation = f"{one.kind}: docs/lifecycle.md"
    flops = computed(f"{name}: compute", "FLOP", equation, rule, *inputs)
    taken = "learning / (3600 peak MFU)"
    hours = computed(f"{name}: GPU-hours", "GPU-hours", taken, rented.hours, flops.number, rented.mfu)
    if (answers := writing(one, models)) is None:
        return flops, hours
    written, inputs, mfu = answers
    more = computed("", "FLOP", "2 N T", written, *inputs)
    more_hours = computed("", "GPU-hours", "", rented.hours, more.number, mfu)
    return (
        computed(flops.name, "FLOP", equation, lambda a, b: a + b, flops.number, more.number),
        computed(
            hours.name,
            "GPU-hours",
            f"{taken} + writing / (3600 peak rollout MFU)",
            lambda a, b: a + b,
            hours.number,
            more_hours.number,
            note=f"rollout MFU {float(mfu):g}: {mfu.source}",
        ),
    )
