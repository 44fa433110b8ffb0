"""The whole of it on measured tables: targets, files, and what the shipped entries hold."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from sim import catalog
from sim.calibrate.operators.entries import fit_board, fit_entry, write_board, write_entry
from sim.calibrate.operators.independent import FILE, TARGET, score_vidur
from sim.calibrate.operators.run import calibrate_operators
from sim.cli import app
from sim.cost import compile
from sim.cost.calibration import load_kernels
from sim.cost.residual import unpack
from sim.errors import SpecError

MISSED = {
    # docs/operators.md says why
    ("a100-sxm-80gb", "trtllm", "gemm", "int4"),
    ("a100-sxm-80gb", "trtllm", "decode attention", "bf16"),
    ("h100-sxm-80gb", "vllm", "gemm", "fp8_block"),
    ("h100-sxm-80gb", "sglang", "gemm", "fp8_block"),
    ("h200-sxm-141gb", "vllm", "gemm", "fp8_block"),
    ("h200-sxm-141gb", "sglang", "gemm", "bf16"),
    ("h200-sxm-141gb", "sglang", "gemm", "fp8"),
    ("h200-sxm-141gb", "sglang", "gemm", "fp8_block"),
}


@pytest.fixture(scope="module")
def entry(measured):
    return fit_entry(measured, "a100-sxm-80gb", "vllm")


@pytest.mark.slow
def test_targets_on_shapes_that_were_held_out(measured):
    done = calibrate_operators(str(measured.folder))
    gated = [score for score in done.scores if score.reached is not None]
    assert len(gated) == 62
    assert {(s.gpu, s.family, s.operator, s.precision) for s in done.missed} == MISSED


def test_an_independent_bed_is_predicted(measured):
    """Vidur's products of 2024, nothing fitted to them."""
    scores = {(score.gpu, score.what): score for score in score_vidur(measured.folder / FILE)}
    for gpu in ("a100-sxm-80gb", "h100-sxm-80gb"):
        assert scores[gpu, "all rows"].error.median_frac <= TARGET
        assert scores[gpu, "all rows"].error.num_points > 20_000


def test_the_shipped_entry_is_what_the_fit_gives(entry, tmp_path):
    shipped = load_kernels("a100-sxm-80gb", "vllm").spec
    assert entry.spec.gemm["bf16"].launch_s == pytest.approx(shipped.gemm["bf16"].launch_s, rel=0.02)
    assert entry.spec.decode_attention["bf16"].held_out == shipped.decode_attention["bf16"].held_out
    yaml, tables = write_entry(entry, tmp_path)
    again, _ = unpack(tables.read_bytes())
    own, _ = unpack(catalog.read_binary(f"hardware_profiles/kernels/{shipped.tables}"))
    assert set(again) == set(own)
    for name, table in own.items():
        assert np.median(np.abs(again[name].values - table.values)) < 0.01, name
    assert "written by `tokenfleet calibrate operators`" in yaml.read_text()


def test_what_is_written_is_what_a_user_folder_gives(measured, entry, tmp_path, monkeypatch):
    """Entries of a folder of one's own take the place of the package's."""
    slower = {name: fit.model_copy(update={"launch_s": 1e-4}) for name, fit in entry.spec.gemm.items()}
    entry = type(entry)(entry.spec.model_copy(update={"gemm": slower}), entry.tables, entry.scores)
    write_entry(entry, tmp_path / "hardware_profiles")
    write_board(fit_board(measured, "a100-sxm-80gb"), tmp_path / "hardware_profiles")
    options = {"max_num_seqs": 8, "max_num_batched_tokens": 64}
    before = compile("llama-3.1-8b", "a100-sxm-80gb", **options).step_times.batch_s[64]
    monkeypatch.setenv("TOKENFLEET_CATALOG_PATH", str(tmp_path))
    after = compile("llama-3.1-8b", "a100-sxm-80gb", **options).step_times.batch_s[64]
    assert after - before == pytest.approx(32 * 4 * (1e-4 - 4e-6), rel=0.5)


@pytest.mark.slow
def test_the_verb_prints_and_writes(measured, tmp_path):
    command = ["calibrate", "operators", "--from", str(measured.folder), "--gpu", "a100-sxm-80gb", "--family", "vllm"]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    kinds = {(score["operator"], score["precision"]) for score in found["scores"]}
    assert {
        ("gemm", "bf16"),
        ("decode attention", "bf16"),
        ("prefill attention", "bf16"),
        ("all-reduce", "bf16"),
    } <= kinds
    assert all(score["target_reached"] is not False for score in found["scores"])
    assert (tmp_path / "kernels/vllm-a100-sxm-80gb.npz").is_file()
    assert (tmp_path / "boards/a100-sxm-80gb.yaml").is_file()


def test_names_that_were_not_timed(tmp_path):
    with pytest.raises(SpecError, match='"h100" was not timed'):
        calibrate_operators(str(tmp_path), gpus=["h100"])
    with pytest.raises(SpecError, match='"nim" was not timed'):
        calibrate_operators(str(tmp_path), families=["nim"])


def test_the_tables_are_small():
    """Each entry's binary is a fraction of a megabyte, and none is pickled."""
    for name, entry in catalog.list_entries("kernels").items():
        spec = load_kernels("-".join(name.split("-")[1:]), name.split("-")[0]).spec
        data = catalog.read_binary(f"hardware_profiles/kernels/{spec.tables}")
        assert 20_000 < len(data) < 250_000, entry
        tables, _ = unpack(data)
        assert all(np.all(np.isfinite(table.values)) for table in tables.values())
