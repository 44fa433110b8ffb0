"""Test beds: how serving measurements that others published were taken, so that each can be played again.

A bed is a set of rows that one client measured on one engine: how the client sent requests, what the engine was set
to, which rows mislead. It is data: `hardware_profiles/beds.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from sim.spec.base import Fraction, NonNegativeInt, NonNegativeNumber, PositiveInt, PositiveNumber, Seconds, Spec, Text
from sim.spec.text import read_text


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


Pattern = Annotated[Text, AfterValidator(_compiles)]
"""A regular expression, found anywhere in a column, whatever the case of letters."""


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


def _all_listed(value: Any) -> Any:
    return {key: _listed(items) for key, items in value.items()} if isinstance(value, Mapping) else value


Setting = bool | int | float | str | None
Numbers = Annotated[tuple[float, ...], BeforeValidator(_listed)]


class When(Spec):
    """Conditions on a measured point; all that are given must hold."""

    source: Pattern | None = None
    """Column `source`."""
    engine: Pattern | None = None
    """Column `engine`."""
    version: Pattern | None = None
    """Column `version`."""
    model: Pattern | None = None
    """Column `model`."""
    precision: Pattern | None = None
    """Column `precision`."""
    gpu: Pattern | None = None
    """Column `gpu`."""
    load: Pattern | None = None
    """Column `concurrency_or_rate`."""
    notes: Pattern | None = None
    """Column `notes`."""
    tensor_parallel_size: Numbers = ()
    """Column `tp`: one of these."""
    isl: Numbers = ()
    """Mean prompt length: one of these."""
    osl: Numbers = ()
    """Mean answer length: one of these."""
    min_isl: NonNegativeNumber = 0.0
    """Mean prompt length of at least this [tokens]."""
    min_load: NonNegativeNumber = 0.0
    """Users, batch or rate of at least this."""
    max_load: NonNegativeNumber | None = None
    """Users, batch or rate of at most this."""
    min_ttft_ms: NonNegativeNumber = 0.0
    """Measured mean time to the first token of at least this [ms]."""


class Distrust(Spec):
    """Rows that are scored apart, because they say something else than how fast the engine is."""

    when: When
    """Which points."""
    metrics: Pattern = ""
    """Which of their metrics. Default: all."""
    reason: Text
    """What is wrong with them."""


class Client(Spec):
    """How the load generator behaved."""

    reissue_interval_s: Seconds = 0.0
    """Time that it needs to send a request [s]."""
    rounds: PositiveInt = 4
    """Requests that each user of a closed loop sends, all rounds together."""
    first_round: NonNegativeInt = 1
    """Rounds before this one are not measured."""
    last_round: NonNegativeInt = 0
    """So many rounds at the end are not measured."""
    arrivals: Literal["poisson", "constant"] = "poisson"
    """Gaps between requests of an open loop."""
    num_requests: PositiveInt | None = None
    """Requests of an open loop, where the row does not say."""
    decode_osl: PositiveInt | None = None
    """Rows of a decode batch come from so many answer tokens to requests that were all sent at once, and the column
    `isl` is the mean context, prompt and half the answer. Default: they are single steps."""
    num_prompts: PositiveInt | None = None
    """Distinct prompts, sent in turn. Default: none is sent twice."""
    shortest_length_frac: Fraction = 1.0
    """Lengths are uniform between this share of the stated ones and the whole. Default: all equal."""
    stated_isl: dict[Pattern, PositiveNumber] = Field(default_factory=dict)
    """Mean prompt length [tokens] by pattern of "MODEL ISL", where the column names a data set only."""
    stated_osl: dict[Pattern, PositiveNumber] = Field(default_factory=dict)
    """Mean answer length [tokens] by pattern of "MODEL OSL"."""
    answer_cap: dict[Pattern, PositiveInt] = Field(default_factory=dict)
    """Longest answer [tokens] by pattern of "MODEL OSL": lengths are then uniform up to it, about their mean."""
    isl_factor: PositiveNumber = 1.0
    """Factor on the means of `stated_isl`: they are assumed, and a fit may try others."""
    answer_deviation_factor: PositiveNumber = 1.0
    """Factor on `answer_deviation_frac`, likewise."""
    prompts: dict[Pattern, Text] = Field(default_factory=dict)
    """Table of prompt lengths (workloads/_percentiles.yaml) by pattern of "MODEL ISL", stretched to the mean."""
    answers: dict[Pattern, Text] = Field(default_factory=dict)
    """Table of answer lengths by pattern of "MODEL OSL", stretched likewise."""
    answer_deviation_frac: dict[Pattern, NonNegativeNumber] = Field(default_factory=dict)
    """Standard deviation over mean of answer lengths, which are then lognormal, by pattern of "MODEL OSL"."""


class Bed(Spec):
    """A set of measurements that were taken in one way."""

    name: Text
    """Short name, under which the bed is scored."""
    when: When
    """Which rows belong to it; the first bed that fits counts."""
    load: Literal["stated", "offline"] = "stated"
    """offline: as many requests as the engine takes, whatever the column says."""
    engine: Text
    """Family of the engine's calibration: ENGINE of ENGINE[-VERSION]-GPU."""
    version: Text | None = None
    """Version of it. Default: the row's."""
    client: Client = Client()
    """How the load generator behaved."""
    settings: Annotated[dict[str, tuple[Setting, ...]], BeforeValidator(_all_listed)] = Field(default_factory=dict)
    """Settings of the pool (`fleet.pools` of a scenario): the one to play with first, then what else it may have been
    where the source does not say."""
    weights: dict[Pattern, Text] = Field(default_factory=dict)
    """Precision of the weights by pattern of the column `precision`, before the rules that hold for all beds."""
    distrust: tuple[Distrust, ...] = ()
    """Rows scored apart."""
    source: Text
    """Where the settings come from."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield settings without a value, and rounds that leave nothing to measure."""
        for name, values in self.settings.items():
            if not values:
                yield f"settings.{name}", "needs a value"
        if self.client.first_round + self.client.last_round >= self.client.rounds:
            yield "client.rounds", "leaves no round to measure; give more than first_round + last_round"


class Default(Spec):
    """Settings of an engine that hold where a bed does not say otherwise."""

    when: When
    """Which points."""
    settings: Annotated[dict[str, tuple[Setting, ...]], BeforeValidator(_all_listed)]
    """As in a bed."""
    source: Text
    """Where they come from."""


class Beds(Spec):
    """All beds, and what holds for all of them."""

    weights: dict[Pattern, Text]
    """Precision of the weights by pattern of "MODEL PRECISION", the first that fits."""
    defaults: tuple[Default, ...] = ()
    """Settings of engines: of all that fit, the later ones count."""
    families: dict[Text, tuple[Text, ...]] = Field(default_factory=dict)
    """Families of calibrations to try for a family, in order."""
    beds: tuple[Bed, ...]
    """In order: the first whose conditions hold counts."""


def read_beds(text: str, file: str | None = None) -> Beds:
    """Return the beds of a file."""
    return Beds.from_document(read_text(text, file))
