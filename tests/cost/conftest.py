"""Models, GPUs and profiles that the tests of sim.cost share."""

from functools import cache

import pytest

from sim import catalog
from sim.cost import compile
from sim.cost.calibration import load_engine, load_kernels

load_model = cache(catalog.load_model)
load_gpu = cache(catalog.load_gpu)


@cache
def profile(model="llama-3.1-70b", gpu="h100-sxm-80gb", **options):
    """A profile by name, compiled once."""
    return compile(load_model(model), load_gpu(gpu), **options)


@pytest.fixture(scope="session")
def models():
    """Models of the catalogue by name."""
    return load_model


@pytest.fixture(scope="session")
def gpus():
    """GPUs of the catalogue by name."""
    return load_gpu


@pytest.fixture(scope="session")
def compiled():
    """Profiles by model, GPU and options."""
    return profile


@pytest.fixture(scope="session")
def h100():
    return load_gpu("h100-sxm-80gb")


@pytest.fixture(scope="session")
def kernels():
    return load_kernels("h100-sxm-80gb", "vllm")


@pytest.fixture(scope="session")
def vllm():
    return load_engine("vllm", "h100-sxm-80gb")
