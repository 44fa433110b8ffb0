"""``tokenfleet calibrate``: what the simulator assumes of hardware and engines, fitted to measurements."""

import typer

from sim.cli import calibrate_microbench, calibrate_operators, calibrate_serving

app = typer.Typer(help="Fit kernels and engines to measurements.", no_args_is_help=True)
app.command("operators")(calibrate_operators.operators)
app.command("microbench")(calibrate_microbench.microbench)
app.command("compare")(calibrate_microbench.compare)
app.command("serving")(calibrate_serving.serving)
