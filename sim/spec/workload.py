"""Workload: what one use of the product looks like, turn by turn, each number with its justification beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from sim.spec.arrival_process import ArrivalProcess, Justification
from sim.spec.base import Fraction, NonNegativeInt, NonNegativeNumber, PositiveInt, Seconds, Spec, Text
from sim.spec.distribution import Distribution, Percentile, TimeDistribution, TokenDistribution
from sim.spec.parts import Files, Pieces
from sim.spec.text import read_text


class Workload(Spec):
    """Lengths and paces of one use case, in inference-perf's words (its workload-catalog folder)."""

    name: Text
    """Name of the use case; that of its folder."""
    description: Text
    """Who does what with the product."""
    input_sequence_length_per_turn: TokenDistribution
    """New tokens of one turn, without system prompt and history [tokens]."""
    input_sequence_length_per_turn_justification: Justification
    """Why."""
    input_sequence_length_first_turn: TokenDistribution | None = None
    """New tokens of a conversation's first turn, where it differs [tokens]. Default: as every turn."""
    input_sequence_length_first_turn_justification: Justification | None = None
    """Why; needed where it is given."""
    input_sequence_length_single_turn: TokenDistribution | None = None
    """New tokens of a conversation that has one turn, where they differ from other first turns' [tokens]. Default: as
    every first turn."""
    input_sequence_length_single_turn_justification: Justification | None = None
    """Why; needed where it is given."""
    system_prompt: NonNegativeInt = 0
    """Text that begins every prompt of the application, the same for all [tokens]; a tier's own comes before it, so the
    two add up. Default 0: the tier's alone."""
    system_prompt_justification: Justification | None = None
    """Why; needed where it is given."""
    tools: NonNegativeInt = 0
    """Definitions of tools, after the system prompt and as much shared [tokens]. Default 0."""
    tools_justification: Justification | None = None
    """Why; needed where it is given."""
    retrieved_passages: Pieces | None = None
    """Passages found for a turn and added to it. Default: none."""
    retrieved_passages_justification: Justification | None = None
    """Why; needed where it is given."""
    images: Pieces | None = None
    """Images shown in a turn, as long in every language. Default: none."""
    images_justification: Justification | None = None
    """Why; needed where it is given."""
    files: Files | None = None
    """Files that are added to a conversation's first turn. Default: none."""
    files_justification: Justification | None = None
    """Why; needed where it is given."""
    in_language_frac: Fraction = 1.0
    """Fraction of the text's tokens that is in the user's language; the rest, such as code, is as long in every
    language. Default 1."""
    in_language_frac_justification: Justification | None = None
    """Why; needed where it is given."""
    output_sequence_length: TokenDistribution
    """Answer of one turn [tokens]."""
    output_sequence_length_justification: Justification
    """Why."""
    number_of_turns: Distribution
    """Turns of a conversation; a population stretches it to its own mean."""
    number_of_turns_justification: Justification
    """Why."""
    time_between_turns: TimeDistribution
    """From a turn's arrival to the next one's [s], if the answer is there by then."""
    time_between_turns_justification: Justification
    """Why."""
    min_think_s: Seconds
    """Shortest time from an answer's end to the next turn [s]."""
    min_think_s_justification: Justification
    """Why."""
    multi_turn: bool
    """True: every prompt repeats the conversation so far."""
    multi_turn_justification: Justification
    """Why."""
    curve: Text
    """Daily curve of programs of this workload (people have the population's): a name in workloads/_curves.yaml."""
    curve_justification: Justification
    """Why."""
    arrivals: ArrivalProcess | None = None
    """When conversations start, for traffic of kind `sessions`; each number has its reason there. Default: not said."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield numbers without a reason."""
        for name, field in type(self).model_fields.items():
            reason = f"{name}_justification"
            given = getattr(self, name) != field.get_default(call_default_factory=True)
            if given and getattr(self, reason, "") is None:
                yield reason, f"missing; say where {name} comes from, or that it is assumed"


class Curve(Spec):
    """The rate of messages over the hours of a day."""

    hourly: Annotated[tuple[NonNegativeNumber, ...], Field(min_length=24, max_length=24)]
    """Rate in the hours from 0 to 23 relative to any common unit; only the shape counts."""
    source: Justification
    """Where it was measured, and in which time zone."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield the one thing that a curve cannot be."""
        if not any(self.hourly):
            yield "hourly", "must not be 0 in every hour"


class PercentileTable(Spec):
    """Percentiles of a measured length or time."""

    source: Justification
    """What was measured, by whom, and what was done with it."""
    licence: Text
    """Licence of the data it was derived from."""
    num_values: PositiveInt
    """Number of values measured."""
    mean: NonNegativeNumber
    """Mean of the values measured (that of the table differs a little)."""
    percentiles: Annotated[dict[Percentile, NonNegativeNumber], Field(min_length=2)]
    """Value at each percentile from 0 to 100."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield what a distribution would find wrong."""
        yield from Distribution.model_construct(
            distribution_type="percentiles", percentiles=self.percentiles
        ).problems()


class _Curves(Spec):
    """A file of curves."""

    curves: dict[Text, Curve]
    """Curves by name."""


class _PercentileTables(Spec):
    """A file of percentile tables."""

    tables: dict[Text, PercentileTable]
    """Tables by name."""


def read_curves(text: str, file: str | None = None) -> dict[str, Curve]:
    """Return the curves of a YAML text by name; raises SpecError with all problems."""
    return dict(_Curves.from_document(read_text(text, file)).curves)


def read_percentile_tables(text: str, file: str | None = None) -> dict[str, PercentileTable]:
    """Return the percentile tables of a YAML text by name; raises SpecError with all problems."""
    return dict(_PercentileTables.from_document(read_text(text, file)).tables)
