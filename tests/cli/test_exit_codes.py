"""Each way to end has its exit code and its words."""

import pytest
import typer
from typer.testing import CliRunner

from sim.cli import app
from sim.cli.exit_codes import Verbs
from sim.errors import CapacityError, Problem, SpecError, TokenfleetError, UnitError

VERBS = (
    "run",
    "traffic",
    "compile",
    "check",
    "lifecycle",
    "audit",
    "list",
    "conform",
    "validate",
    "import",
    "microbench",
)


def _end(error: BaseException | None):
    """Run a verb that ends by raising `error`."""
    verbs = typer.Typer(cls=Verbs)

    @verbs.callback()
    def _group() -> None:
        pass

    @verbs.command()
    def act() -> None:
        if error is not None:
            raise error

    return CliRunner().invoke(verbs, ["act"])


def test_done_is_0():
    assert _end(None).exit_code == 0


def test_no_is_1():
    ended = _end(typer.Exit(1))
    assert (ended.exit_code, ended.output) == (1, "")


@pytest.mark.parametrize("family", [TokenfleetError, SpecError, UnitError, CapacityError])
def test_a_mistake_of_the_user_is_2_and_a_message_without_traceback(family):
    ended = _end(family(Problem("must be > 0", "a.yaml", 3, "fleet.x"), "and another"))
    assert ended.exit_code == 2
    assert ended.stdout == ""
    assert ended.stderr == f"{family.__name__}: a.yaml:3  fleet.x: must be > 0\nand another\n"


@pytest.mark.parametrize("error", [ValueError("boom"), ZeroDivisionError("boom"), KeyError("boom")])
def test_a_bug_is_3_and_a_traceback_with_a_request_to_report_it(error):
    ended = _end(error)
    assert ended.exit_code == 3
    assert ended.stdout == ""
    assert "Traceback" in ended.stderr
    assert "boom" in ended.stderr
    assert "Please report it" in ended.stderr


@pytest.mark.parametrize("arguments", [["sing"], ["run"], ["list", "songs"], ["run", "x", "--clock", "sundial"]])
def test_a_wrong_command_line_is_2(arguments):
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == 2
    assert ended.stdout == ""
    assert "Usage" in ended.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(verb):
    helped = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "200"}).invoke(app, [verb, "--help"])
    assert helped.exit_code == 0
    assert "--json" in helped.stdout


def test_the_help_lists_the_verbs_that_work_and_no_others():
    assert [command.name for command in app.registered_commands] == list(VERBS)
    helped = CliRunner().invoke(app, ["--help"]).stdout
    assert all(verb in helped for verb in VERBS)


def test_too_little_memory_is_2_and_a_message_without_traceback():
    ended = _end(MemoryError("Unable to allocate 7 TiB"))
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("MemoryError: not enough memory for `act` (Unable to allocate 7 TiB). Make the")
    assert "Traceback" not in ended.stderr
