"""Play a scene on the plane, under either clock, and hand over what `compare` wants."""

from collections.abc import Iterator

import numpy as np
from cache_play import observe
from compare import PlaneResult
from slow_replica import ACTIVE, DOWN, DRAINING, OFF
from slow_states import STARTING, WARM
from worlds import Scene

from sim.fleet.clocks import CLOCKS, Clock
from sim.fleet.routers import fail_router
from sim.plane import commands, drifts, failures, tables, watching
from sim.plane.owner import Plane
from sim.traffic.arrivals import Chunk

CODES = {
    OFF: tables.OFF, STARTING: tables.STARTING, WARM: tables.WARM, ACTIVE: tables.ACTIVE, DRAINING: tables.DRAINING,
    DOWN: tables.DOWN,
}  # fmt: skip


def change(address: int, replica: int, state: str, now: float) -> int:
    """Bring a replica to the state that the readable model calls so."""
    return commands.change_replica(address, replica, CODES[state], now)


ACTIONS = {
    "change": change,
    "add": commands.add_replicas,
    "drain": commands.drain_replicas,
    "abort": commands.abort_serial,
    "outages": commands.count_outages,
    "up": failures.bring_up,
    "pace": failures.set_pace,
    "seize": failures.seize_blocks,
    "give_back": failures.give_back_blocks,
    "restore_router": commands.open_router,
    "lengths": drifts.scale_lengths,
    "bust": drifts.bust_prefix,
    "block": drifts.set_block_frac,
}


def fail(player: Clock, numbers: list[int], then: str, on_failure: int) -> None:
    """Replicas fail together."""
    for r in numbers:
        player.act(failures.take_down, r, CODES[then])
    while player.act(failures.evacuate, on_failure):
        pass


PROCEDURES = {
    "fail_router": fail_router,
    "do": lambda player, function: function(player),
    "fail": fail,
    "leave": lambda player, r, then: player.act(failures.drain_replica, r, CODES[then]),
}


def run_plane(
    scene: Scene, *, clock: str = "compiled", leap: bool = True, chunk: int = 3, requests: int = 2
) -> PlaneResult:
    """The plane's play: arrivals in chunks of a few rows, request rows scarce enough to have to grow."""
    plane = Plane(scene.world, leap=leap, num_requests=requests)
    records: list[np.ndarray] = []
    chunks = in_chunks(scene, chunk)
    player = CLOCKS[clock](plane, chunks, records.append)

    def operator() -> Iterator:
        for t_s, verb, *arguments in scene.commands:
            yield player.at(t_s)
            assert player.env.now == t_s
            if verb in PROCEDURES:
                PROCEDURES[verb](player, *arguments)
            else:
                player.act(ACTIONS[verb], *arguments)

    player.env.process(operator())
    player.run(scene.until)
    end_s = min(scene.until, 1e300)
    watching.settle(plane.address, end_s)
    replicas = plane["replicas"]
    cached_blocks = [observe(plane.address, r)[1] for r in range(len(replicas))]  # while the requests are there
    records.extend(plane.end(end_s))
    return PlaneResult(
        records=np.concatenate(records),
        itl=plane.itl.copy(),
        itl_per_token=plane.itl_per_token.copy(),
        drafts=np.array([plane["pools"][name].sum() for name in ("num_drafts", "draft_tokens", "accepted_tokens")]),
        busy_s=replicas["busy_s"].copy(),
        num_steps=replicas["num_steps"].copy(),
        free_blocks=replicas["free"] + replicas["evictable"],
        cached_blocks=np.array(cached_blocks),
        links=plane["links"].copy(),
        tiers=plane["tiers"].copy(),
        spent_s=plane.spent_s.copy(),
    )


def in_chunks(scene: Scene, size: int) -> Iterator[Chunk]:
    """Arrivals, a few rows at a time, with their segments."""
    ends = np.concatenate([[0], np.cumsum(scene.rows["num_segments"])])
    for n in range(0, len(scene.rows), size):
        last = min(n + size, len(scene.rows))
        yield Chunk(scene.rows[n:last], scene.segments[ends[n] : ends[last]])


def identical(a: PlaneResult, b: PlaneResult) -> bool:
    """Whether two runs agree to the last bit."""
    return all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in PlaneResult.__dataclass_fields__)
