"""Run: every GPU and family fitted, scored, and written where asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.calibrate.operators.entries import BoardEntry, Entry, fit_board, fit_entry, write_board, write_entry
from sim.calibrate.operators.independent import FILE, TARGET, IndependentScore, score_vidur
from sim.calibrate.operators.reading import FAMILIES, SYSTEMS, open_tables
from sim.calibrate.operators.scores import Score
from sim.errors import Problem, SpecError, did_you_mean


@dataclass(frozen=True)
class Calibrated:
    """What a run fitted and how good it is."""

    scores: tuple[Score, ...]
    independent: tuple[IndependentScore, ...]
    """Products that others timed, where their file lies beside the tables; predicted by the catalogue's kernels."""
    files: tuple[Path, ...]

    @property
    def missed(self) -> tuple[Score, ...]:
        """Scores whose target was not reached."""
        return tuple(score for score in self.scores if score.reached is False)

    def to_dict(self) -> dict[str, Any]:
        """Return scores and files as plain data."""
        independent = [
            {"gpu": one.gpu, "rows": one.what, "bias_frac": one.bias_frac, "target_median_frac": TARGET}
            | one.error.model_dump(mode="json", exclude_defaults=True)
            for one in self.independent
        ]
        return {
            "scores": [score.to_dict() for score in self.scores],
            "independent": independent,
            "files": [str(file) for file in self.files],
        }


def calibrate_operators(
    source: str,
    *,
    gpus: Sequence[str] = (),
    families: Sequence[str] = (),
    folder: Path | None = None,
    watch: Callable[[str], object] = str,
) -> Calibrated:
    """Fit kernels to tables of operator timings.

    Parameters
    ----------
    source : folder of the tables, or `aiconfigurator` for the installed package
    gpus, families : which; none: all that were timed
    folder : where `kernels/` and `boards/` are written; None: nowhere
    watch : called with the name of each entry before it is fitted

    Raises
    ------
    SpecError
        There are no tables, or a GPU or family was not timed.
    """
    _check("gpu", gpus, tuple(SYSTEMS))
    _check("family", families, FAMILIES)
    tables = open_tables(source)
    scores: list[Score] = []
    files: list[Path] = []
    for entry in _entries(tables, gpus or tuple(SYSTEMS), families or FAMILIES, watch):
        scores += entry.scores
        if folder is not None:
            files += write_entry(entry, folder) if isinstance(entry, Entry) else write_board(entry, folder)
    beside = tables.folder / FILE
    independent = score_vidur(beside) if beside.is_file() else []
    return Calibrated(tuple(scores), tuple(independent), tuple(files))


def _entries(
    tables: Any, gpus: Sequence[str], families: Sequence[str], watch: Callable[[str], object]
) -> Iterator[Entry | BoardEntry]:
    """Yield every entry, fitted."""
    for gpu in gpus:
        watch(f"nccl-{gpu}")
        yield fit_board(tables, gpu)
        for family in families:
            watch(f"{family}-{gpu}")
            yield fit_entry(tables, gpu, family)


def _check(what: str, asked: Sequence[str], known: Sequence[str]) -> None:
    """Raise SpecError for names that were not timed."""
    SpecError.raise_if(
        [
            Problem(f'"{name}" was not timed. {did_you_mean(name, known)} Timed: {", ".join(known)}', path=what)
            for name in asked
            if name not in known
        ]
    )
