"""``tokenfleet run`` on a scenario with a ladder: every rung, and a table of all."""

from collections.abc import Sequence
from pathlib import Path

from sim.cli import output
from sim.cli.progress import watch
from sim.spec import Scenario


def run_ladder(
    spec: Scenario, name: str, changes: Sequence[str], *, clock: str, leap: bool, folder: Path, json: bool, report: bool
) -> None:
    """Play the rungs of `spec`'s ladder, each into a folder of its own, and print how they compare."""
    import sim
    from sim.metrics.writer import check_output
    from sim.study import ladder

    def play(rung: str, scenario: Scenario) -> "sim.Run":
        with watch(f"{spec.name}/{rung}", start_s=-scenario.run_in_s, end_s=scenario.horizon_s) as progress:
            return sim.run(scenario, clock=clock, leap=leap, progress=progress)

    rungs = ladder.load_rungs(name, changes)
    check_output(folder)
    climbed = []
    for one in ladder.climb(spec.ladder, rungs, play):
        climbed.append(one)
        if one.run is not None:
            one.run.write(folder / one.rung.override)
            if report:
                one.run.report(folder / one.rung.override / "report.html")
    rows = ladder.table(climbed)
    ladder.write_table(folder, rows)

    if json:
        output.print_json({"ladder": rows})
    else:
        from sim.report.ladder import render_ladder

        output.show(render_ladder(spec.name, rows))
    output.say(f"Table: {folder / ladder.TABLE}; a folder for each rung beside it")
