"""Lifecycle: how a model came to be, from its data to its next release."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import Field

from sim.errors import Problem, SpecError
from sim.spec.base import Fraction, Key, Name, NonNegativeInt, PositiveInt, PositiveNumber, Spec, Text
from sim.spec.load import read_changes
from sim.spec.post_training import Amount, Count, Part, PostTraining, Usd
from sim.spec.prices import Level
from sim.spec.ranged import Ranged, assumed, given, ranged
from sim.spec.shape import ContextLength, VocabularySize
from sim.spec.text import parse_path, read_text

UsdPerHour = Annotated[Ranged, ranged("USD/h", zero=True)]


class Corpus(Spec):
    """One kind of text in the mixture."""

    frac: Fraction
    """Its share of the training tokens; shares add up to 1."""
    unique_tokens: Count | None = None
    """Tokens there are of it, once duplicates are out. Default: no limit is known."""


class Data(Spec):
    """What the model is trained on."""

    tokens: Annotated[Ranged, ranged("1")] | Literal["budget", "chinchilla"] = "budget"
    """Training tokens. budget: what the GPU-hours buy at this size; chinchilla: the optimum for it; or a number.
    Default budget."""
    mixture: dict[Key, Corpus] = Field(default_factory=dict)
    """Kinds of text. Default: not divided."""
    mixture_source: Text = "assumed"
    """Where the shares were read."""
    languages: dict[Text, Fraction] = Field(default_factory=lambda: {"English": 1.0})
    """Languages by their share of the training tokens; shares add up to 1. Default English."""
    languages_source: Text = "assumed"
    """Where these shares were read."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield shares that do not add up."""
        shares = {"mixture": [corpus.frac for corpus in self.mixture.values()], "languages": [*self.languages.values()]}
        for name, parts in shares.items():
            if parts and abs(sum(parts) - 1.0) > 1e-6:
                yield name, f"shares must add up to 1, got {sum(parts):g}"


class Architecture(Spec):
    """The model's shape: one of the catalogue, or wishes from which the rules make one."""

    model: Text | None = None
    """A model of the catalogue, a file, or a short form. Default: made from the wishes below."""
    parameters: PositiveNumber | None = None
    """Parameters in all, such as `70B`."""
    active_parameters: PositiveNumber | None = None
    """Parameters that a token visits, the input embedding left out; makes a mixture of experts."""
    attention: Literal["mha", "gqa", "mqa", "mla"] | None = None
    """Kind of attention. Default GQA."""
    num_key_value_heads: PositiveInt | None = None
    """KV heads a layer. Default 8."""
    vocab_size: VocabularySize | None = None
    """Vocabulary; `128k` is 128,000. Default that of Llama 3."""
    tokenizer: Text | None = None
    """Name of a counted tokenizer. Default: the size of the vocabulary stands for it."""
    max_position_embeddings: ContextLength | None = None
    """Longest context [tokens]; `128k` is 131,072. Default that of Llama 3.1."""
    num_experts: PositiveInt | None = None
    """Routed experts a layer. Default: none, or what active_parameters ask for."""
    num_experts_per_tok: PositiveInt | None = None
    """Experts each token visits. Default: see `sim/spec/shape.py`, or what active_parameters ask for."""
    n_shared_experts: NonNegativeInt = 0
    """Experts every token visits."""

    @property
    def wishes(self) -> dict[str, Any]:
        """What is said of a shape, by name."""
        fields = {name: getattr(self, name) for name in type(self).model_fields if name != "model"}
        return {name: value for name, value in fields.items() if value}

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield a shape that is given twice, or not at all, or that cannot be."""
        if self.model is not None and self.wishes:
            yield "model", f"leave it out, or leave out {', '.join(self.wishes)}: each says what the shape is"
        elif self.model is None and self.parameters is None:
            yield "parameters", "missing: give the size, or a model of the catalogue"
        elif self.active_parameters is not None and self.active_parameters >= (self.parameters or 0):
            yield "active_parameters", f"must be fewer than parameters = {self.parameters:g}"


class Pretraining(Spec):
    """The run that makes the model."""

    hardware: Text
    """GPU by name."""
    gpu_hours: Count | None = None
    """Budget [GPU-hours]; needed for `data.tokens: budget`."""
    num_gpus: PositiveInt | None = None
    """GPUs at work at once, for the days it takes. Default: not said."""
    mfu: Count | None = None
    """Model FLOPs utilisation over all GPU-hours, of the peak in bf16. Default: by GPU, see docs/lifecycle.md."""
    instability_reserve_frac: Part = assumed(0.1, 0.02, 0.25, why="runs begun again, and the small ones before")
    """Part of the budget kept for what goes wrong beyond the usual restarts, which the MFU has in it. Default 0.1."""
    usd_per_gpu_hour: UsdPerHour | None = None
    """Price [USD per GPU-hour]. Default: the price book's."""
    power_frac: Part = assumed(0.9, 0.7, 1.0, why="model cards count the board's limit; utilisation varies")
    """Mean power of a GPU at work over its limit. Default 0.9, *assumed*."""
    context_tokens: PositiveInt = 8192
    """Length of a training sequence [tokens]. Default 8,192: Llama 3 (arXiv:2407.21783)."""
    coefficients: Literal["epoch", "hoffmann", "sardana"] = "epoch"
    """Fit of the scaling law that decides. Default epoch."""


class Uptraining(Spec):
    """Fewer KV heads after pretraining: a model of full heads is changed and trained on (arXiv:2305.13245)."""

    frac: Part = given(0.05, "arXiv:2305.13245, abstract", "published", 0.05, 0.10)
    """Compute over that of pretraining. Default 0.05."""


class ContextStage(Spec):
    """One step of a longer context."""

    context_tokens: ContextLength
    """Length of a training sequence [tokens]."""
    tokens: Count
    """Tokens trained on at that length."""


class Alignment(Spec):
    """From a model that goes on with text to one that answers."""

    hardware: Text | None = None
    """GPU by name. Default: that of pretraining."""
    mfu: Count | None = None
    """Model FLOPs utilisation while it learns. Default: that of pretraining, on other hardware that GPU's."""
    usable_memory_frac: Part = assumed(0.6, 0.5, 0.8, why="the rest holds activations, caches and buffers")
    """Part of GPU memory for weights, gradients and optimiser states. Default 0.6, *assumed*."""
    stages: dict[Key, PostTraining] = Field(default_factory=dict)
    """Stages in their order."""


class Smaller(Spec):
    """A smaller model made from this one."""

    parameters: Count
    """Parameters of the smaller model."""
    tokens: Count
    """Tokens it learns from the larger one's predictions."""


class Compression(Spec):
    """What makes it cheaper to serve."""

    quantization: tuple[Literal["fp8", "int8", "int4", "nvfp4", "nvfp4-qat"], ...] = ()
    """Types of the weights that are looked at, each with its published loss of quality."""
    distillation: Smaller | None = None
    """A student that begins from nothing."""
    pruning: Smaller | None = None
    """A student that begins as what is left of the model."""


class Safety(Spec):
    """Training the model to refuse, and classifiers around it."""

    training: dict[Key, PostTraining] = Field(default_factory=dict)
    """Stages of safety training, once a release."""
    classifiers: tuple[Text, ...] = ()
    """Classifiers of the catalogue that read every exchange; each is weighed against the training."""
    prompt_tokens: Count = assumed(1000.0, 300.0, 3000.0)
    """Tokens of a prompt that model and classifier read. Default 1,000, *assumed*."""
    output_tokens: Count = assumed(300.0, 100.0, 600.0)
    """Tokens of an answer. Default 300, *assumed*."""


class Benchmark(Spec):
    """One set of questions."""

    num_questions: Count
    """Questions."""
    tokens_per_question: Count
    """Examples, question and answer [tokens]."""
    samples: Count = assumed(1.0)
    """Answers to each. Default 1."""


class RedTeam(Spec):
    """People, and models, who try to make it do harm."""

    num_people: Count
    """Experts."""
    hours_per_person: Count
    """Hours of each [h]."""
    usd_per_hour: Usd
    """What an hour costs [USD]."""
    num_attacks: Amount = assumed(0.0)
    """Attacks that a model of the same size writes and judges. Default 0."""
    tokens_per_attack: Count = assumed(2000.0, 1000.0, 8000.0)
    """Tokens of an attack, its answer and the judgement [tokens]. Default 2,000, *assumed*."""


class Evaluation(Spec):
    """What is measured before it goes out."""

    benchmarks: dict[Key, Benchmark] = Field(default_factory=dict)
    """Sets of questions."""
    num_checkpoints: Count = assumed(20.0, 5.0, 100.0)
    """Times that all of them are run. Default 20, *assumed*."""
    mfu: Count = assumed(0.1, 0.03, 0.3, why="short answers in batches")
    """Model FLOPs utilisation while it answers. Default 0.1, *assumed*."""
    red_team: RedTeam | None = None
    """Adversarial testing. Default: none."""


class Release(Spec):
    """How often a model follows."""

    cadence_months: Count = assumed(6.0, 3.0, 12.0)
    """Months between releases. Default 6, *assumed*."""
    life_months: Count = assumed(12.0, 6.0, 24.0)
    """Months that a release is served. Default 12, *assumed*."""


class Serving(Spec):
    """What it is made for."""

    scenario: Text | None = None
    """Scenario that serves it. Default: none."""
    overrides: dict[Text, Any] = Field(default_factory=dict)
    """Changes {dotted path: value} to the scenario."""
    tokens_per_month: Amount = assumed(0.0, why="no demand is given")
    """Tokens read and written for users in a month."""
    usd_per_month: Usd = assumed(0.0, why="no bill is given")
    """What serving costs in a month [USD]."""


class Lifecycle(Spec):
    """Every choice of a model's life that has a number."""

    NOT_IN_DIGEST = frozenset({"name", "description"})

    name: Name
    """Name of the lifecycle. Default: the file's."""
    description: Text = ""
    """What it is, in a sentence."""
    prices: Text = "2026"
    """Price book. Default 2026."""
    price_level: Level = "mid"
    """Which of its prices. Default mid."""
    site: Text = "united-states"
    """Where the GPUs stand. Default united-states."""
    data: Data = Field(default_factory=Data)
    """Stage 1: what it learns from."""
    architecture: Architecture
    """Stage 2: its shape."""
    pretraining: Pretraining
    """Stage 3: the run."""
    uptraining: Uptraining | None = None
    """Fewer KV heads afterwards. Default: none."""
    context_extension: tuple[ContextStage, ...] = ()
    """Longer contexts, step by step. Default: none."""
    alignment: Alignment = Field(default_factory=Alignment)
    """Stage 5: after pretraining."""
    compression: Compression = Field(default_factory=Compression)
    """Smaller weights, smaller models."""
    safety: Safety = Field(default_factory=Safety)
    """Stage 6: refusals and classifiers."""
    evaluation: Evaluation = Field(default_factory=Evaluation)
    """Stages 4 and 6: what is measured."""
    release: Release = Field(default_factory=Release)
    """How often the next one comes."""
    serving: Serving = Field(default_factory=Serving)
    """Stage 7: what it is served by."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield what the parts say against each other."""
        if self.data.tokens == "budget" and self.pretraining.gpu_hours is None:
            yield "pretraining.gpu_hours", "missing: data.tokens is budget, so how many GPU-hours are there?"


def read_lifecycle(
    text: str,
    file: str | None = None,
    *,
    changes: Sequence[str] | Mapping[str, Any] = (),
    check: Callable[[Lifecycle], Iterable[tuple[str, str]]] | None = None,
) -> Lifecycle:
    """Return the lifecycle that a YAML text describes.

    Parameters
    ----------
    text
        The YAML.
    file
        Its file name, for messages and for the default name.
    changes
        Changes ``path=value`` (or a mapping path -> value).
    check
        What else is wrong with it: (dotted path, message) pairs.

    Raises
    ------
    SpecError
        All problems, each with its file and line.
    """
    document = read_text(text, file)
    if isinstance(document.data, dict) and file is not None:
        document.data.setdefault("name", PurePath(file).stem)
    problems: list[Problem] = []
    for path, value in read_changes(changes, problems):
        try:
            document = document.patched(path, value)
        except SpecError as error:
            problems += error.problems
    try:
        lifecycle = Lifecycle.from_document(document)
        further = check(lifecycle) if check is not None else ()
        problems += [document.problem(parse_path(path), message) for path, message in further]
    except SpecError as error:
        problems += error.problems
    SpecError.raise_if(problems)
    return lifecycle
