"""`tokenfleet microbench` without a terminal: from options to a measurement folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from sim.calibrate.microbench.device import open_device
from sim.calibrate.microbench.folder import Writer
from sim.calibrate.microbench.plan import plan
from sim.calibrate.microbench.protocol import Limits
from sim.calibrate.microbench.session import play

TIME_LIMIT_S = 540.0
"""Time that is shared out among the points [s]: under ten minutes with what starting and ending take."""


def microbench(
    out: Path,
    *,
    device: str = "cuda",
    only: Sequence[str] = (),
    quick: bool = False,
    time_limit_s: float = TIME_LIMIT_S,
    seed: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> Counter[str]:
    """Measure a device into a new folder; return how many points were measured, skipped and left.

    Raises
    ------
    SpecError
        torch or a GPU is missing, a section is unknown, or the folder exists.
    """
    bench = open_device(device)
    points = plan(bench.spec, only=only, quick=quick, tiny=device == "cpu", seed=seed)
    words = ["tokenfleet microbench", f"--device {device}", *(f"--only {','.join(only)}" for _ in only[:1])]
    words += ["--quick"] if quick else []
    command = " ".join([*words, f"--time-limit {time_limit_s:g}", f"--seed {seed}"])
    with Writer(out, bench.description | {"command": command}) as writer:
        say(f"{bench.description['gpu']}: {sum(map(len, points.values()))} points into {out}")
        return play(points, bench, writer, limits=Limits(), time_limit_s=time_limit_s, say=say)
