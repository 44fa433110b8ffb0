"""The plane as a textbook queue: requests in, waits out; and the recursions that give the same waits by hand."""

from heapq import heapreplace

import numpy as np
from small import kind, pool, world

from sim.fleet.clocks import CompiledClock
from sim.metrics.records import DONE
from sim.plane.owner import Plane
from sim.traffic.arrivals import ARRIVAL, Chunk

CHUNK = 1 << 16
ROOMY = {"num_gpu_blocks": 1 << 30, "block_size": 16}
KEPT = [
    "arrived_s", "scheduled_s", "first_token_s", "end_s", "ending", "replica", "class_id", "output_tokens",
    "prompt_tokens", "gateway_s", "flags",
]  # fmt: skip


def poisson(rng, rate_per_s, num):
    """Arrival times of a Poisson process."""
    return np.cumsum(rng.exponential(1.0 / rate_per_s, num))


def play(t_s, num_tokens, step_s=0.0, *, token_s=0.0, num_servers=1, patience_s=None, router="round_robin", **settings):
    """Play single requests of one prompt token on replicas whose steps take `step_s` + `token_s` x batch.

    Returns the columns KEPT of the records, in order of arrival.
    """
    settings = {"max_num_seqs": num_servers, "max_num_batched_tokens": num_servers + 64} | ROOMY | settings
    main = pool(step_s, token_s, **settings)
    return play_world(world(main, [kind(patience_s=patience_s)], router=router), t_s, num_tokens)


def play_world(played, t_s, num_tokens, *, class_id=0, prompt_tokens=1, bucket=-1, until_s=np.inf):
    """Play single requests on a world of which each has a user of its own; what `play` returns.

    At `until_s` the play ends, and who is still there is in flight.
    """
    plane = Plane(played)
    class_id, prompt_tokens, bucket = (np.broadcast_to(x, len(t_s)) for x in (class_id, prompt_tokens, bucket))

    def chunks():
        for n in range(0, len(t_s), CHUNK):
            rows = np.zeros(len(t_s[n : n + CHUNK]), ARRIVAL)
            rows["t_s"], rows["user"] = t_s[n : n + CHUNK], n + np.arange(len(rows))
            rows["num_turns"] = 1
            rows["user_tokens"], rows["bucket"] = prompt_tokens[n : n + CHUNK], bucket[n : n + CHUNK]
            rows["class_id"] = class_id[n : n + CHUNK]
            rows["output_tokens"] = num_tokens[n : n + CHUNK]
            yield Chunk(rows)

    kept = np.zeros(len(t_s), [(name, DONE[name]) for name in KEPT])
    num_kept = 0

    def sink(rows):
        nonlocal num_kept
        num_kept += len(rows)
        for name in KEPT:
            kept[name][rows["serial"]] = rows[name]

    clock = CompiledClock(plane, chunks(), sink)
    clock.run(until_s)
    if until_s < np.inf:
        for rows in plane.end(until_s):
            sink(rows)
        return kept[:num_kept]
    assert clock.finished
    assert num_kept == len(t_s)
    return kept


def standard_error(values):
    """Standard error of the mean of a stationary series, from the means of 64 batches in a row."""
    batches = np.array([part.mean() for part in np.array_split(values, 64)])
    return batches.std(ddof=1) / np.sqrt(len(batches))


def lindley(t_s, service_s):
    """Waits at one server: W' = max(0, W + S - A) (Lindley 1952), as a walk above its running minimum."""
    walk = np.concatenate([[0.0], np.cumsum(service_s[:-1] - np.diff(t_s))])
    return walk - np.minimum.accumulate(walk)


def kiefer_wolfowitz(t_s, service_s, num_servers):
    """Waits at c servers with one queue (Kiefer, Wolfowitz 1955): the next goes to the server that is free first."""
    free_s = [-np.inf] * num_servers
    waits_s = np.empty(len(t_s))
    for n, (arrived_s, takes_s) in enumerate(zip(t_s.tolist(), service_s.tolist(), strict=True)):
        start_s = max(arrived_s, free_s[0])
        heapreplace(free_s, start_s + takes_s)
        waits_s[n] = start_s - arrived_s
    return waits_s
