"""Safety classifiers of the catalogue, and the true positive rate that an F1 score means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import catalog
from sim.errors import CatalogError, SpecError
from sim.spec.classifier import Rates, read_classifiers

RATES = st.floats(0.01, 1.0)


@given(RATES, st.floats(0.0, 1.0), st.floats(0.01, 0.99))
def test_the_recall_that_an_f1_score_means_is_the_one_that_gives_it(recall, fpr, unsafe):
    hits, false_alarms, misses = recall * unsafe, fpr * (1 - unsafe), (1 - recall) * unsafe
    f1 = 2 * hits / (2 * hits + false_alarms + misses)
    rates = Rates.from_dict({"f1": f1 * (1 - 1e-12), "test_unsafe_frac": unsafe, "false_positive_rate": fpr})
    assert rates.recall == pytest.approx(recall, rel=1e-9)


def test_llama_guard_3_by_hand():
    guard = catalog.load_classifier("llama-guard-3-8b")
    assert guard.recall == pytest.approx(0.939 * (0.04 * 0.5 + 0.5) / (0.5 * (2 - 0.939)))  # 0.920
    assert guard.model == "llama-guard-3-8b"
    assert catalog.load_classifier("llama-guard-3-1b").by_language["Hindi"].recall == pytest.approx(0.5615, rel=1e-3)


def test_models_of_the_classifiers_are_there():
    text, shown = next(catalog.read_all("models/_classifiers.yaml"))
    for name, classifier in read_classifiers(text, shown).items():
        assert classifier.recall <= 1.0, name
        if classifier.model is not None:
            catalog.load_model(classifier.model)


@pytest.mark.parametrize(
    ("given_rates", "message"),
    [
        ({}, "give true_positive_rate or f1, one of them"),
        ({"true_positive_rate": 0.5, "f1": 0.5}, "give true_positive_rate or f1, one of them"),
        ({"f1": 1.0, "false_positive_rate": 0.5}, "no classifier has F1 1.0"),
    ],
)
def test_rates_that_cannot_be(given_rates, message):
    with pytest.raises(SpecError, match=message):
        Rates.from_dict({"false_positive_rate": 0.1} | given_rates)


def test_a_name_that_is_not_there():
    with pytest.raises(
        CatalogError, match=r"no classifier llama-guard in .*_classifiers.yaml. Did you mean llama-guard-3"
    ):
        catalog.load_classifier("llama-guard")
