"""Every known mistake, planted in a copy of the sources, is noticed: a test that cannot fail would say nothing."""

import shutil

import pytest
from builds import REPOSITORY, answer
from mistakes import MISTAKES as SCHEDULERS
from mistakes_paths import PATH_MISTAKES

pytestmark = pytest.mark.slow
MISTAKES = SCHEDULERS | PATH_MISTAKES
PLAIN = {"NUMBA_DISABLE_JIT": "1"}


@pytest.fixture
def copied(tmp_path):
    """A folder with the package and its tests in it, to be spoilt."""
    for name in ("sim", "tests/plane", "tests/golden"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def noticed(folder, checks):
    """What each check finds in a copy."""
    return answer(folder / "tests" / "plane" / "notice.py", *checks, cwd=folder, **PLAIN)


def test_nothing_is_noticed_where_nothing_is_wrong(copied):
    checks = sorted({check for mistake in MISTAKES.values() for check in mistake.noticed_by})
    assert noticed(copied, checks) == dict.fromkeys(checks, "")


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_noticed(copied, name):
    mistake = MISTAKES[name]
    for file, old, new in mistake.edits:
        text = (copied / file).read_text()
        assert text.count(old) == 1, f"{file}: {text.count(old)} times: {old}"
        (copied / file).write_text(text.replace(old, new))
    found = noticed(copied, mistake.noticed_by)
    assert {check for check, difference in found.items() if not difference} == set(), found
