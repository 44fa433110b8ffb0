"""docs/lifecycle.md says what the stages say."""

import csv
import io

import pytest

from sim import catalog
from sim.lifecycle.plan import MFU, Rented
from sim.lifecycle.scaling import LAWS, training_flops
from sim.spec.ranged import assumed


@pytest.fixture(scope="module")
def page(repository):
    return (repository / "docs/lifecycle.md").read_text(encoding="utf-8")


def test_the_table_of_gpu_hours_is_the_rules(page, repository):
    text = (repository / "tests/reference/training.csv").read_text().split("\n", 1)[1]
    for row in csv.DictReader(io.StringIO(text)):
        mfu = MFU[row["gpu"].partition("-")[0]]
        rented = Rented(catalog.load_gpu(row["gpu"]), mfu, assumed(1.0))
        flops, published = training_flops(float(row["parameters"]), float(row["tokens"])), float(row["gpu_hours"])
        hours = rented.hours(flops, mfu)
        error = f"{100 * (hours / published - 1):+.0f} %"
        cells = f"| {published:,.0f} | {hours:,.0f} | {error} | {rented.hours(flops, 1) / published:.3f} |"
        assert cells in page.replace("**", ""), row["name"]


def test_the_three_answers_are_the_laws(page, meridian):
    found = page.replace("**", "")
    for law in LAWS.values():
        parameters, tokens = law.optimum(5.76e23)
        assert f"{parameters / 1e9:.0f}B x {tokens / 1e12:.2f}T" in found
        assert f"{law.optimal_tokens(meridian()['architecture']['parameters'].value) / 1e12:.3g}T" in found
        parameters, tokens = law.optimum(meridian()["scaling"]["compute of the budget"].value)
        assert f"{parameters / 1e9:.0f}B x {tokens / 1e12:.1f}T" in found
    bought = meridian()["scaling"]["tokens that the budget buys at this size"]
    assert f"{bought.value / 1e12:.1f}T (" in found.split("buy at 70B: ")[1][:9]
    assert f"({bought.low / 1e12:.1f} to {bought.high / 1e12:.1f})" in found


def test_the_sum_is_the_stages(page, meridian):
    development = meridian().development_usd
    year = 12 * meridian().spec.serving.usd_per_month
    said = f"{development.value / 1e6:.1f}M ({development.low / 1e6:.0f} to {development.high / 1e6:.0f})"
    assert f"all of development {said}, a year of serving {year / 1e6:.0f}M" in page
