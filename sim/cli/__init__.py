"""The command ``tokenfleet``: one short module per verb.

Modules of the simulator are imported inside the verbs' bodies, so that ``--help`` is quick.
"""

import typer

import sim
from sim.cli import (
    audit,
    calibrate,
    check,
    compile_,
    conform,
    import_,
    lifecycle,
    list_,
    microbench,
    run,
    traffic,
    validate,
)
from sim.cli.exit_codes import Verbs

app = typer.Typer(
    name="tokenfleet",
    cls=Verbs,
    help="A discrete-event simulator of LLM serving fleets: GPUs, latency and cost, and why.",
    epilog="Exit codes: 0 done; 1 the answer is no; 2 the input is wrong; 3 a bug of ours.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(sim.__version__)
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    pass


app.command("run")(run.run)
app.command("traffic")(traffic.traffic)
app.command("compile")(compile_.compile_profile)
app.command("check")(check.check)
app.command("lifecycle")(lifecycle.lifecycle)
app.command("audit")(audit.audit)
app.command("list")(list_.list_entries)
app.command("conform")(conform.conform)
app.command("validate")(validate.validate)
app.command("import")(import_.import_results)
app.command("microbench")(microbench.microbench)
app.add_typer(calibrate.app, name="calibrate")


def main() -> None:
    """Run the command ``tokenfleet`` with the process's own arguments."""
    app()
