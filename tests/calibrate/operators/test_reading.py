"""The same rows from CSV files and from the package; newest versions; kernels that are another operator's left out."""

import numpy as np
import pandas as pd
import pytest

from sim.calibrate.operators.attention import fit_prefill
from sim.calibrate.operators.collectives import fit_collective
from sim.calibrate.operators.products import fit_gemm
from sim.calibrate.operators.reading import OPERATORS, Tables, open_tables, version_key
from sim.errors import SpecError


def test_versions_by_age():
    ages = [
        "0.5.6.post2",
        "0.5.9",
        "0.5.10",
        "0.14.0",
        "0.14.1.dev1+gd68",
        "0.24.0",
        "1.2.0rc5",
        "1.3.0rc9",
        "1.3.0rc20",
        "1.3.0",
    ]
    assert sorted(set(ages), key=version_key) == ages


def test_what_is_no_folder_of_tables_is_said(tmp_path):
    with pytest.raises(SpecError, match="holds no operator tables"):
        open_tables(str(tmp_path))


def test_a_folder_of_csv_files(tmp_path):
    rows = pd.DataFrame(
        {
            "system": ["h100_sxm"] * 5 + ["a100_sxm"],
            "framework": ["VLLM", "VLLM", "VLLM", "VLLM", "SGLang", "VLLM"],
            "version": ["0.9", "0.10", "0.10", "0.10", "0.5", "0.10"],
            "kernel_source": ["a", "moe_torch_flow_nongated", "a", "a", "a", "a"],
            "moe_dtype": "bfloat16",
            "num_tokens": [1, 1, 2, 1, 1, 1],
            "hidden_size": 64,
            "inter_size": 64,
            "topk": 2,
            "num_experts": 8,
            "moe_tp_size": 1,
            "moe_ep_size": 1,
            "distribution": "balanced",
            "latency_ms": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        }
    )
    rows.to_csv(tmp_path / "aic_moe.csv", index=False)
    (tmp_path / "aic_gemm.csv").write_text("system\n")
    found = open_tables(str(tmp_path)).rows("moe", "h100-sxm-80gb", "vllm")
    assert found[["num_tokens", "time_s"]].to_numpy().tolist() == [[1, 0.004], [2, 0.003]]


@pytest.mark.parametrize("operator", OPERATORS)
def test_both_sources_give_the_same_rows(measured, package, operator):
    for gpu, family in (("a100-sxm-80gb", "trtllm"), ("h100-sxm-80gb", "vllm")):
        one, other = (
            source.rows(operator, gpu, None if operator == "nccl" else family) for source in (measured, package)
        )
        assert len(one) > 50
        keys = [name for name in one.columns if name != "time_s"]
        one, other = (rows.sort_values([*keys, "time_s"], ignore_index=True) for rows in (one, other))
        pd.testing.assert_frame_equal(one[keys], other[keys], check_dtype=False)
        # The CSV files have six digits.
        assert other["time_s"].to_numpy() == pytest.approx(one["time_s"].to_numpy(), rel=1e-5, abs=1e-9)


def test_both_sources_give_the_same_fit(measured, package, a100):
    def fits(source: Tables):
        rows = {
            name: source.rows(name, "a100-sxm-80gb", "trtllm")
            for name in ("gemm", "context_attention", "custom_allreduce")
        }
        gemm = fit_gemm(rows["gemm"], a100, "bf16", ("trtllm", "1.0"))
        prefill = fit_prefill(rows["context_attention"], a100, "bf16", ("trtllm", "1.0"))
        reduce = fit_collective(rows["custom_allreduce"], a100, "all-reduce", ("trtllm", "1.0"))
        return gemm, prefill, reduce

    one, other = fits(measured), fits(package)
    for a, b in zip(one[:2], other[:2], strict=True):
        assert a.fit.start_s == b.fit.start_s if hasattr(a.fit, "start_s") else a.fit.launch_s == b.fit.launch_s
        assert a.fit.compute_frac == pytest.approx(b.fit.compute_frac, rel=1e-3)
        assert np.max(np.abs(a.residual.values - b.residual.values)) < 1e-3  # noqa: PD011
        assert a.score.held_out.median_frac == pytest.approx(b.score.held_out.median_frac, abs=2e-4)
    assert {size: fit.bytes_per_s for size, fit in one[2][0].items()} == pytest.approx(
        {size: fit.bytes_per_s for size, fit in other[2][0].items()}, rel=1e-3
    )
