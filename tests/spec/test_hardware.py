"""Hardware: every number has a source, is a float, and prices are found or refused."""

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from sim.errors import SpecError
from sim.spec.hardware import PRECISIONS, GpuSpec, read_gpu
from sim.spec.prices import PriceBook, read_prices
from sim.spec.sourced import UNSOURCED, Sourced

REPOSITORY = Path(__file__).parents[2]
FILES = sorted((REPOSITORY / "hardware_profiles/gpus").glob("[!_]*.yaml"))
UNPRICED = {"a100-pcie-80gb", "a800-sxm-80gb", "gh200-144gb", "gh200-96gb", "h100-nvl-94gb", "h200-nvl-141gb"} | {
    "l40-48gb",
    "l40s-48gb",
}
"""Boards that measurements were made on, of which no price page is at hand: a pool of them names its price."""
PRICES = REPOSITORY / "hardware_profiles/prices.yaml"


def _gpu(name: str) -> GpuSpec:
    file = next(file for file in FILES if file.stem == name)
    return read_gpu(file.read_text(), str(file))


def _numbers(spec: GpuSpec | PriceBook) -> Iterator[Sourced]:
    if isinstance(spec, PriceBook):
        for prices in spec.usd_per_gpu_hour.values():
            yield from (prices.low, prices.mid, prices.high)
        yield from (number for number in (spec.reserved_factor, spec.spot_factor) if number is not None)
        for owned in spec.owned.values():
            yield from dict(owned).values()
    else:
        yield from (value for value in dict(spec).values() if isinstance(value, Sourced))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_number_of_a_gpu_has_a_source_or_says_assumed(file: Path) -> None:
    gpu = read_gpu(file.read_text(), str(file))
    numbers = list(_numbers(gpu))
    assert gpu.name == file.stem
    assert len(numbers) >= 13
    for number in numbers:
        assert number.source != UNSOURCED
        if number.source.startswith("assumed"):
            assert number.kind == "assumed"
        else:
            assert (
                "github:" in number.source
                or "https://" in number.source
                or number.source.startswith(("arXiv", "pypi:"))
            )
    assert read_gpu(gpu.to_yaml()) == gpu
    assert [n.source for n in _numbers(read_gpu(gpu.to_yaml()))] == [n.source for n in numbers]


def test_every_price_has_a_source_and_every_gpu_for_rent_a_price() -> None:
    books = read_prices(PRICES.read_text(), str(PRICES))
    assert {file.stem for file in FILES} - set(books["2026"].usd_per_gpu_hour) == UNPRICED
    assert set(books["2026"].usd_per_gpu_hour) < {file.stem for file in FILES}
    for name, book in books.items():
        assert book.name == name
        assert book.date.startswith(name)
        assert all(number.source != UNSOURCED for number in _numbers(book))


# Datasheet values: NVIDIA A100 (2020), H100 (2022), H200 (2023) datasheets, dense rates.
@pytest.mark.parametrize(
    ("name", "bf16", "fp8", "bandwidth", "tdp", "nvlink"),
    [
        ("a100-sxm-40gb", 312e12, None, 1.555e12, 400, 300e9),
        ("a100-sxm-80gb", 312e12, None, 2.039e12, 400, 300e9),
        ("h100-pcie-80gb", 756e12, 1513e12, 2.0e12, 350, None),
        ("h100-sxm-80gb", 989e12, 1979e12, 3.35e12, 700, 450e9),
        ("h200-sxm-141gb", 989e12, 1979e12, 4.8e12, 700, 450e9),
        ("a100-pcie-80gb", 312e12, None, 1.935e12, 300, None),
        ("h100-nvl-94gb", 835e12, 1670e12, 3.9e12, 400, 300e9),
        ("h200-nvl-141gb", 835e12, 1670e12, 4.8e12, 600, 450e9),
        ("gh200-96gb", 989e12, 1979e12, 4.0e12, 700, 450e9),
        ("l40s-48gb", 362e12, 733e12, 864e9, 350, None),
        ("l40-48gb", 181e12, 362e12, 864e9, 300, None),
    ],
)
def test_datasheet_values(
    name: str, bf16: float, fp8: float | None, bandwidth: float, tdp: float, nvlink: float | None
) -> None:
    gpu = _gpu(name)
    assert gpu.bf16_flops_per_s == bf16
    assert gpu.fp8_flops_per_s == fp8
    assert gpu.memory_bandwidth_bytes_per_s == pytest.approx(bandwidth, rel=1e-12)
    assert gpu.tdp_w == tdp
    assert gpu.nvlink_bytes_per_s == nvlink


def test_reported_memory_is_below_the_label_and_near_it() -> None:
    for file in FILES:
        gpu = read_gpu(file.read_text())
        # GDDR6 keeps its error correction in the memory itself: one part in sixteen.
        least = 0.98 * 15 / 16 if gpu.name.startswith("l40") else 0.98
        assert least < gpu.hbm_bytes / gpu.nominal_hbm_bytes < 1


def test_peaks_by_precision() -> None:
    h100, a100 = _gpu("h100-sxm-80gb"), _gpu("a100-sxm-80gb")
    assert [h100.peak_flops_per_s(p) for p in PRECISIONS] == [989e12, 989e12, 1979e12, 1979e12]
    assert "datasheet" in h100.peak_flops_per_s("fp8").kind
    with pytest.raises(SpecError, match="a100-sxm-80gb does not compute in fp8; it has bf16, fp16, int8"):
        a100.peak_flops_per_s("fp8")
    with pytest.raises(SpecError, match="does not compute in fp3"):
        h100.peak_flops_per_s("fp3")


def test_a_sourced_number_is_a_float_that_keeps_its_source() -> None:
    number = Sourced(3.0, "a page", "published", "seen once")
    for twin in (copy.deepcopy(number), pickle.loads(pickle.dumps(number))):
        assert (twin, twin.source, twin.kind, twin.note) == (3.0, "a page", "published", "seen once")
    assert type(number * 2) is float
    assert f"{number:.1f}" == "3.0"


def test_a_bare_number_counts_as_assumed() -> None:
    gpu = _gpu("h100-sxm-80gb").replace("tdp_w", 500)
    assert (gpu.tdp_w, gpu.tdp_w.kind, gpu.tdp_w.source) == (500, "assumed", UNSOURCED)
    assert gpu.hbm_bytes.kind == "measured"
    assert gpu.replace("tdp_w", "0.6 kW").tdp_w == 600


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "kind: datasheet",
            "kind: rumour",
            '"rumour" is not allowed. Allowed: datasheet, measured, published, assumed',
        ),
        ("value: 700 W", "value: 700 GB", '"700 GB" is an amount of data'),
        ("value: 700 W", "value: -700 W", "value must be > 0"),
        ("value: 700 W", "worth: 700 W", "unknown field worth"),
        ("value: 700 W", "value: 100 W", "idle_w: must be below tdp_w"),
        ("value: 80 GiB", "value: 40 GiB", "the device cannot report more than the label says"),
        ("num_sms:", "sms:", "num_sms: missing"),
    ],
)
def test_mistakes_are_named_with_their_line(old: str, new: str, message: str) -> None:
    text = (REPOSITORY / "hardware_profiles/gpus/h100-sxm-80gb.yaml").read_text()
    assert old in text
    with pytest.raises(SpecError) as caught:
        read_gpu(text.replace(old, new), "my-gpu.yaml")
    assert message in str(caught.value)
    assert all(problem.file == "my-gpu.yaml" and problem.line for problem in caught.value.problems)


def test_a_source_is_asked_for_unless_assumed() -> None:
    text = (REPOSITORY / "hardware_profiles/gpus/h100-sxm-80gb.yaml").read_text()
    bare = text.replace("gpus_per_node:\n", "gpus_per_node: {value: 8, kind: measured}\nignored:\n")
    with pytest.raises(SpecError, match="source is missing"):
        read_gpu(bare)


def test_prices_by_level_and_the_unknown_gpu() -> None:
    book = read_prices(PRICES.read_text())["2026"]
    assert book.price("h100-sxm-80gb") == 3.0
    assert book.price("h100-sxm-80gb", "low") < book.price("h100-sxm-80gb") < book.price("h100-sxm-80gb", "high")
    with pytest.raises(SpecError, match=r"no h100-sxm-8gb\. Did you mean h100-sxm-80gb\?"):
        book.price("h100-sxm-8gb")


def test_all_mistakes_of_all_books_at_once() -> None:
    text = """\
"2025":
  date: 2025-01
  usd_per_gpu_hour:
    x: {low: 3, mid: 2, high: 4}
"2026":
  usd_per_gpu_hour:
    y: {low: 1, mid: 2}
"""
    with pytest.raises(SpecError) as caught:
        read_prices(text, "prices.yaml")
    found = {problem.path: problem for problem in caught.value.problems}
    assert set(found) == {"2025.usd_per_gpu_hour.x", "2026.date", "2026.usd_per_gpu_hour.y.high"}
    assert found["2025.usd_per_gpu_hour.x"].line == 4
    assert "low <= mid <= high" in found["2025.usd_per_gpu_hour.x"].message


@pytest.mark.parametrize("text", ["- a", "3"])
def test_a_price_file_holds_named_books(text: str) -> None:
    with pytest.raises(SpecError, match="expected named price books"):
        read_prices(text, "prices.yaml")
