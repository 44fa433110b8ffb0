"""The catalogue: named entries of the package and of the user, and what is shipped."""

from pathlib import Path

import pytest

from sim import catalog
from sim.errors import CatalogError, SpecError

OWN = """\
model: llama-3.1-8b
hardware: h100-sxm-80gb
traffic: {kind: open_loop, rate_per_s: 1, input_sequence_length: 10, output_sequence_length: 10}
fleet: {pools: {main: {}}}
"""


@pytest.fixture
def user_folder(tmp_path, monkeypatch):
    """An empty folder that the catalogue looks into first."""
    monkeypatch.setenv(catalog.USER_FOLDERS, str(tmp_path))
    return tmp_path


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("models", "llama-3.1-70b"),
        ("hardware", "h100-sxm-80gb"),
        ("workloads", "interactive-chat"),
        ("scenarios", "meridian-1"),
        ("scenarios", "quickstart"),
    ],
)
def test_the_package_brings_entries(kind, name):
    assert name in catalog.list_entries(kind)
    text, shown = catalog.read(kind, name)
    assert text
    assert name in shown


def test_an_entry_says_what_it_is_even_where_something_must_be_given():
    assert catalog.description("scenarios", "azure-conv-2023").startswith("The Azure 2023 conversation trace")
    assert catalog.description("models", "llama-3.1-8b") == ""


def test_an_unknown_name_gets_help():
    with pytest.raises(CatalogError, match=r"^no entry meridian-2 in scenarios\. Did you mean meridian-1\?"):
        catalog.load("meridian-2")
    with pytest.raises(CatalogError, match=r"^no price book 2062 in .*prices\.yaml\. Did you mean 2026\?$"):
        catalog.load_prices("2062")
    with pytest.raises(CatalogError, match=r"no curve azure-conv in .*_curves.yaml. Did you mean azure-conv-2024"):
        catalog.load_curve("azure-conv")


def test_a_users_entry_comes_first(user_folder):
    _write(user_folder / "scenarios" / "quickstart.yaml", OWN)
    _write(user_folder / "scenarios" / "own.yml", OWN)
    _write(user_folder / "scenarios" / "README.md", "not an entry")
    assert {"own", "quickstart", "meridian-1"} <= catalog.list_entries("scenarios").keys()
    assert "README" not in catalog.list_entries("scenarios")
    assert catalog.load("quickstart").traffic.rate_per_s == 1
    assert catalog.load("own").name == "own"


def test_a_users_price_book_comes_first(user_folder):
    price = "{value: 9, source: a friend, kind: published}"
    prices = f"{{low: {price}, mid: {price}, high: {price}}}"
    book = f"'2026': {{date: 2027-01, usd_per_gpu_hour: {{h100-sxm-80gb: {prices}}}}}"
    _write(user_folder / "hardware_profiles" / "prices.yaml", book)
    assert catalog.load_prices("2026").price("h100-sxm-80gb") == 9


def test_a_folder_that_does_not_exist_is_said(monkeypatch):
    monkeypatch.setenv(catalog.USER_FOLDERS, "nowhere-at-all")
    with pytest.raises(CatalogError, match=f"{catalog.USER_FOLDERS}=nowhere-at-all  no such folder"):
        catalog.list_entries("models")


def test_a_path_is_a_path(tmp_path, monkeypatch):
    _write(tmp_path / "mine" / "one.yaml", OWN)
    assert catalog.load(tmp_path / "mine" / "one.yaml").name == "one"
    monkeypatch.chdir(tmp_path)
    assert catalog.load("mine/one.yaml", set=["seed=9"]).seed == 9
    assert catalog.load("mine/one.yaml", {"seed": "9"}).seed == 9
    with pytest.raises(SpecError, match=r"^two\.yaml  cannot be read: No such file or directory"):
        catalog.load("two.yaml")


def test_a_mistake_names_the_users_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "one.yaml", OWN + "sede: 3\n")
    with pytest.raises(SpecError, match=r"^one.yaml:5  sede: unknown field. Did you mean seed\?$"):
        catalog.load("one.yaml")


def test_names_that_lead_nowhere_are_said_with_their_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = OWN.replace("llama-3.1-8b", "llama-3.1-8").replace(
        "{main: {}}", "{main: {hardware: h100}, other: {model: a/b.json}}"
    )
    _write(tmp_path / "one.yaml", text.replace("}}}", "}}, paths: {default: [{pool: main}]}}") + "prices: 2062\n")
    with pytest.raises(SpecError) as caught:
        catalog.load("one.yaml")
    found = [str(problem).partition(" Or give")[0] for problem in caught.value.problems]
    assert found[0].startswith("one.yaml:5  prices: no price book 2062 in ")
    assert found[1] == "one.yaml:1  model: no entry llama-3.1-8 in models. Did you mean llama-3.1-8b?"
    assert found[2] == "one.yaml:4  fleet.pools.other.model: a/b.json  cannot be read: No such file or directory"
    assert found[3].startswith("one.yaml:4  fleet.pools.main.hardware: no entry h100 in hardware.")
    assert len(found) == 4


def test_names_in_a_population(tmp_path):
    text = catalog.read("scenarios", "meridian-1")[0]
    _write(
        tmp_path / "one.yaml",
        text.replace("workload: api-service", "workload: api").replace("curve: one-region", "curve: x"),
    )
    with pytest.raises(SpecError) as caught:
        catalog.load(tmp_path / "one.yaml")
    assert [problem.path for problem in caught.value.problems] == ["traffic.curve", "traffic.api.workload"]


def test_a_pool_must_suit_its_model_and_have_a_price(user_folder):
    gpu = catalog.read("hardware", "h100-sxm-80gb")[0].replace("h100-sxm-80gb", "own-gpu")
    _write(user_folder / "hardware_profiles" / "gpus" / "own-gpu.yaml", gpu)
    with pytest.raises(SpecError) as caught:
        catalog.load("closed-loop", {"hardware": "own-gpu", "fleet.pools.main.tensor_parallel_size": 3})
    heads, price = caught.value.problems
    assert heads.path == "fleet.pools.main.tensor_parallel_size"
    assert heads.message == "must divide the 32 attention heads of llama-3.1-8b, got 3"
    assert (price.path, price.message.partition(".")[0]) == ("fleet.pools.main", 'price book "2026": no own-gpu')
    changes = {"hardware": "own-gpu", "fleet.pools.main.usd_per_gpu_hour": 1}
    assert catalog.load("closed-loop", changes).hardware == "own-gpu"


def test_a_saved_scenario_is_the_same(tmp_path):
    scenario = catalog.load("meridian-1")
    _write(tmp_path / "scenario.yaml", scenario.to_yaml())
    again = catalog.load(tmp_path / "scenario.yaml")
    assert again == scenario
    assert again.digest == scenario.digest


def _needs_path(name: str) -> list[str]:
    return ["traffic.path=trace"] if "kind: trace" in catalog.read("scenarios", name)[0] else []


SHIPPED = [
    (name, override)
    for name in catalog.list_entries("scenarios")
    for override in ("", *catalog.load(name, _needs_path(name)).overrides)
]


@pytest.mark.parametrize(("name", "override"), SHIPPED)
def test_a_shipped_scenario_and_all_it_names(name, override):
    scenario = catalog.load(name, _needs_path(name), [override] if override else [])
    assert scenario.name == name
    assert scenario.description
    assert scenario.digest == catalog.load(name, _needs_path(name), [override] if override else []).digest


@pytest.mark.parametrize("name", ["azure-conv-2023", "mooncake-conversation"])
def test_a_trace_must_be_given(name):
    with pytest.raises(SpecError, match=r"yaml:\d+  traffic.path: missing\. .* --set traffic\.path=FILE;.*$"):
        catalog.load(name)
