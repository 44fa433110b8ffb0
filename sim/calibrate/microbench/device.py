"""The device that is measured: torch and what it says of the GPU, or the processor for a dry run."""

from __future__ import annotations

import datetime as dt
import platform
from dataclasses import dataclass
from typing import Any, Final

import sim
from sim.calibrate.microbench.plan import Device
from sim.calibrate.microbench.protocol import Timer
from sim.calibrate.microbench.sensors import Sensors, load_nvml
from sim.calibrate.microbench.timers import EventTimer, HostTimer, LaunchTimer
from sim.errors import SpecError

INSTALL: Final = "pip install 'tokenfleet[calibrate]'"
FP8_SM_VERSION: Final = 89
"""First compute capability x 10 whose tensor cores multiply fp8 (Ada; NVIDIA CUDA programming guide)."""
DRY_RUN_MEMORY_BYTES: Final = 1e9


def load_torch() -> Any:
    """Return the module torch.

    Raises
    ------
    SpecError
        It is not installed.
    """
    try:
        import torch
    except ImportError:
        raise SpecError(f"microbench needs PyTorch, which is not installed. Try: {INSTALL}") from None
    return torch


@dataclass(frozen=True, slots=True)
class Bench:
    """All that measuring needs of a device: torch, timers, sensors, what fits, and its description."""

    torch: Any
    kind: str
    spec: Device
    timer: Timer
    launch_timer: Timer
    sensors: Sensors
    description: dict[str, Any]

    def wait(self) -> None:
        """Wait until the device has nothing left to do."""
        if self.kind == "cuda":
            self.torch.cuda.synchronize()

    def forget(self) -> None:
        """Give memory that is no longer used back to the device."""
        if self.kind == "cuda":
            self.torch.cuda.empty_cache()


def open_device(kind: str) -> Bench:
    """Return the device of a kind: cuda (the first GPU that the process sees) or cpu.

    Raises
    ------
    SpecError
        torch is not installed, the kind is unknown, or there is no GPU.
    """
    if kind not in ("cuda", "cpu"):
        raise SpecError(f'--device: "{kind}" is not allowed. Allowed: cuda, cpu (a dry run in tiny shapes)')
    torch = load_torch()
    description: dict[str, Any] = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "tokenfleet": sim.__version__,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
    }
    if kind == "cpu":
        description |= {"gpu": "none (dry run on a processor)", "num_gpus": 0}
        spec = Device(DRY_RUN_MEMORY_BYTES, ("bf16", "fp8"), num_gpus=2)
        timer = HostTimer(torch)
        return Bench(torch, kind, spec, timer, timer, Sensors(None), description)
    if not torch.cuda.is_available():
        raise SpecError(
            f"PyTorch {torch.__version__} sees no GPU. Where there is one, install a build of PyTorch for its driver "
            "(https://pytorch.org/get-started); `--device cpu` plays the same code in tiny shapes"
        )
    return _open_gpu(torch, description)


def _open_gpu(torch: Any, description: dict[str, Any]) -> Bench:
    known = torch.cuda.get_device_properties(0)
    sm_version = known.major * 10 + known.minor
    l2_bytes = int(getattr(known, "L2_cache_size", 0))
    sensors = Sensors.of(load_nvml(), f"GPU-{getattr(known, 'uuid', '')}")
    description |= {
        "gpu": known.name,
        "num_gpus": torch.cuda.device_count(),
        "sm_version": sm_version,
        "num_sms": known.multi_processor_count,
        "memory_bytes": known.total_memory,
        "l2_bytes": l2_bytes,
        "cudnn": torch.backends.cudnn.version(),
        "nccl": ".".join(map(str, torch.cuda.nccl.version())) if torch.distributed.is_nccl_available() else None,
    } | sensors.static
    precisions = ("bf16", "fp8") if sm_version >= FP8_SM_VERSION else ("bf16",)
    spec = Device(float(known.total_memory), precisions, torch.cuda.device_count())
    return Bench(
        torch,
        "cuda",
        spec,
        EventTimer(torch, l2_bytes),
        LaunchTimer(torch.cuda.synchronize),
        sensors,
        description,
    )
