"""What a person sees while a simulation runs: simulated time, requests, requests per second."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

Report = Callable[[float, int], None]


@contextmanager
def watch(name: str, *, start_s: float, end_s: float, first: str = "compiling") -> Iterator[Report]:
    """Show a bar on standard error, where that is a terminal; yield what is called with (simulated time, requests).

    Parameters
    ----------
    name : str
        What is simulated.
    start_s, end_s : float
        Simulated time at which the run begins and at which arrivals stop [s].
    first : str
        What is done before the first report.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[clock]}"),
        TextColumn("{task.fields[requests]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(name, total=end_s - start_s, clock=_clock(start_s), requests=first)

        def report(sim_time_s: float, num_requests: int) -> None:
            elapsed_s = bar.tasks[task].elapsed or 0.0
            rate = f", {num_requests / elapsed_s:,.0f}/s" if elapsed_s else ""
            bar.update(
                task,
                completed=sim_time_s - start_s,
                clock=_clock(sim_time_s),
                requests=f"{num_requests:,} requests{rate}",
            )

        yield report


def _clock(time_s: float) -> str:
    minutes, _ = divmod(abs(round(time_s)), 60)
    return f"{'-' if time_s < 0 else ''}{minutes // 60:02d}:{minutes % 60:02d} h"
