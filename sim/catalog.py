"""Named entries: models, hardware, workloads, scenarios and lifecycles, of the package and of the user.

An entry is a file ``NAME.yaml`` (or ``.yml``, ``.json``) in the folder of its kind, or a folder ``NAME/`` whose file is
called after the kind (``workload.yaml``). Folders listed in the environment variable TOKENFLEET_CATALOG_PATH (separated
as in PATH) hold the same subfolders and come first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar

from sim.errors import CatalogError, Problem, SpecError, did_you_mean
from sim.spec.api_prices import ApiPrice, read_api_prices
from sim.spec.classifier import Classifier, read_classifiers
from sim.spec.hardware import GpuSpec, read_gpu
from sim.spec.lifecycle import Lifecycle, read_lifecycle
from sim.spec.load import read_file, read_scenario
from sim.spec.model import ModelSpec, read_model
from sim.spec.model_load import ModelLoad
from sim.spec.money import Contract
from sim.spec.prices import PriceBook, read_prices
from sim.spec.scenario import Scenario
from sim.spec.short import is_short
from sim.spec.sites import Site, read_sites
from sim.spec.sourced import Sourced
from sim.spec.speculation import AcceptanceTable, SpeculativeConfig, read_acceptance
from sim.spec.spelling import Resolved, Spellings, read_spellings, resolve
from sim.spec.text import read_text
from sim.spec.tokenizer import Tokenizers, read_tokenizers
from sim.spec.traffic import PopulationTraffic, SessionTraffic
from sim.spec.variant import parse_variant, vary
from sim.spec.workload import Curve, PercentileTable, Workload, read_curves, read_percentile_tables

Kind: TypeAlias = Literal["models", "hardware", "boards", "kernels", "engines", "workloads", "scenarios", "lifecycles"]

FOLDERS: Final[dict[Kind, str]] = {
    "models": "models",
    "hardware": "hardware_profiles/gpus",
    "boards": "hardware_profiles/boards",
    "kernels": "hardware_profiles/kernels",
    "engines": "hardware_profiles/engines",
    "workloads": "workloads",
    "scenarios": "scenarios",
    "lifecycles": "lifecycles",
}
"""Folder of each kind, inside the package's data and inside a user's folder."""
T = TypeVar("T")
SUFFIXES: Final = (".yaml", ".yml", ".json")
USER_FOLDERS: Final = "TOKENFLEET_CATALOG_PATH"


def roots() -> Iterator[Traversable]:
    """Yield the folders that hold entries, in order of precedence: the user's, then the package's."""
    for folder in os.environ.get(USER_FOLDERS, "").split(os.pathsep):
        if folder:
            if not Path(folder).is_dir():
                raise CatalogError(Problem("no such folder", f"{USER_FOLDERS}={folder}"))
            yield Path(folder)
    installed = files("sim") / "_catalog"
    # In a checkout (and an editable install) the data stands beside the package.
    yield installed if installed.is_dir() else Path(__file__).resolve().parents[1]


def list_entries(kind: Kind) -> dict[str, Traversable]:
    """Return the entries of a kind by name, sorted; a user's entry takes the place of the package's."""
    found: dict[str, Traversable] = {}
    for root in roots():
        folder = root.joinpath(*FOLDERS[kind].split("/"))
        for entry in folder.iterdir() if folder.is_dir() else ():
            name = _name(entry)
            if name and name not in found:
                found[name] = entry
    return dict(sorted(found.items()))


def _name(entry: Traversable) -> str:
    """Return the name of an entry, or nothing where a file is no entry (a README, a hidden file)."""
    if entry.name.startswith((".", "_")):
        return ""
    if entry.is_dir():
        return entry.name
    suffix = next((suffix for suffix in SUFFIXES if entry.name.endswith(suffix)), "")
    return entry.name.removesuffix(suffix) if suffix else ""


def find(kind: Kind, name: str) -> Traversable:
    """Return the file of a named entry.

    Raises
    ------
    CatalogError
        No entry has that name; the message offers the nearest.
    """
    entries = list_entries(kind)
    if name not in entries:
        raise CatalogError(f"no entry {name} in {kind}. {did_you_mean(name, entries)} Or give the path of a file.")
    entry = entries[name]
    return entry / f"{kind.removesuffix('s')}.yaml" if entry.is_dir() else entry


def read(kind: Kind, name: str) -> tuple[str, str]:
    """Return text and shown file name of an entry, or of the file that `name` is a path of."""
    is_path = name.endswith(SUFFIXES) or "/" in name or os.sep in name
    file: Traversable = Path(name).expanduser() if is_path else find(kind, name)
    shown = name if is_path else _shown(file)
    return read_file(file, shown), shown


def description(kind: Kind, name: str) -> str:
    """Return what an entry says about itself, without asking whether the rest of it is complete."""
    data = read_text(*read(kind, name)).data
    return str(data.get("description") or "") if isinstance(data, dict) else ""


def read_all(path: str) -> Iterator[tuple[str, str]]:
    """Yield text and shown name of a data file in each root that has it, such as ``hardware_profiles/prices.yaml``."""
    for root in roots():
        file = root.joinpath(*path.split("/"))
        if file.is_file():
            yield read_file(file, _shown(file)), _shown(file)


def read_binary(path: str) -> bytes:
    """Return a binary data file of the first root that has it, such as ``hardware_profiles/kernels/NAME.npz``."""
    for root in roots():
        file = root.joinpath(*path.split("/"))
        if file.is_file():
            return file.read_bytes()
    raise CatalogError(f"no file {path}, which an entry beside it names.")


def _shown(file: Traversable) -> str:
    """Return a file's name as seen from the current folder, where it lies below it."""
    path, here = Path(str(file)), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def load(
    name: str | Path,
    set: Sequence[str] | Mapping[str, Any] = (),  # noqa: A002  (it is the command line's --set)
    override: Sequence[str] = (),
) -> Scenario:
    """Return a scenario.

    Parameters
    ----------
    name
        An entry of the catalogue, or the path of a YAML file.
    set
        Changes made last: texts ``path=value``, or a mapping {dotted path: value}.
    override
        Names among the scenario's `overrides`, applied in this order.

    Raises
    ------
    SpecError
        Everything that is wrong, each with file and line.
    """
    text, shown = read("scenarios", str(name))
    return read_scenario(text, shown, changes=set, override=override, check=_check)


def load_lifecycle(name: str | Path, set: Sequence[str] | Mapping[str, Any] = ()) -> Lifecycle:  # noqa: A002
    """Return a lifecycle: an entry of the catalogue, or a file, with changes as in `load`."""
    text, shown = read("lifecycles", str(name))
    return read_lifecycle(text, shown, changes=set, check=_check_lifecycle)


def _check_lifecycle(spec: Lifecycle) -> Iterator[tuple[str, str]]:
    """Yield (dotted path, message) for names that lead nowhere, and for GPUs that nobody prices."""
    asked: list[tuple[str, Callable[[str], object], str | None]] = [
        ("prices", load_prices, spec.prices),
        ("site", load_site, spec.site),
        ("architecture.model", load_model, spec.architecture.model),
        ("pretraining.hardware", load_gpu, spec.pretraining.hardware),
        ("alignment.hardware", load_gpu, spec.alignment.hardware),
        *((f"safety.classifiers.{n}", load_classifier, one) for n, one in enumerate(spec.safety.classifiers)),
        ("serving.scenario", lambda scenario: read("scenarios", scenario), spec.serving.scenario),
    ]
    for path, reader, wanted in asked:
        try:
            if wanted is not None:
                reader(wanted)
        except SpecError as error:
            yield from ((path, problem.message) for problem in error.problems)


def _check(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """Yield (dotted path, message) for names that lead nowhere, and for pools that contradict their model."""
    all_there = True
    for path, reader, name in _references(scenario):
        try:
            reader(name)
        except SpecError as error:
            all_there = False
            yield from ((path, str(problem)) for problem in error.problems)
    for pool_name in scenario.fleet.pools if all_there else ():
        pool, at = scenario.pool(pool_name), f"fleet.pools.{pool_name}"
        model, size = load_model(str(pool.model)), pool.tensor_parallel_size
        if model.num_attention_heads % size:
            message = f"must divide the {model.num_attention_heads} attention heads of {model.name}, got {size}"
            yield f"{at}.tensor_parallel_size", message
        for path, message in _unpriced(scenario, pool_name):
            yield f"{at}{path}", message
        if pool.speculative_config is not None:
            try:
                load_acceptance(pool.speculative_config)
            except SpecError as error:
                yield f"{at}.speculative_config.acceptance", "; ".join(problem.message for problem in error.problems)


def contract_price(scenario: Scenario, pool_name: str, contract: Contract) -> Sourced:
    """Return the price of a GPU-hour under a contract of a pool [USD]; raises SpecError where nobody says."""
    pool, book = scenario.pool(pool_name), load_prices(scenario.prices)
    return book.under(contract, pool_name, str(pool.hardware), pool.usd_per_gpu_hour, scenario.money.level)


def _unpriced(scenario: Scenario, pool_name: str) -> Iterator[tuple[str, str]]:
    """Yield (path in the pool, message) for prices that nobody says, and for power that nobody prices."""
    given = len(scenario.pool(pool_name).contracts)
    for index, contract in enumerate(scenario.contracts(pool_name)):
        path = f".contracts.{index}" if index < given else ""
        try:
            contract_price(scenario, pool_name, contract)
        except SpecError as error:
            yield path, str(error)
        if contract.kind == "owned" and scenario.pool(pool_name).site is None:
            yield path, "owned needs a site, which says what its power costs: give money.site, or the pool's site"


def _money_references(scenario: Scenario) -> Iterator[tuple[str, Callable[[str], object], str]]:
    """Yield (dotted path, reader, name) for each name of a price list or site in a scenario."""
    yield "prices", load_prices, scenario.prices
    yield from ((f"money.yardsticks.{n}", load_api_price, name) for n, name in enumerate(scenario.money.yardsticks))
    for tier_name, tier in scenario.tiers.items():
        if tier.price is not None and tier.price.like is not None:
            yield f"tiers.{tier_name}.price.like", load_api_price, tier.price.like
    sites = {f"fleet.pools.{name}": pool.site for name, pool in scenario.fleet.pools.items()}
    for at, site in {"money": scenario.money.site, **sites}.items():
        if site is not None:
            yield f"{at}.site", load_site, site


def _references(scenario: Scenario) -> Iterator[tuple[str, Callable[[str], object], str]]:
    """Yield (dotted path, reader, name) for each name of an entry in a scenario."""
    yield from _money_references(scenario)
    fields: tuple[tuple[str, Callable[[str], object]], ...] = (("model", load_model), ("hardware", load_gpu))
    for field, reader in fields:
        for at, part in (
            ("", scenario),
            *((f"fleet.pools.{name}.", pool) for name, pool in scenario.fleet.pools.items()),
        ):
            if (name := getattr(part, field)) is not None:
                yield f"{at}{field}", reader, name
    for name, pool in scenario.fleet.pools.items():
        if pool.speculative_config is not None and pool.speculative_config.model is not None:
            yield f"fleet.pools.{name}.speculative_config.model", load_model, pool.speculative_config.model
    traffic = scenario.traffic
    if isinstance(traffic, PopulationTraffic):
        yield "traffic.curve", load_curve, traffic.curve
        for name, region in traffic.regions.items():
            if region.curve is not None:
                yield f"traffic.regions.{name}.curve", load_curve, region.curve
        for name in traffic.workloads:
            yield "traffic.workload", load_workload, name
        for field, part in traffic.programs.items():
            yield f"traffic.{field}.workload", load_workload, part.workload
    elif isinstance(traffic, SessionTraffic):
        yield "traffic.workload", load_workload, traffic.workload


def load_model(name: str) -> ModelSpec:
    """Return a model by name, from a file (also a Hugging Face ``config.json``), or by its short form ("70B, MQA").

    A name may be followed by what differs from the model of that name: "llama-3.1-70b, 64 KV heads".
    """
    if is_short(name):
        return read_model(name)
    base, changes = parse_variant(name)
    model = read_model(*read("models", base))
    return vary(model, changes) if changes else model


def resolve_model(name: str) -> Resolved:
    """Return the model that a publication's name means, such as ``RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8``.

    Where the name does not say the precision of the weights, it is the published checkpoint's: fp8 for DeepSeek-R1.

    Raises
    ------
    CatalogError
        No model is spelt so, or it has layers of a kind that is not covered; the message says which.
    """
    found = resolve(name, _spellings("models"), list_entries("models"))
    return found if found.weights else replace(found, weights=load_model(found.entry).quantization)


def resolve_gpu(name: str) -> Resolved:
    """Return the GPU that a publication's name means, such as ``NVIDIA H100-SXM-80GB``."""
    return resolve(name, _spellings("hardware"), list_entries("hardware"))


def _spellings(kind: Kind) -> Spellings:
    """Return the spellings of a kind of entry; a user's come before the package's."""
    files = [read_spellings(text, shown) for text, shown in read_all(f"{FOLDERS[kind]}/_spellings.yaml")]
    return Spellings(
        words={word: said for file in reversed(files) for word, said in file.words.items()},
        entries={spelt: other for file in reversed(files) for spelt, other in file.entries.items()},
        not_covered={spelt: why for file in reversed(files) for spelt, why in file.not_covered.items()},
    )


def load_gpu(name: str) -> GpuSpec:
    """Return a GPU by name, or from a file."""
    return read_gpu(*read("hardware", name))


def load_workload(name: str) -> Workload:
    """Return a workload by name, or from a file."""
    return Workload.from_yaml(*read("workloads", name))


def load_curve(name: str) -> Curve:
    """Return a daily curve by name."""
    return _named("curve", name, "workloads/_curves.yaml", read_curves)


def load_percentile_table(name: str) -> PercentileTable:
    """Return a table of percentiles by name."""
    return _named("percentile table", name, "workloads/_percentiles.yaml", read_percentile_tables)


def load_tokenizers() -> Tokenizers:
    """Return every tokenizer whose lengths by language are known; a user's come before the package's."""
    files = [read_tokenizers(text, shown) for text, shown in read_all("workloads/_tokenizers.yaml")]
    return Tokenizers(
        groups={name: languages for file in reversed(files) for name, languages in file.groups.items()},
        tokenizers={name: tokenizer for file in reversed(files) for name, tokenizer in file.tokenizers.items()},
    )


def load_acceptance(config: SpeculativeConfig) -> AcceptanceTable:
    """Return the acceptance by position that a speculating pool names, or the first of its method."""
    if config.accept_frac is not None:
        return AcceptanceTable(
            name="given", method=config.method, position_frac=config.accept_frac, source="assumed: given by the user"
        )
    path = "hardware_profiles/acceptance.yaml"
    if config.acceptance is None:
        found: dict[str, AcceptanceTable] = {}
        for text, shown in read_all(path):
            found |= {name: table for name, table in read_acceptance(text, shown).items() if name not in found}
        return next(table for table in found.values() if table.method == config.method)
    table = _named("acceptance table", config.acceptance, path, read_acceptance)
    if table.method != config.method:
        message = f"{table.name} is of method {table.method}, the pool speculates with {config.method}"
        raise CatalogError(Problem(message, path="acceptance"))
    return table


def load_classifier(name: str) -> Classifier:
    """Return a safety classifier by name."""
    return _named("classifier", name, "models/_classifiers.yaml", read_classifiers)


def load_model_load() -> ModelLoad:
    """Return how long engines take to load a model; a user's file takes the place of the package's."""
    return ModelLoad.from_yaml(*next(read_all("hardware_profiles/model_load.yaml")))


def load_prices(name: str) -> PriceBook:
    """Return a price book by name."""
    return _named("price book", name, "hardware_profiles/prices.yaml", read_prices)


def load_site(name: str) -> Site:
    """Return a site by name."""
    return _named("site", name, "hardware_profiles/sites.yaml", read_sites)


def load_api_price(name: str) -> ApiPrice:
    """Return the price list of a public API's model by name."""
    return _named("price list", name, "hardware_profiles/api_prices.yaml", read_api_prices)


def _named(what: str, name: str, path: str, reader: Callable[[str, str], dict[str, T]]) -> T:
    """Return one of the things that a data file holds by name; a user's file comes before the package's."""
    found: dict[str, T] = {}
    for text, shown in read_all(path):
        found = reader(text, shown) | found
    if name not in found:
        raise CatalogError(f"no {what} {name} in {path}. {did_you_mean(name, found)}")
    return found[name]
