"""What is done to a model after pretraining: demonstrations, preferences, reinforcement."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from sim.spec.base import Spec
from sim.spec.ranged import Ranged, assumed, ranged

Count = Annotated[Ranged, ranged("1")]
"""A positive number (with k, M, B, T), its source and spread."""
Amount = Annotated[Ranged, ranged("1", zero=True)]
"""A number that may be 0, its source and spread."""
Part = Annotated[Ranged, ranged("1", zero=True)]
Usd = Annotated[Ranged, ranged("USD", zero=True)]


class _PostTraining(Spec):
    """What every kind has."""

    usd_per_example: Usd = assumed(0.0, why="nothing is paid to people")
    """What people are paid for one example or comparison [USD]. Default 0."""


class Sft(_PostTraining):
    """Supervised fine-tuning on demonstrations."""

    kind: Literal["sft"]
    """What is done, see above."""
    num_examples: Count
    """Demonstrations."""
    tokens_per_example: Count
    """Prompt and answer together, padding included [tokens]."""
    epochs: Count = assumed(2.0, 1.0, 4.0)
    """Times that each is seen. Default 2, *assumed*."""


class RewardModel(_PostTraining):
    """A reward model, trained on comparisons of two answers."""

    kind: Literal["reward"]
    """What is done, see above."""
    num_examples: Count
    """Comparisons."""
    tokens_per_example: Count
    """Prompt and one answer [tokens]; a comparison has two."""
    parameters: Count | None = None
    """Parameters of the reward model. Default: the policy's."""


class Dpo(_PostTraining):
    """Direct preference optimisation on pairs of answers (arXiv:2305.18290)."""

    kind: Literal["dpo"]
    """What is done, see above."""
    num_examples: Count
    """Pairs."""
    tokens_per_example: Count
    """Prompt and one answer [tokens]; a pair has two."""
    epochs: Count = assumed(1.0, 1.0, 3.0)
    """Times that each is seen. Default 1, *assumed*."""


class _Reinforcement(_PostTraining):
    prompt_tokens: Count
    """Length of a prompt [tokens]."""
    response_tokens: Count
    """Length of an answer [tokens]."""
    rollout_mfu: Count | None = None
    """Model FLOPs utilisation while answers are written. Default: see docs/lifecycle.md."""


class Ppo(_Reinforcement):
    """Proximal policy optimisation against a reward model (arXiv:2203.02155)."""

    kind: Literal["ppo"]
    """What is done, see above."""
    num_episodes: Count
    """Answers written and learnt from."""
    reward_parameters: Count | None = None
    """Parameters of the reward model. Default: the policy's."""
    value_parameters: Count | None = None
    """Parameters of the value model. Default: the policy's."""
    pretraining_tokens_per_episode: Amount = assumed(0.0, why="no pretraining text is mixed in")
    """Tokens of pretraining text learnt beside each episode (PPO-ptx). Default 0."""


class Grpo(_Reinforcement):
    """Group-relative policy optimisation: several answers to a prompt, no value model (arXiv:2402.03300)."""

    kind: Literal["grpo"]
    """What is done, see above."""
    num_prompts: Count
    """Prompts drawn, each as often as it is drawn."""
    group_size: Count = assumed(16.0, 8.0, 64.0, why="as DeepSeek-R1")
    """Answers to each. Default 16, as DeepSeek-R1."""
    reward_parameters: Amount = assumed(0.0, why="rewards by rules")
    """Parameters of the reward model; 0: rewards are given by rules. Default 0."""


PostTraining: TypeAlias = Annotated[Sft | RewardModel | Dpo | Ppo | Grpo, Field(discriminator="kind")]
"""One stage after pretraining, by kind."""
