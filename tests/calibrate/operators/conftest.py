"""Tables of timings: a made-up folder whose forms are known, and the measured ones where they lie."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sim import catalog
from sim.calibrate.operators.reading import PACKAGE, Tables

PACKAGE_FOLDER = "TOKENFLEET_AICONFIGURATOR"
"""Environment variable: folder of an aiconfigurator_core that is not installed beside the simulator."""


@pytest.fixture(scope="session")
def measured(repository):
    """The CSV tables beside the checkout."""
    folder = repository.parent / "shared/data/measured/kernel"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/measured/kernel, the measured tables, which are not beside this checkout")
    return Tables(folder)


@pytest.fixture(scope="session")
def package():
    """The tables inside aiconfigurator-core."""
    given = os.environ.get(PACKAGE_FOLDER)
    spec = importlib.util.find_spec(PACKAGE)
    if given is None and spec is None:
        pytest.skip(f"needs aiconfigurator-core (extra tables), installed or in the folder that {PACKAGE_FOLDER} names")
    return Tables(Path(given) if given else Path(spec.origin).parent)


@pytest.fixture(scope="session")
def h100():
    return catalog.load_gpu("h100-sxm-80gb")


@pytest.fixture(scope="session")
def a100():
    return catalog.load_gpu("a100-sxm-80gb")


def product_rows(launch_s=4e-6, rate=0.6 * 989e12, flow=0.8 * 3.35e12, bump=None):
    """Timings of bf16 products that follow the form with p = 2, in the columns of `Tables.rows`."""
    m, n, k = (
        x.ravel().astype(float)
        for x in np.meshgrid([1, 8, 64, 65, 512, 4096], 2.0 ** np.arange(8, 15), 2.0 ** np.arange(8, 15), indexing="ij")
    )
    time_s = launch_s + np.hypot(2 * m * n * k / rate, 2 * (n * k + m * k + m * n) / flow)
    if bump is not None:
        time_s = time_s * bump(m)
    return pd.DataFrame({"m": m, "n": n, "k": k, "gemm_dtype": "bfloat16", "time_s": time_s, "version": "1.0"})
