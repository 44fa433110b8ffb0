"""What each way to end means to the shell: 0 done, 1 no, 2 wrong input, 3 a bug of ours."""

import traceback
from typing import Any

import typer
from typer.core import TyperGroup

import sim
from sim.errors import TokenfleetError

A_BUG_OF_OURS = 3


class Verbs(TyperGroup):
    """The group of all verbs; turns an exception into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen verb."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException, BrokenPipeError, EOFError):
            raise  # typer's own affairs
        except TokenfleetError as error:
            notes = getattr(error, "__notes__", [])
            typer.echo("\n".join([f"{type(error).__name__}: {error}", *notes]), err=True)
            raise typer.Exit(error.exit_code) from None
        except MemoryError as error:
            said = f" ({error})" if str(error) else ""
            typer.echo(
                f"MemoryError: not enough memory for `{ctx.invoked_subcommand}`{said}. Make the scenario smaller "
                "(fewer requests, replicas or max_num_batched_tokens), or use a machine with more memory.",
                err=True,
            )
            raise typer.Exit(TokenfleetError.exit_code) from None
        except Exception:  # noqa: BLE001  (whatever it is, it is reported below)
            traceback.print_exc()
            typer.echo(
                f"\nThis is a bug in tokenfleet {sim.__version__}, not in your input. Please report it with the lines "
                "above and the command that led to them.",
                err=True,
            )
            raise typer.Exit(A_BUG_OF_OURS) from None
