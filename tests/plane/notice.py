"""Plays cases in a process of its own and prints, as JSON, what each shows to be wrong with the sim it runs on.

`python notice.py extents:tiny_pool corner:refund model:async_prefix`: a recorded case on the plane with extents or
with blocks, a world worked by hand, a recorded case on the readable model; `senders:` and `paths:`, a test
of `test_reactions` and of `test_paths`.
"""

import json
import sys
from pathlib import Path

import test_corners
import test_paths
import test_reactions
from compare import compare
from drive import run_plane
from golden import as_world, differences_of_steps, read_case
from slow_model import play

from sim.errors import CapacityError
from sim.fleet.conform import conform

RECORDED = Path(__file__).parents[1] / "golden"


def differences(check: str) -> list[str]:
    """What a check finds."""
    kind, _, name = check.partition(":")
    if kind == "corner":
        scene = getattr(test_corners, name)()
        return compare(run_plane(scene), play(scene.world, scene.rows, scene.commands, scene.until))
    if kind == "senders":
        getattr(test_reactions, f"test_{name}")()
        return []
    if kind == "paths":
        getattr(test_paths, f"test_{name}")()
        return []
    if kind == "model":
        case = read_case(RECORDED / name)
        world, (rows, segments), ids = as_world(case)
        return differences_of_steps(case, play(world, rows, segments=segments).steps, ids)
    return [str(found) for found in conform([RECORDED / name], cache=kind).failures]


def notice(check: str) -> str:
    """The first thing that a check finds, or nothing."""
    try:
        return next(iter(differences(check)), "")
    except (CapacityError, IndexError, AssertionError) as error:  # the plane, or the build that checks it, found it
        return repr(error)


if __name__ == "__main__":
    print(json.dumps({check: notice(check) for check in sys.argv[1:]}))  # noqa: T201
