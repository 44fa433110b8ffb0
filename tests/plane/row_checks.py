"""Reads rows inside and outside their tables, in a build that checks, and prints what was caught (a JSON list).

`python row_checks.py` tries single rows; `... play` tries a plane that is given a class it does not have.
"""

import json
import sys
from dataclasses import replace
from functools import partial

from digests import crowd
from drive import run_plane

from sim.plane.compiled import allocate, jit
from sim.plane.tables import HOLD, WAIT, hold_at, i4_at

NUM_ROWS = 5


@jit
def read(address, i):
    return hold_at(address, i).tokens


@jit
def read_through(address, i):
    return read(address, i)


@jit
def write(address, i):
    hold_at(address, i).tokens = 7


@jit
def read_another_type(address, i):
    return i4_at(address, i).v


def catch(function, *arguments) -> bool:
    try:
        function(*arguments)
    except IndexError as error:
        return "row outside its table" in str(error)
    return False


def single_rows() -> list[str]:
    """Names of the bad accesses that were caught; the good ones are asserted."""
    table, other = allocate(NUM_ROWS, HOLD), allocate(NUM_ROWS, WAIT)
    table["tokens"] = range(10, 10 + NUM_ROWS)
    address = table.ctypes.data
    assert [read(address, i) for i in range(NUM_ROWS)] == [10, 11, 12, 13, 14]
    write(address, NUM_ROWS - 1)
    assert table["tokens"].tolist() == [10, 11, 12, 13, 7]
    bad = {
        "one past the end": (read, address, NUM_ROWS),
        "one before the start": (read, address, -1),
        "far": (read, address, 1 << 40),
        "two calls deep": (read_through, address, NUM_ROWS),
        "written": (write, address, NUM_ROWS),
        "another table": (read, other.ctypes.data, 0),
        "another type": (read_another_type, address, 0),
        "inside the table": (read, address + 3 * HOLD.itemsize, 0),
    }
    caught = [name for name, access in bad.items() if catch(*access)]
    assert table["tokens"].tolist() == [10, 11, 12, 13, 7]
    return caught


def play() -> list[str]:
    """The crowd with one arrival of a class that the world does not know."""
    scene = crowd()
    rows = scene.rows.copy()
    rows["class_id"][5] = len(scene.world.classes)
    scene = replace(scene, rows=rows)
    return [f"{clock} clock" for clock in ("compiled", "simpy") if catch(partial(run_plane, scene, clock=clock))]


if __name__ == "__main__":
    print(json.dumps(play() if sys.argv[1:] == ["play"] else single_rows()))  # noqa: T201
