"""Languages of a class: how much longer its turns are in each."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim import catalog
from sim.lifecycle.tokenizers import length_factors, tokenizer_of
from sim.spec import Scenario, Tier
from sim.spec.companions import before_check
from sim.spec.workload import Workload
from sim.traffic.classes import table, workload_tables
from sim.traffic.lengths import table_mean


def class_factors(scenario: Scenario, tier: Tier, workload: Workload, languages: Sequence[str]) -> NDArray[np.float64]:
    """The `length_factor` of a class: by language, what its user and output tokens are multiplied by.

    The tokenizer is that of the model that answers the tier's requests. Only the part of the tokens that is in the
    user's language grows with it (`language_share`); as one factor serves a whole turn, its total is right, while
    images and code grow a little and the text beside them by as much too little.

    Parameters
    ----------
    scenario, tier
        Say which model answers.
    workload
        Of the class.
    languages
        Names in the table of languages.

    Raises
    ------
    CatalogError
        A language or tokenizer that is not known.
    """
    answering = before_check(scenario.fleet.paths[tier.path])[-1].pool
    tokenizer = tokenizer_of(catalog.load_model(str(scenario.pool(str(answering)).model)))
    share = language_share(workload)
    return np.array([1.0 + share * (each.value - 1.0) for each in length_factors(languages, tokenizer)])


def language_share(workload: Workload) -> float:
    """Share of the user and output tokens of a workload's turns that is in the user's language.

    Text counts with `in_language_frac`: what users write, passages, files and answers. Images do not.
    """
    if workload.images is None:
        return workload.in_language_frac
    tables = workload_tables(workload)
    turns = table_mean(tables["turns"])
    user = table_mean(tables["user_tokens"])
    first = table_mean(tables.get("first_user_tokens", tables["user_tokens"]))
    total = (first - user) / turns + user + table_mean(tables["output_tokens"])
    # Counts begin at 0 and what `table_mean` counts at 1, so they are shifted by one and back.
    number = table_mean(table(workload.images.number) + 1.0) - 1.0
    images = number * table_mean(table(workload.images.tokens, whole=True))
    return workload.in_language_frac * (1.0 - images / total)
