"""The package finds its catalogue however it was installed, and from whatever directory it is called."""

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

KINDS = {"hardware": "hardware_profiles"} | {kind: kind for kind in ("lifecycles", "models", "scenarios", "workloads")}


def _run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def checkout(repository, tmp_path_factory):
    """A copy of what the source distribution is made from, so that nothing is built inside the checkout."""
    copy = tmp_path_factory.mktemp("checkout") / "tokenfleet"
    copy.mkdir()
    for path in repository.iterdir():
        if path.name.startswith(".") or path.name in {"build", "dist", "runs"}:
            continue
        if path.is_dir():
            shutil.copytree(path, copy / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, copy)
    return copy


@pytest.fixture(scope="module")
def built(checkout):
    """The source distribution, and the wheel built from it."""
    _run(sys.executable, "-m", "build", "--no-isolation", cwd=checkout)
    return next(checkout.glob("dist/*.tar.gz")), next(checkout.glob("dist/*.whl"))


@pytest.fixture
def install(tmp_path):
    """Return a function that installs one thing into an environment of its own and gives the command's path."""

    def _install(*what: str | Path) -> Path:
        home = tmp_path / "environment"
        venv.create(home, with_pip=False)
        python = home / "bin" / "python"
        packages = Path(
            _run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
        )
        # Dependencies come from this environment; its own editable install does not: .pth files in it are not read.
        (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
        _run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", *what, cwd=tmp_path)
        return home / "bin" / "tokenfleet"

    return _install


def _listed(command: Path, kind: str, cwd: Path) -> set[str]:
    return {entry["name"] for entry in json.loads(_run(command, "list", kind, "--json", cwd=cwd))[kind]}


@pytest.mark.parametrize("way", ["wheel", "sdist", "editable"])
def test_every_way_to_install_finds_the_whole_catalogue(way, checkout, built, install, tmp_path):
    sdist, wheel = built
    what = {"wheel": [wheel], "sdist": [sdist], "editable": ["--editable", checkout]}[way]
    command = install(*what)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for kind in KINDS:
        here = _listed(Path(sys.executable).with_name("tokenfleet"), kind, elsewhere)
        assert here
        assert _listed(command, kind, elsewhere) == here


def test_an_editable_install_copies_no_data(checkout, install, tmp_path):
    command = install("--editable", checkout)
    assert not list(tmp_path.glob("environment/**/_catalog"))
    (checkout / "scenarios" / "copy-of-mine.yaml").write_text((checkout / "scenarios" / "meridian-1.yaml").read_text())
    assert "copy-of-mine" in _listed(command, "scenarios", tmp_path)


def test_the_wheel_holds_the_package_its_data_and_nothing_else(built):
    _, wheel = built
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"sim", f"tokenfleet-{wheel.name.split('-')[1]}.dist-info"}
    assert "sim/py.typed" in names
    for folder in KINDS.values():
        assert any(name.startswith(f"sim/_catalog/{folder}/") for name in names)
