"""Step times of one replica, ready for O(1) evaluation: the form that the simulator's inner loop reads."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

_NEVER_NEGATIVE = ("batch_s", "decode_batch_s", "sample_s", "decode_slope_s", "power_w")
_SCALED = (
    "batch_s", "decode_batch_s", "sample_s", "decode_offset_s", "decode_slope_s", "pair_s", "prefill_step_s",
)  # fmt: skip
_TABLES = (*_NEVER_NEGATIVE, "knot_tokens", "decode_offset_s")


@dataclass(frozen=True, eq=False)
class StepTimes:
    """How long one engine step of a replica takes, as tables and affine pieces.

    A *pure decode* step of ``D`` sequences with total context ``C`` takes::

        decode_batch_s[D] + sample_s[D] + decode_offset_s[D, k] + decode_slope_s[D, k] * C

    A *mixed* step (it carries prefill) of ``T`` tokens, ``D`` decoding sequences, ``n`` sequences that emit and
    ``P`` query x context pairs of prefill takes::

        batch_s[T] + prefill_step_s + sample_s[n] + pair_s * P
            + (decode_offset_s[D, k] + decode_slope_s[D, k] * C   if D > 0)

    with ``k`` the piece for which ``knot_tokens[k-1] <= C < knot_tokens[k]``. All arrays are float64, C-contiguous and
    read-only; times are those of one replica, that is of all its GPUs together.
    """

    batch_s: Floats
    """Mixed step: all that depends on batch tokens alone [s], shape [max_num_batched_tokens + 1]; entry 0 is 0."""
    decode_batch_s: Floats
    """The same for a pure decode batch of n sequences, padded to graph sizes [s], shape [max_num_seqs + 1]."""
    sample_s: Floats
    """Output head, sampling and host time for n sequences that emit [s], shape [max_num_seqs + 1]."""
    knot_tokens: Floats
    """Total decode context at which piece k ends [tokens], shape [K], increasing, last infinite."""
    decode_offset_s: Floats
    """Decode attention of n sequences, constant part of piece k [s], shape [max_num_seqs + 1, K]."""
    decode_slope_s: Floats
    """Decode attention of n sequences, per token of total context [s], shape [max_num_seqs + 1, K]."""
    pair_s: float
    """Prefill attention per query x context pair [s]."""
    prefill_step_s: float
    """Added once to a step that carries prefill [s]."""
    power_w: Floats
    """Electrical power of the replica during a step of T tokens outside attention [W], [max_num_batched_tokens + 1]."""
    attention_w: float
    """Electrical power of the replica during attention [W]."""
    idle_w: float
    """Electrical power of the replica between steps [W]."""

    def __post_init__(self) -> None:
        for name in _TABLES:
            table = np.array(getattr(self, name), dtype=np.float64, order="C", copy=True)
            table.setflags(write=False)
            object.__setattr__(self, name, table)
        _check(self)

    @property
    def max_num_batched_tokens(self) -> int:
        """Largest batch the tables hold [tokens]."""
        return len(self.batch_s) - 1

    @property
    def max_num_seqs(self) -> int:
        """Largest number of sequences the tables hold."""
        return len(self.sample_s) - 1

    @property
    def num_pieces(self) -> int:
        """Number of affine pieces in total decode context."""
        return len(self.knot_tokens)

    @property
    def excess_j(self) -> Floats:
        """What a step of T tokens takes more than `attention_w` would for its whole time [J], mostly negative.

        A step of time dt takes ``attention_w * dt + excess_j[T]``: the power outside attention for the time that its
        tokens take, attention's power for the rest. Shape [max_num_batched_tokens + 1].
        """
        emitting = np.minimum(np.arange(len(self.batch_s)), self.max_num_seqs)
        return np.asarray((self.batch_s + self.sample_s[emitting]) * (self.power_w - self.attention_w))

    def energy_j(self, num_tokens: int, step_s: float) -> float:
        """Energy of a step of so many tokens that takes `step_s` [J]."""
        return float(self.attention_w * step_s + self.excess_j[num_tokens])

    def scaled(self, factor: float) -> StepTimes:
        """The same with every time so many times as long, at the same power."""
        times = {name: factor * getattr(self, name) for name in _SCALED}
        return replace(self, **times)

    @classmethod
    def linear(
        cls,
        c0: float,
        c1: float,
        c2: float,
        c3: float,
        max_tokens: int,
        max_seqs: int,
        *,
        busy_w: float = 0.0,
        idle_w: float = 0.0,
    ) -> StepTimes:
        """Step times c0 + c1*T + c2*C + c3*P, in one piece: for tests and queueing laws.

        Parameters
        ----------
        c0 : time of every step [s]
        c1 : time per batch token [s]
        c2 : time per token of total decode context [s]
        c3 : time per query x context pair of prefill [s]
        max_tokens, max_seqs : sizes of the tables (max_num_batched_tokens, max_num_seqs)
        busy_w, idle_w : power during and between steps [W]
        """
        batch_s = c0 + c1 * np.arange(max_tokens + 1.0)
        decode_batch_s = c0 + c1 * np.arange(max_seqs + 1.0)
        batch_s[0] = decode_batch_s[0] = 0.0
        slope_s = np.full((max_seqs + 1, 1), c2)
        slope_s[0] = 0.0
        return cls(
            batch_s=batch_s,
            decode_batch_s=decode_batch_s,
            sample_s=np.zeros(max_seqs + 1),
            knot_tokens=np.array([math.inf]),
            decode_offset_s=np.zeros((max_seqs + 1, 1)),
            decode_slope_s=slope_s,
            pair_s=c3,
            prefill_step_s=0.0,
            power_w=np.full(max_tokens + 1, busy_w),
            attention_w=busy_w,
            idle_w=idle_w,
        )

    def step_s(
        self, num_tokens: int, num_decodes: int, context_tokens: float, num_emitting: int, pairs: float = 0.0
    ) -> float:
        """Time of one step [s].

        Parameters
        ----------
        num_tokens : tokens in the batch; a pure decode batch has as many as it has decodes
        num_decodes : sequences that decode one token each
        context_tokens : their total context, prompts and outputs so far [tokens]
        num_emitting : sequences that emit a token in this step
        pairs : query x context pairs of the prefill chunks; n tokens after `before` have n*before + n*(n+1)/2
        """
        prefills = num_tokens > num_decodes
        if prefills:
            time_s = self.batch_s[num_tokens] + self.prefill_step_s + self.sample_s[num_emitting] + self.pair_s * pairs
        else:
            time_s = self.decode_batch_s[num_decodes] + self.sample_s[num_emitting]
        return float(time_s + self.attention_s(num_decodes, context_tokens))

    def attention_s(self, num_decodes: int, context_tokens: float) -> float:
        """Decode attention of so many sequences with so much total context [s]; 0 for none."""
        if num_decodes == 0:
            return 0.0
        piece = int(np.searchsorted(self.knot_tokens, context_tokens, side="right"))
        offset_s, slope_s = self.decode_offset_s[num_decodes, piece], self.decode_slope_s[num_decodes, piece]
        return float(offset_s + slope_s * context_tokens)


def _check(times: StepTimes) -> None:
    """Raise ValueError where the tables break the form that `StepTimes` states."""
    num_pieces = len(times.knot_tokens)
    pieces = (len(times.sample_s), num_pieces)
    shapes = {
        "decode_batch_s": (len(times.sample_s),),
        "decode_offset_s": pieces,
        "decode_slope_s": pieces,
        "power_w": (len(times.batch_s),),
    }
    for name, shape in shapes.items():
        if getattr(times, name).shape != shape:
            raise ValueError(f'"{name}" has shape {getattr(times, name).shape}; it must have {shape}.')
    if num_pieces == 0 or times.knot_tokens[-1] != math.inf or not np.all(np.diff(times.knot_tokens) > 0):
        raise ValueError('"knot_tokens" must increase and end with infinity.')
    for name in (*_NEVER_NEGATIVE, "pair_s", "prefill_step_s", "attention_w", "idle_w"):
        value = getattr(times, name)
        if not (np.all(np.isfinite(value)) and np.all(np.greater_equal(value, 0.0))):
            raise ValueError(f'"{name}" must be finite and >= 0.')
    if times.batch_s[0] != 0.0 or times.decode_batch_s[0] != 0.0:
        raise ValueError('"batch_s" and "decode_batch_s" must start with 0: a step without tokens takes no time.')
    starts = np.concatenate([[0.0], times.knot_tokens[:-1]])
    attention_s = times.decode_offset_s + times.decode_slope_s * starts
    if not (np.all(np.isfinite(attention_s)) and np.all(attention_s >= 0.0)):
        raise ValueError('"decode_offset_s" must be finite and leave decode attention >= 0 at the start of each piece.')
