"""Opening a GPU, on a torch that we play: what is written of it, and what it is asked to compute in."""

import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from sim.calibrate.microbench import device
from sim.calibrate.microbench.points import Point
from sim.calibrate.microbench.works import LAUNCHES_PER_CALL, works
from sim.errors import SpecError


class Graph:
    """A CUDA graph: what is launched while it is captured runs at each replay."""

    def __init__(self):
        self.replays = 0

    def replay(self):
        self.replays += 1


class One:
    """A tensor of one value that counts what is done to it."""

    def __init__(self):
        self.added = 0

    def add_(self, value):
        self.added += value


def played(major, minor, num_gpus=1):
    properties = SimpleNamespace(
        name="NVIDIA H200",
        major=major,
        minor=minor,
        uuid="1-2-3",
        L2_cache_size=60 * 2**20,
        multi_processor_count=132,
        total_memory=150_000_000_000,
    )
    cuda = SimpleNamespace(
        is_available=lambda: True,
        get_device_properties=lambda _: properties,
        device_count=lambda: num_gpus,
        nccl=SimpleNamespace(version=lambda: (2, 27, 5)),
        synchronize=lambda: None,
        empty_cache=lambda: None,
        CUDAGraph=Graph,
        graph=lambda _: nullcontext(),
    )
    return SimpleNamespace(
        __version__="2.13.0",
        version=SimpleNamespace(cuda="13.0"),
        cuda=cuda,
        distributed=SimpleNamespace(is_nccl_available=lambda: True),
        backends=SimpleNamespace(cudnn=SimpleNamespace(version=lambda: 91300)),
        zeros=lambda *_, **__: One(),
    )


def opened(monkeypatch, torch):
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(device, "load_nvml", lambda: None)
    return device.open_device("cuda")


def test_what_is_written_of_a_gpu(monkeypatch):
    bench = opened(monkeypatch, played(9, 0, num_gpus=4))
    known = bench.description
    assert (known["gpu"], known["num_gpus"], known["sm_version"], known["num_sms"]) == ("NVIDIA H200", 4, 90, 132)
    assert (known["torch"], known["cuda"], known["cudnn"], known["nccl"]) == ("2.13.0", "13.0", 91300, "2.27.5")
    assert (known["memory_bytes"], known["l2_bytes"]) == (150_000_000_000, 60 * 2**20)
    assert bench.spec == device.Device(150e9, ("bf16", "fp8"), 4)
    assert "host" not in " ".join(known).lower()


@pytest.mark.parametrize(("major", "minor", "has"), [(8, 0, False), (8, 9, True), (9, 0, True), (10, 0, True)])
def test_fp8_is_asked_for_where_the_gpu_has_it(monkeypatch, major, minor, has):
    assert ("fp8" in opened(monkeypatch, played(major, minor)).spec.precisions) is has


def test_no_gpu_is_an_input_error(monkeypatch):
    torch = played(9, 0)
    torch.cuda.is_available = lambda: False
    with pytest.raises(SpecError, match="sees no GPU"):
        opened(monkeypatch, torch)


def test_launches_one_by_one_and_in_a_graph():
    torch = played(9, 0)
    (eager,) = works(torch, Point("launch", variant="eager_stream"), "cuda")
    eager.call()
    assert eager.calls == LAUNCHES_PER_CALL
    (stream,) = works(torch, Point("launch", variant="graph_stream"), "cuda")
    (host,) = works(torch, Point("launch", variant="graph_host"), "cuda")
    assert (stream.calls, stream.on_host) == (LAUNCHES_PER_CALL, False)
    assert (host.calls, host.on_host) == (1, True)
    stream.call()
    assert stream.call.__self__.replays == 1
    (pair,) = works(torch, Point("launch", variant="event_pair"), "cuda")
    assert pair.call() is None
