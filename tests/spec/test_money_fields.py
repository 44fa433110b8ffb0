"""Contracts, prices and sites in a scenario: what is allowed, what is refused and why, and what they come to."""

import pytest

from sim import catalog
from sim.errors import SpecError
from sim.fleet.money import features, pool_price, price_of
from sim.spec import Visit
from sim.spec.api_prices import read_api_prices
from sim.spec.money import TierPrice
from sim.spec.prices import Ownership, read_prices
from sim.spec.sites import read_sites

ALL = "[{kind: owned, replicas: 1}, {kind: reserved, replicas: 1}, {kind: spot}]"


def load(**changes):
    return catalog.load("quickstart", {path.replace("__", "."): value for path, value in changes.items()})


def test_prices_by_contract():
    scenario = load(fleet__pools__main__contracts=ALL, money__site="sweden")
    owned, reserved, spot = (
        catalog.contract_price(scenario, "main", terms) for terms in scenario.fleet.pools["main"].contracts
    )
    assert (float(reserved), float(spot)) == pytest.approx((3.0 * 0.625, 3.0 * 0.425))
    assert 1.3 < owned < 1.6
    assert pool_price(scenario, "main") == pytest.approx((owned + reserved) / 2)  # the two it starts with
    dear = load(fleet__pools__main__contracts="[{kind: reserved}]", money__level="high")
    assert pool_price(dear, "main") == pytest.approx(5.0 * 0.625)
    own = load(fleet__pools__main__contracts="[{kind: spot}]", fleet__pools__main__usd_per_gpu_hour=8)
    assert pool_price(own, "main") == pytest.approx(8 * 0.425)


def test_what_runs_beyond_the_contracts_is_on_demand():
    kinds = [
        terms.kind for terms in load(fleet__pools__main__contracts="[{kind: spot, replicas: 1}]").contracts("main")
    ]
    assert kinds == ["spot", "on_demand"]
    enough = load(fleet__pools__main__contracts="[{kind: spot, replicas: 2}]")
    assert [terms.kind for terms in enough.contracts("main")] == ["spot"]
    assert [terms.kind for terms in load().contracts("main")] == ["on_demand"]


def test_the_annuity_of_an_owned_gpu():
    """10,000 over 4 years, 2,000 left: 2,000 a year without interest; at 10 % 10,000 - 2,000 / 1.4641 in 4 payments."""
    terms = {"capital_usd": 10_000, "life_years": 4, "residual_frac": 0.2, "hosting_usd_per_gpu_hour": 0.5}
    assumed = {name: {"value": value, "kind": "assumed"} for name, value in terms.items()}
    rates = {rate: Ownership(**assumed, interest_frac_per_year={"value": rate, "kind": "assumed"}) for rate in (0, 0.1)}
    assert rates[0].usd_per_gpu_hour == pytest.approx(2000 / 8766 + 0.5)
    year_usd = (10_000 - 2_000 / 1.1**4) / sum(1.1**-year for year in range(1, 5))
    assert rates[0.1].usd_per_gpu_hour == pytest.approx(year_usd / 8766 + 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"money__site": "atlantis"}, "money.site: no site atlantis"),
        ({"fleet__pools__main__site": "swedn"}, "Did you mean sweden?"),
        ({"money__yardsticks": "[gpt-55]"}, "money.yardsticks.0: no price list gpt-55"),
        ({"tiers__default__price": "{like: gpt-55}"}, "tiers.default.price.like: no price list gpt-55"),
        ({"fleet__pools__main__contracts": "[{kind: owned}]"}, "owned needs a site"),
        ({"fleet__pools__main__contracts": "[{kind: spot}, {kind: reserved}]"}, "contracts.0.replicas: missing"),
        ({"fleet__pools__main__contracts": "[{kind: lent}]"}, "on_demand"),
        (
            {"fleet__pools__main__contracts": "[{kind: owned}]", "money__site": "sweden", "hardware": "h200-sxm-141gb"},
            "owned has no h200-sxm-141gb",
        ),
    ],
)
def test_mistakes_are_said(changes, message):
    with pytest.raises(SpecError) as caught:
        load(**changes)
    assert message in str(caught.value)


def test_books_without_factors_and_sites_below_one_are_said():
    price = "{low: {value: 1, kind: assumed}, mid: {value: 1, kind: assumed}, high: {value: 1, kind: assumed}}"
    book = read_prices(f"own: {{date: 2026, usd_per_gpu_hour: {{a: {price}}}}}")["own"]
    with pytest.raises(SpecError, match="no spot_factor"):
        book.factor("spot")
    number = "{value: 0.9, kind: assumed}"
    site = f"{{carbon_g_per_kwh: {number}, pue: {number}, usd_per_kwh: {number}, host_w_per_gpu: {number}}}"
    with pytest.raises(SpecError, match="pue: must be >= 1"):
        read_sites(f"here: {site}")


def test_every_site_and_price_list_has_its_sources(repository):
    sites = read_sites((repository / "hardware_profiles/sites.yaml").read_text())
    assert {"world", "united-states", "sweden", "india"} <= sites.keys()
    for site in sites.values():
        numbers = [site.carbon_g_per_kwh, site.pue, site.usd_per_kwh, site.host_w_per_gpu]
        assert all(number.source.startswith(("Ember", "https://", "arXiv")) for number in numbers)
    lists = read_api_prices((repository / "hardware_profiles/api_prices.yaml").read_text())
    assert len(lists) == 13
    assert all(one.usd_per_1m_cached_tokens <= one.usd_per_1m_input_tokens for one in lists.values())


def test_what_tokens_are_charged():
    """1M uncached, 2M cached and 3M output tokens: at gpt-5 1.25 + 2 x 0.125 + 3 x 10 = 31.5 USD."""
    tokens = (1e6, 2e6, 3e6)
    assert price_of(TierPrice(like="gpt-5")).tokens.charge_usd(*tokens) == pytest.approx(31.5)
    changed = price_of(TierPrice(like="gpt-5", usd_per_1m_output_tokens=1)).tokens
    assert changed.charge_usd(*tokens) == pytest.approx(4.5)
    assert price_of(TierPrice(usd_per_1m_input_tokens=2)).tokens.charge_usd(*tokens) == pytest.approx(6.0)
    assert price_of(TierPrice(usd_per_user_month=20)).tokens.charge_usd(*tokens) == 0.0


def test_what_a_visit_is_booked_as():
    check, answer = Visit(pool="guard", kind="classify"), Visit(pool="main")
    assert features([check, answer]) == ["input_check", "answer"]
    assert features([check, answer, check]) == ["input_check", "answer", "output_check"]
    judge = Visit(pool="main", kind="classify", feature="judge")
    assert features([judge, Visit(pool="a", kind="prefill"), Visit(pool="b", kind="decode")]) == [
        "judge",
        "answer",
        "answer",
    ]
