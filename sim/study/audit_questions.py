"""The questions of a lifecycle audit, stage by stage: what is asked, and what numbers can and cannot say of it.

The stages and what they ask for follow a classroom audit of a model called Meridian-1; the words are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True)
class Question:
    """One question of the audit."""

    key: str
    """Its stage and letter."""
    asked: str
    kind: Literal["numbers", "judgement"]
    says: str
    """What the figures beside it say."""
    cannot: str
    """What no figure here can say."""

    @property
    def stage(self) -> int:
        """Number of its stage."""
        return int(self.key[0])


STAGES: Final = {
    1: "Data",
    2: "Architecture",
    3: "Pretraining",
    4: "Evaluation before alignment",
    5: "Alignment",
    6: "Red-teaming",
    7: "Deployment",
}

QUESTIONS: Final = (
    Question(
        "1a",
        "Which sources go into the corpus of a model for science, and why each?",
        "judgement",
        "How many tokens there are of each kind, and how often each would be seen: what is scarce cannot be asked for.",
        "Which source teaches what: no law here tells one text from another.",
    ),
    Question(
        "1b",
        "What parts of the tokens are code, scientific papers and general web text?",
        "numbers",
        "Tokens of each part, how often they repeat, and what repetition leaves of them (effective tokens).",
        "Whether another mixture gives a better model: that needs small runs of several mixtures.",
    ),
    Question(
        "1c",
        "Which fault of scientific text must be filtered out, and how?",
        "judgement",
        "What a filter may throw away before a part repeats more than four times, by the tokens there are.",
        "What a filter finds: broken formulas, tables torn apart and retracted papers are seen by reading samples.",
    ),
    Question(
        "2a",
        "How many training tokens are best for 70B parameters, and for a budget of 10 million GPU-hours?",
        "numbers",
        "Three answers: what is best for the size, what the budget buys at the size, and what is best for the budget.",
        "Quality: the laws predict the loss of a token, on the text they were fitted to.",
    ),
    Question(
        "2b",
        "Dense, or a mixture of experts, and what does that do to the cost of serving?",
        "numbers",
        "GPUs, latency and dollars of both in this fleet, each sized for its worst hour.",
        "That both are as good: sqrt(active x all) is a rule of thumb, and routing brings troubles of its own.",
    ),
    Question(
        "3a",
        "What is watched while training to see that it becomes unstable?",
        "judgement",
        "What a restart costs, and what reserve is kept for it.",
        "When it comes. Watched are the loss against its forecast, the gradient's norm, and the largest logits.",
    ),
    Question(
        "3b",
        "When are the first downstream benchmarks run, and why not before or after?",
        "numbers",
        "The predicted loss by tokens: how much of what will be gained has been gained by when.",
        "When a task is learned: scores jump where the loss does not.",
    ),
    Question(
        "4a",
        "Which five benchmarks measure a model for science?",
        "judgement",
        "Questions, tokens and GPU-hours of a suite, and the width of a score's interval by its number of questions.",
        "What a benchmark measures, and whether its questions were in the corpus.",
    ),
    Question(
        "4b",
        "What is done when it turns out to know dangerous syntheses?",
        "judgement",
        "What the remedies cost: training it to refuse, and classifiers in front of it, each month.",
        "Whether it may be released. Filtering the corpus and training anew is the whole budget of stage 3.",
    ),
    Question(
        "5a",
        "Which behaviour is put first in supervised fine-tuning?",
        "judgement",
        "What examples, their tokens and their training cost; people's time is most of it.",
        "Which examples: that is a choice of values, written as prompts and answers.",
    ),
    Question(
        "5b",
        "How could a reward be hacked here, and how would one see it?",
        "judgement",
        "What each method of alignment takes; and that answers which grow longer are found by the monitors of stage 7.",
        "That a cited paper exists, or that a tone of certainty is earned: that takes people, or tools that check.",
    ),
    Question(
        "6a",
        "What would a red team try on an assistant for science?",
        "judgement",
        "How many attacks a budget buys.",
        "The attacks. They are not written down here.",
    ),
    Question(
        "6b",
        "By what criterion is it safe enough?",
        "numbers",
        "What n attacks without success exclude (the rule of three), and how many unsafe messages a day are answered.",
        "What risk is acceptable: a number is compared with a limit that people set.",
    ),
    Question(
        "7a",
        "What serves ten million monthly users: batching, context limits, tiers?",
        "numbers",
        "The whole of a simulated day: GPUs, batches, latencies, cache, money and failures, by tier.",
        "What is not in the scenario; its assumptions stand beside it, with their ranges.",
    ),
    Question(
        "7b",
        "What is watched after release to see that it has changed?",
        "numbers",
        "Which series are watched, how often they raise a false alarm, and how large a change they are set to find.",
        "Whether answers are still right: no monitor here reads them.",
    ),
)  # fmt: skip
