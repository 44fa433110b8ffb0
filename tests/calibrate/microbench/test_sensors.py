"""Readings of a GPU: with an NVML that we play, with one that refuses, and with none."""

import sys
import time

import pytest

from sim.calibrate.microbench.sensors import Reading, Sensors, load_nvml


class NVMLError(Exception):
    pass


class FakeNvml:
    """As much of the module pynvml as is asked; what `missing` names is not supported."""

    NVMLError = NVMLError

    def __init__(self, missing=(), reasons=0x4):
        self._missing, self._reasons = missing, reasons
        self._answers = {
            "nvmlInit": lambda: None,
            "nvmlDeviceGetHandleByUUID": lambda uuid: f"handle of {uuid}",
            "nvmlDeviceGetPowerUsage": lambda _: 512_500,
            "nvmlDeviceGetCurrentClocksEventReasons": lambda _: self._reasons,
            "nvmlDeviceGetCurrentClocksThrottleReasons": lambda _: self._reasons,
            "nvmlDeviceGetClockInfo": lambda _, domain: {1: 1980, 2: 3201}[domain],
            "nvmlDeviceGetTemperature": lambda *_: 61,
            "nvmlDeviceGetEnforcedPowerLimit": lambda _: 700_000,
            "nvmlSystemGetDriverVersion": lambda: "580.1",
            "nvmlDeviceGetMaxClockInfo": lambda _, domain: {1: 1980, 2: 3201}[domain],
        }

    def __getattr__(self, name):
        if name in self._missing:
            raise NVMLError("not supported")
        return self._answers[name]


def test_readings_are_averaged_over_the_point():
    sensors = Sensors.of(FakeNvml(), "GPU-1")
    assert sensors.static == {
        "driver": "580.1",
        "power_limit_w": 700.0,
        "largest_clock_mhz": 1980,
        "largest_memory_clock_mhz": 3201,
    }
    with sensors:
        began = time.perf_counter()
        time.sleep(0.1)
        state = sensors.since(began)
    assert (state.clock_mhz, state.memory_clock_mhz, state.power_w, state.temperature_c) == (1980, 3201, 512.5, 61)
    assert state.reasons == "power cap"


def test_a_point_too_short_for_a_reading_gets_one_of_its_own():
    sensors = Sensors.of(FakeNvml(reasons=0x1 | 0x20 | 0x8), "GPU-1")  # idle holds nothing down
    state = sensors.since(time.perf_counter())
    assert state.reasons == "hardware slowdown+software thermal slowdown"


def test_what_a_driver_does_not_know_is_none():
    sensors = Sensors.of(FakeNvml(missing=("nvmlDeviceGetPowerUsage", "nvmlDeviceGetCurrentClocksEventReasons")), "G")
    state = sensors.since(time.perf_counter())
    assert (state.power_w, state.clock_mhz, state.reasons) == (None, 1980, "power cap")


@pytest.mark.parametrize("nvml", [None, FakeNvml(missing=("nvmlInit",))], ids=["absent", "refuses"])
def test_without_nvml_nothing_is_known(nvml):
    with Sensors.of(nvml, "GPU-1") as sensors:
        assert sensors.since(0.0) == Reading()


def test_the_module_may_be_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert load_nvml() is None
