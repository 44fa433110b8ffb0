"""Draws: the same bits in numpy and compiled, uniform, and independent from entity to entity and stream to stream."""

import types
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

from sim.traffic import draws

N = 200_000


def compiled(function: Callable[..., Any], **names: Any) -> Any:
    """The function's own source, compiled, with the compiled forms of what it calls in place of theirs."""
    return numba.njit(types.FunctionType(function.__code__, {**function.__globals__, **names}))


@pytest.fixture(scope="module")
def columns() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    i = np.arange(N, dtype=np.uint64)
    return i // np.uint64(12), i // np.uint64(3) % np.uint64(4), i % np.uint64(3)


def test_numba_gives_the_same_bits(columns: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    mix = compiled(draws.mix)
    key, bits, uniform = compiled(draws.key, mix=mix), compiled(draws.bits, mix=mix), compiled(draws.uniform)

    @numba.njit
    def walk(seed: int, a: np.ndarray, b: np.ndarray, c: np.ndarray, u: np.ndarray) -> None:
        word = key(seed, draws.GAP)
        for i in range(len(a)):
            u[i] = uniform(bits(word, a[i], b[i], c[i]))

    u = np.empty(N)
    walk(7, *columns, u)
    expected = draws.uniform(draws.bits(draws.key(7, draws.GAP), *columns))
    assert u.tobytes() == expected.tobytes()


def test_scalars_are_the_rows_of_columns_and_do_not_warn(columns: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    key = draws.key(7, draws.GAP)
    whole = draws.bits(key, *columns)
    for i in (0, 1, 4321, N - 1):
        a, b, c = (column[i] for column in columns)
        assert draws.bits(key, a, b, c) == whole[i]


def test_uniform_stays_inside_the_open_interval() -> None:
    ends = draws.uniform(np.array([0, 2**64 - 1], dtype=np.uint64))
    assert 0.0 < ends[0] < 1e-15
    assert 1.0 - 1e-15 < ends[1] < 1.0


@pytest.mark.parametrize("stream", [draws.ACTIVE, draws.START, draws.OUTPUT_TOKENS])
def test_uniform_is_uniform(columns: tuple[np.ndarray, np.ndarray, np.ndarray], stream: int) -> None:
    u = draws.uniform(draws.bits(draws.key(1, stream), *columns))
    counts = np.bincount((u * 256).astype(int), minlength=256)
    chi2 = ((counts - N / 256) ** 2 / (N / 256)).sum()
    assert abs(chi2 - 255) < 4 * np.sqrt(2 * 255)
    low_bits = draws.bits(draws.key(1, stream), *columns) & np.uint64(255)
    chi2 = ((np.bincount(low_bits.astype(int), minlength=256) - N / 256) ** 2 / (N / 256)).sum()
    assert abs(chi2 - 255) < 4 * np.sqrt(2 * 255)


def test_no_two_entities_share_a_word(columns: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    words = draws.bits(draws.key(3, draws.START), *columns)
    assert len(np.unique(words)) == N
    assert len({int(draws.key(seed, stream)) for seed in range(50) for stream in range(1, 19)}) == 50 * 18


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def test_neighbours_and_streams_are_independent() -> None:
    key, one = draws.key(1, draws.START), np.uint64(1)
    a, zero = np.arange(N, dtype=np.uint64), np.uint64(0)
    u = draws.uniform(draws.bits(key, a, zero, zero))
    others = {
        "next user": draws.uniform(draws.bits(key, a + one, zero, zero)),
        "next conversation": draws.uniform(draws.bits(key, a, one, zero)),
        "next turn": draws.uniform(draws.bits(key, a, zero, one)),
        "next stream": draws.uniform(draws.bits(draws.key(1, draws.NUM_TURNS), a, zero, zero)),
        "next seed": draws.uniform(draws.bits(draws.key(2, draws.START), a, zero, zero)),
        "swapped": draws.uniform(draws.bits(key, zero, a, zero)),
    }
    for name, v in others.items():
        assert abs(correlation(u, v)) < 4 / np.sqrt(N), name
        cells = np.bincount((u * 16).astype(int) * 16 + (v * 16).astype(int), minlength=256)
        chi2 = ((cells - N / 256) ** 2 / (N / 256)).sum()
        assert chi2 < 255 + 5 * np.sqrt(2 * 255), name
