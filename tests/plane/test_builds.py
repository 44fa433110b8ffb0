"""The builds of the plane: machine code that is reused, never stale, and the checked and the plain build beside it."""

import ast
import json
import shutil
from pathlib import Path

import pytest
from builds import HERE, REPOSITORY, answer, machine_code, output, start
from digests import crowd, digest
from drive import run_plane

from sim.plane.compiled import BORROWED

# A field in front of all others makes every old offset wrong: in a type of the plane's own, and in a borrowed one.
CHANGES = {
    "sim/plane/tables.py": ("REPLICA = record(\n", 'REPLICA = record(\n    "f8 extra",\n'),
    "sim/metrics/records.py": ("DONE = np.dtype(\n    [\n", 'DONE = np.dtype(\n    [\n        ("extra", "i8"),\n'),
}
CHECKED, UNCOMPILED = {"TOKENFLEET_CHECKED": "1"}, {"NUMBA_DISABLE_JIT": "1"}
BAD_ROWS = [
    "one past the end", "one before the start", "far", "two calls deep", "written", "another table", "another type",
    "inside the table",
]  # fmt: skip


@pytest.fixture
def copied(tmp_path):
    """A folder with the package in it, to be edited."""
    shutil.copytree(REPOSITORY / "sim", tmp_path / "copy" / "sim", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "copy"


# Machine code, kept


def test_two_processes_on_an_empty_cache_agree_and_a_third_compiles_nothing(copied, tmp_path):
    cache = tmp_path / "cache"
    command = (str(HERE / "digests.py"), "0")
    both = [start(*command, cwd=copied, TOKENFLEET_CACHE_DIR=str(cache)) for _ in range(2)]
    expected = [digest(run_plane(crowd()))]
    assert [json.loads(output(process)) for process in both] == [expected, expected]

    (folder,) = cache.iterdir()
    assert folder.name.startswith("plane-")
    code = machine_code(cache)
    assert any(path.name.startswith("handle.advance") for path in code)
    assert answer("digests.py", "0", cwd=copied, TOKENFLEET_CACHE_DIR=str(cache)) == expected
    assert machine_code(cache) == code


@pytest.mark.slow
def test_a_changed_record_type_is_compiled_anew(copied, tmp_path):
    cache = tmp_path / "cache"
    expected = [digest(run_plane(crowd()))]
    assert answer("digests.py", "0", cwd=copied, TOKENFLEET_CACHE_DIR=str(cache)) == expected
    for file, (old, new) in CHANGES.items():
        text, code = (copied / file).read_text(), machine_code(cache)
        assert text.count(old) == 1
        (copied / file).write_text(text.replace(old, new))
        assert answer("digests.py", "0", cwd=copied, TOKENFLEET_CACHE_DIR=str(cache)) == expected
        found = machine_code(cache)
        assert code.items() < found.items()  # what was there is left alone
        (folder,) = {path.relative_to(cache).parts[0] for path in found.keys() - code.keys()}
        assert not any(path.is_relative_to(cache / folder) for path in code)


def digest_in(folder, **settings):
    return output(start("-c", "from sim.plane.compiled import source_digest as s; print(s())", cwd=folder, **settings))


@pytest.mark.parametrize("file", ["sim/plane/blockwise.py", *(f"sim/{name}" for name in BORROWED)])
def test_any_source_that_is_compiled_names_the_cache(copied, file):
    before = digest_in(copied)
    (copied / file).write_text((copied / file).read_text() + "\n")
    assert digest_in(copied) != before


def test_the_checked_build_has_a_cache_of_its_own(copied):
    assert digest_in(copied, **CHECKED) != digest_in(copied)


def test_every_file_that_compiled_code_borrows_from_is_known():
    found = set()
    for path in (REPOSITORY / "sim" / "plane").glob("*.py"):
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        names = {alias.name for node in imports if node.module == "sim.plane.compiled" for alias in node.names}
        if names.isdisjoint({"jit", "jit_with", "rows"}):
            continue  # plain Python
        for node in imports:
            if node.module.startswith("sim.") and not node.module.startswith("sim.plane"):
                module = Path(*node.module.split(".")[1:])
                is_file = (REPOSITORY / "sim" / module).with_suffix(".py").is_file()
                modules = [module] if is_file else [module / alias.name for alias in node.names]
                found |= {module.with_suffix(".py").as_posix() for module in modules}
    assert found == set(BORROWED)


# The builds that check


@pytest.mark.parametrize("build", [CHECKED, UNCOMPILED], ids=["checked", "plain"])
def test_a_row_outside_its_table_is_caught(build):
    assert answer("row_checks.py", **build) == BAD_ROWS


def test_the_plain_build_gives_the_same_bytes():
    # Both in processes of their own: Hypothesis draws from the constants of whatever modules are loaded.
    expected = answer("digests.py", "12")
    assert len(set(expected)) > 10
    assert answer("digests.py", "12", **UNCOMPILED) == expected


@pytest.mark.parametrize("build", [pytest.param(CHECKED, marks=pytest.mark.slow), UNCOMPILED], ids=["checked", "plain"])
def test_a_bad_number_in_a_play_is_caught(build):
    assert answer("row_checks.py", "play", **build) == ["compiled clock", "simpy clock"]


@pytest.mark.slow
@pytest.mark.parametrize("build", [CHECKED, UNCOMPILED], ids=["checked", "plain"])
def test_the_agreements_hold(build):
    suite = ("-m", "pytest", str(HERE / "test_clocks.py"), "--hypothesis-profile=few", "-p", "no:cacheprovider")
    assert "4 passed" in output(start(*suite, **build))


@pytest.mark.slow
def test_every_function_is_compiled_for_one_set_of_types(tmp_path):
    assert answer("signatures.py", TOKENFLEET_CACHE_DIR=str(tmp_path)) == []
