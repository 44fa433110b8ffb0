"""A fitted engine as the entry of the catalogue that it becomes: coefficients, errors, what they rest on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from sim.calibrate.serving.engine_fit import Fitted
from sim.calibrate.serving.results import quantity_of
from sim.spec.engine import EngineSpec, Range
from sim.spec.evidence import Evidence, FitError, Fold

Floats = NDArray[np.float64]
DIGITS = 4
"""Significant digits of coefficients, errors and covariances: more would say more than the fits know."""
USERS = ((1, 4), (5, 16), (17, 64), (65, 256))
"""Loads that are told apart in the errors of a fit: users, sequences or requests per second."""


def entry_of(fitted: Fitted) -> EngineSpec:
    """Return the engine as the catalogue will hold it: rounded, with its errors, range and evidence."""
    paths = tuple(one.path for one in fitted.fit.coefficients)
    log_covariance = tuple(
        tuple(_round(value) for value in row[: number + 1]) for number, row in enumerate(fitted.log_covariance)
    )
    held_out = dict(errors_of(fitted, fitted.held_out, "curves held out"))
    evidence = Evidence(
        num_curves=len({stand.curve for stand in fitted.stands}),
        num_points=len(fitted.stands),
        held_out=held_out,
        regimes=dict(regimes_of(fitted)),
        curve_sd=dict(_curve_sd(fitted)),
        names=paths,
        log_covariance=log_covariance,
        folds=tuple(
            Fold(curves=curves, coefficients=_rounded(values), settings={k: float(v) for k, v in chosen.items()})  # type: ignore[arg-type]
            for curves, values, chosen in fitted.folds
        ),
    )
    rounded = fitted.engine.model_dump()
    for path, value in _rounded(fitted.fit.values).items():
        field, _, name = path.partition(".")
        if name:
            rounded[field][name] = value
        else:
            rounded[field] = value
    changes = {name: rounded[name] for name in {path.partition(".")[0] for path in paths}}
    return fitted.engine.model_copy(
        update={
            **changes,
            "errors": held_out or dict(errors_of(fitted, fitted.fit.log_predicted, "in-sample")),
            "range": _range(fitted),
            "evidence": evidence,
        }
    )


def errors_of(fitted: Fitted, log_predicted: Floats, note: str) -> Iterator[tuple[str, FitError]]:
    """Yield the error by quantity (ttft, tpot, throughput) of what was fitted."""
    errors = np.exp(log_predicted - fitted.seen.log_measured) - 1.0
    quantities = np.array([quantity_of(metric) for metric in fitted.metrics])
    counts = (fitted.seen.weight > 0) & np.isfinite(errors)
    for quantity in dict.fromkeys(quantities.tolist()):
        chosen = errors[counts & (quantities == quantity)]
        if len(chosen):
            yield str(quantity), _error(chosen, note)


def regimes_of(fitted: Fitted) -> Iterator[tuple[str, FitError]]:
    """Yield the error of the fit by quantity and load."""
    errors = np.exp(fitted.fit.log_predicted - fitted.seen.log_measured) - 1.0
    quantities = np.array([quantity_of(metric) for metric in fitted.metrics])
    loads = np.array([stand.setup.load for stand in fitted.stands for _ in stand.measured])
    counts = (fitted.seen.weight > 0) & np.isfinite(errors)
    for quantity in dict.fromkeys(quantities.tolist()):
        for low, high in USERS:
            chosen = errors[counts & (quantities == quantity) & (loads >= low) & (loads < high + 1)]
            if len(chosen):
                yield f"{quantity}, load {low} to {high}", _error(chosen, "in-sample")


def _error(errors: Floats, note: str) -> FitError:
    sizes = np.abs(errors)
    median, p90, bias = (
        round(float(x), DIGITS) for x in (np.median(sizes), np.percentile(sizes, 90), np.median(errors))
    )
    return FitError(median_frac=median, p90_frac=p90, bias_frac=bias, num_points=len(errors), note=note)


def _curve_sd(fitted: Fitted) -> Iterator[tuple[str, float]]:
    """Yield, by quantity, how much the mean log error of a held-out curve spreads."""
    residuals = fitted.held_out - fitted.seen.log_measured
    quantities = np.array([quantity_of(metric) for metric in fitted.metrics])
    counts = (fitted.seen.weight > 0) & np.isfinite(residuals)
    for quantity in dict.fromkeys(quantities.tolist()):
        here = counts & (quantities == quantity)
        means = [residuals[here & (fitted.seen.curve == curve)].mean() for curve in np.unique(fitted.seen.curve[here])]
        if len(means) > 1:
            yield str(quantity), round(float(np.std(means, ddof=1)), DIGITS)


def _range(fitted: Fitted) -> Range:
    """Return what the measurements covered."""
    setups = [stand.setup for stand in fitted.stands]
    prompts, answers = [setup.isl for setup in setups], [setup.osl for setup in setups]
    loads = [setup.load for setup in setups]
    return Range(
        models=tuple(sorted({str(setup.pool.model) for setup in setups})),
        tensor_parallel_sizes=tuple(sorted({setup.pool.tensor_parallel_size for setup in setups})),
        precisions=tuple(sorted({setup.pool.weights for setup in setups})),
        note=f"loads of {min(loads):g} to {max(loads):g}; prompts of {min(prompts):.0f} to {max(prompts):.0f} tokens,"
        f" answers of {min(answers):.0f} to {max(answers):.0f}",
    )


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {path: _round(value) for path, value in values.items()}


def _round(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


class _Dumper(yaml.SafeDumper):
    """YAML with lists and small tables on one line."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out."""
        del data
        return True


def text_of(engine: EngineSpec) -> str:
    """Return the entry as YAML, times in seconds; what stands at its default is left out."""
    data = engine.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    head = (
        f"# {engine.engine} {engine.version} on {engine.gpu}: written by `tokenfleet calibrate serving`.\n"
        "# sim/spec/engine.py says what each field means (times in seconds), docs/equations.md gives the form.\n"
    )
    return head + yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=118, allow_unicode=True
    )
