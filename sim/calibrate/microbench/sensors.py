"""Clocks, power and temperature of a GPU while it is measured, read through NVML; nothing where there is none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

PERIOD_S: Final = 0.02
"""Time between readings; the driver itself averages power over 25 to 100 ms."""

THROTTLE_REASONS: Final = {
    0x2: "application clocks",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""Bits of nvmlDeviceGetCurrentClocksEventReasons that hold a clock down (NVML API reference); idle is none of them."""


@dataclass(frozen=True, slots=True)
class Reading:
    """State of the GPU at a time or over a while; None: not known."""

    time_s: float = 0.0
    clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    throttle: frozenset[str] = frozenset()

    @property
    def reasons(self) -> str:
        """Reasons that held the clock down, as text."""
        return "+".join(sorted(self.throttle))


class Sensors:
    """Readings of one GPU, taken every `PERIOD_S` by a thread of their own while the context is open."""

    def __init__(self, read: Callable[[], Reading] | None, static: dict[str, Any] | None = None) -> None:
        self._read = read
        self._readings: list[Reading] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.static = static or {}
        """What does not change: driver, power limit, largest clocks."""

    @classmethod
    def of(cls, nvml: Any, uuid: str) -> Self:
        """Return the sensors of the GPU with a UUID; those that read nothing where NVML is missing or refuses."""
        if nvml is None:
            return cls(None)
        try:
            nvml.nvmlInit()
            handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        except nvml.NVMLError as error:
            return cls(None, {"nvml": f"not available: {error}"})
        return cls(lambda: _reading(nvml, handle), _static(nvml, handle))

    def __enter__(self) -> Self:
        if self._read:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._read:
            self._thread.join()

    def _watch(self) -> None:
        while self._read and not self._stop.is_set():
            self._readings.append(self._read())
            self._stop.wait(PERIOD_S)

    def since(self, began_s: float) -> Reading:
        """Return the mean of the readings since a time of `time.perf_counter`; the state now where there was none."""
        found = []
        for reading in reversed(self._readings):
            if reading.time_s < began_s:
                break
            found.append(reading)
        if not found:
            return self._read() if self._read else Reading()
        return Reading(
            began_s,
            clock_mhz=_mean([reading.clock_mhz for reading in found]),
            memory_clock_mhz=_mean([reading.memory_clock_mhz for reading in found]),
            power_w=_mean([reading.power_w for reading in found]),
            temperature_c=_mean([reading.temperature_c for reading in found]),
            throttle=frozenset().union(*(reading.throttle for reading in found)),
        )


def load_nvml() -> Any:
    """Return the module `pynvml` of the package nvidia-ml-py, or None where it is not installed."""
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _ask(nvml: Any, name: str, *arguments: Any) -> Any:
    """Return what an NVML function says, or None where this driver or device does not know."""
    try:
        return getattr(nvml, name)(*arguments)
    except (AttributeError, nvml.NVMLError):
        return None


def _reading(nvml: Any, handle: Any) -> Reading:
    power_mw = _ask(nvml, "nvmlDeviceGetPowerUsage", handle)
    bits = _ask(nvml, "nvmlDeviceGetCurrentClocksEventReasons", handle)
    if bits is None:
        bits = _ask(nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", handle)  # its name before driver 535
    return Reading(
        time.perf_counter(),
        _ask(nvml, "nvmlDeviceGetClockInfo", handle, 1),  # NVML_CLOCK_SM
        _ask(nvml, "nvmlDeviceGetClockInfo", handle, 2),  # NVML_CLOCK_MEM
        None if power_mw is None else power_mw / 1e3,
        _ask(nvml, "nvmlDeviceGetTemperature", handle, 0),  # NVML_TEMPERATURE_GPU
        frozenset(name for bit, name in THROTTLE_REASONS.items() if (bits or 0) & bit),
    )


def _static(nvml: Any, handle: Any) -> dict[str, Any]:
    limit_mw = _ask(nvml, "nvmlDeviceGetEnforcedPowerLimit", handle)
    return {
        "driver": _ask(nvml, "nvmlSystemGetDriverVersion"),
        "power_limit_w": None if limit_mw is None else limit_mw / 1e3,
        "largest_clock_mhz": _ask(nvml, "nvmlDeviceGetMaxClockInfo", handle, 1),
        "largest_memory_clock_mhz": _ask(nvml, "nvmlDeviceGetMaxClockInfo", handle, 2),
    }
