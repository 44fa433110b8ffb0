"""Clocks of a device: CUDA events on a GPU, the host's own clock on a processor; caches are cold for each sample."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

FLUSH_BYTES: Final = 256 * 1024**2
"""Buffer read between samples to empty the L2 cache [B]; never less than four times that cache."""
HOST_FLUSH_BYTES: Final = 4 * 1024**2
CYCLES_PER_S: Final = 2e9
"""GPU clock assumed when the queue is held [1/s]; a slower one holds it a little longer."""
LONGEST_HOLD_S: Final = 0.1


class HostTimer:
    """The host's clock, for a processor; there is no queue to hold."""

    def __init__(self, torch: Any) -> None:
        self._buffer = torch.zeros(HOST_FLUSH_BYTES // 4)

    def now(self) -> float:
        """Return the host's clock [s]."""
        return time.perf_counter()

    def samples(self, call: Callable[[], object], count: int) -> list[float]:
        """Return the times of `count` calls [s]."""
        return [self._sample(call) for _ in range(count)]

    def _sample(self, call: Callable[[], object]) -> float:
        self._buffer.sum()
        began = time.perf_counter()
        call()
        return time.perf_counter() - began


class EventTimer:
    """CUDA events around each call, with the queue held back while it is filled.

    The GPU sleeps until all samples are queued, so that the host's own slowness is no part of them. Before each
    sample a buffer larger than the L2 cache is read: read, not written, so that the sample does not pay for dirty
    lines on their way to memory.
    """

    def __init__(self, torch: Any, l2_bytes: int = 0) -> None:
        self._torch = torch
        self._buffer = torch.zeros(max(FLUSH_BYTES, 4 * l2_bytes) // 4, device="cuda")
        self._sum = torch.zeros((), device="cuda")
        self._enqueue_s = 1e-3  # of one sample, before the first was seen

    def now(self) -> float:
        """Return the host's clock [s]."""
        return time.perf_counter()

    def samples(self, call: Callable[[], object], count: int) -> list[float]:
        """Return the times of `count` calls [s]."""
        torch = self._torch
        pairs = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(count)]
        hold_s = min(1.5 * count * self._enqueue_s, LONGEST_HOLD_S)
        began = time.perf_counter()
        torch.cuda._sleep(int(hold_s * CYCLES_PER_S))  # noqa: SLF001  (what PyTorch's own benchmarks hold a queue with)
        for start, end in pairs:
            torch.sum(self._buffer, dim=0, out=self._sum)
            start.record()
            call()
            end.record()
        self._enqueue_s = (time.perf_counter() - began) / count
        torch.cuda.synchronize()
        return [start.elapsed_time(end) * 1e-3 for start, end in pairs]


class LaunchTimer:
    """The host's clock around calls that only enqueue; the device is waited for outside the sample."""

    def __init__(self, wait: Callable[[], object]) -> None:
        self._wait = wait

    def now(self) -> float:
        """Return the host's clock [s]."""
        return time.perf_counter()

    def samples(self, call: Callable[[], object], count: int) -> list[float]:
        """Return the host's times of `count` calls [s]."""
        taken = []
        for _ in range(count):
            self._wait()
            began = time.perf_counter()
            call()
            taken.append(time.perf_counter() - began)
        self._wait()
        return taken
