"""A measurement folder: written row by row, read back, and never overwritten."""

import json

import pytest

from sim.calibrate.microbench.folder import Writer, read
from sim.calibrate.microbench.points import COLUMNS, MEASURED, SKIPPED, Point, Row
from sim.errors import SpecError

ROWS = (
    Row(Point("gemm", m=1, n=2, k=3), MEASURED, "torch.mm", median_s=1e-5, iqr_s=0.0, min_s=1e-5, num_samples=9),
    Row(Point("gemm", "fp8", m=1, n=2, k=3), SKIPPED, note="out of memory"),
)


@pytest.fixture
def folder(tmp_path):
    with Writer(tmp_path / "new", {"gpu": "NVIDIA H200", "date": "2026-01-02"}) as writer:
        for row in ROWS:
            writer.write(row)
        writer.describe(complete=True)
    return tmp_path / "new"


def test_it_reads_back(folder):
    found = read(folder)
    assert found.rows == ROWS
    assert found.measured == ROWS[:1]
    assert found.provenance == {"gpu": "NVIDIA H200", "date": "2026-01-02", "complete": True}
    assert "NVIDIA H200" in found.source
    readme = (folder / "README.md").read_text()
    assert all(f"| `{name}` |" in readme for name in COLUMNS)


def test_what_is_written_is_on_the_disk_before_the_end(tmp_path):
    with Writer(tmp_path / "cut", {"gpu": "any"}) as writer:
        writer.write(ROWS[0])
        found = read(tmp_path / "cut")
        assert found.rows == ROWS[:1]
        assert found.provenance["complete"] is False


def test_nothing_is_overwritten(folder, tmp_path):
    with pytest.raises(SpecError, match="never overwritten"):
        Writer(folder, {"gpu": "any"})
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SpecError, match="never overwritten"):
        Writer(tmp_path / "file", {"gpu": "any"})
    (tmp_path / "empty").mkdir()
    with Writer(tmp_path / "empty", {"gpu": "any"}):
        pass


def test_wrong_rows_come_at_once_with_their_lines(folder):
    path = folder / "measurements.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1].replace("gemm,bf16", "gemm,fp3"), "gemm,bf16"]) + "\n")
    with pytest.raises(SpecError) as raised:
        read(folder)
    assert [problem.line for problem in raised.value.problems] == [4, 5]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("provenance.json", "{", "no JSON"),
        ("provenance.json", "[]", "expected an object"),
        ("measurements.csv", ",".join(COLUMNS) + "\n", "no measured row"),
    ],
)
def test_a_folder_of_something_else(folder, name, text, message):
    (folder / name).write_text(text)
    with pytest.raises(SpecError, match=message):
        read(folder)


def test_no_folder(tmp_path):
    with pytest.raises(SpecError, match="no measurement folder"):
        read(tmp_path / "nowhere")


def test_provenance_is_plain_json(folder):
    assert json.loads((folder / "provenance.json").read_text())["gpu"] == "NVIDIA H200"
