"""A measurement folder of a GPU that follows simple laws exactly: what comes out of it is known."""

import pytest

from sim.calibrate.microbench.folder import Writer, read
from sim.calibrate.microbench.plan import Device, plan
from sim.calibrate.microbench.points import MEASURED, Row, flops, moved_bytes

RATE = {"bf16": 700e12, "fp8": 1300e12}
BANDWIDTH, BUS, LINK, START_S = 4.2e12, 55e9, 300e9, 3e-6
PROVENANCE = {
    "date": "2026-10-01",
    "gpu": "NVIDIA H200",
    "num_gpus": 8,
    "sm_version": 90,
    "num_sms": 132,
    "memory_bytes": 150_000_000_000,
    "l2_bytes": 60 * 2**20,
    "power_limit_w": 690.0,
    "driver": "580.1",
    "cuda": "13.0",
    "torch": "2.13.0",
}


def time_s(point):
    """A launch, and whichever of computing and moving takes longer."""
    rate = LINK if point.operator == "all_reduce" else BUS if "host" in point.variant else BANDWIDTH
    return START_S + max(flops(point) / RATE[point.precision], moved_bytes(point) / rate)


@pytest.fixture(scope="session")
def measured(tmp_path_factory):
    """The folder, as read."""
    folder = tmp_path_factory.mktemp("microbench") / "h200"
    points = plan(Device(141e9, ("bf16", "fp8"), 8))
    with Writer(folder, dict(PROVENANCE)) as writer:
        for section in points.values():
            for point in section:
                now = time_s(point)
                row = Row(point, MEASURED, "played", median_s=now, iqr_s=0.01 * now, min_s=now, num_samples=20)
                writer.write(row)
        writer.describe(complete=True)
    return read(folder)
