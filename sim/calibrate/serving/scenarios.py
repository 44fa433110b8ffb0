"""From a setup to the scenario that is played, and to the part of its requests that is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.serving.lengths import longest_tokens
from sim.calibrate.serving.setup import Setup
from sim.cost import Profile
from sim.metrics.records import COMPLETED
from sim.spec import ClosedLoopTraffic, Fleet, OpenLoopTraffic, Pool, Scenario, Visit

FOREVER_S = 1e6
"""Horizon of a load that ends by itself [s]."""
MOST_REQUESTS = 3000
"""Requests of an open loop that are played where more were sent: enough for means of a steady state."""
WARM_FRAC = 0.1
"""Share of the requests left out at the start, where a part of a long run is played."""
INTERVAL_FRAC = 0.45
"""Share of an open loop's requests expected in an interval; the verdict of the second counts, which begins busy."""
CONSTANT_BURSTINESS = 1e6
"""Shape of the gaps between arrivals at a constant rate: they differ by a thousandth."""
ROUNDS_IN, ROUNDS_MEASURED = 3.0, 3.0
"""A full server: answers that each sequence gives before it is measured, and while it is."""
MORE_USERS_FRAC = 0.07
"""Users beyond the cap on the batch who keep a server full: a queue of a few."""


@dataclass(frozen=True)
class Plan:
    """A scenario and what of it is measured."""

    scenario: Scenario
    first_turn: int = 0
    end_turn: int = 1 << 30
    """Turns of the users of a closed loop that are measured, the last not included."""
    warm_requests: int = 0
    """Requests at the start of an open loop that are not measured."""
    steady: bool = False
    """Throughput is that of the time from 0 to the horizon."""

    def counts(self, rows: NDArray[np.void]) -> NDArray[np.bool_]:
        """Return which requests (dtype DONE) the measurement takes in, shape [rows]."""
        found = (rows["ending"] == COMPLETED) & (rows["turn"] >= self.first_turn) & (rows["turn"] < self.end_turn)
        if self.warm_requests:
            found &= rows["user"] >= self.warm_requests
        if self.steady:
            found &= rows["end_s"] >= 0.0
        return np.asarray(found)


def pool_of(setup: Setup) -> Pool:
    """Return the pool as it is compiled."""
    pool = setup.pool
    if setup.kind == "static":
        batch = int(setup.load)
        longest = longest_tokens(setup.prompts) + longest_tokens(setup.answers)
        blocks = batch * -(-longest // pool.block_size) + 2
        return pool.model_copy(
            update={
                "max_num_seqs": batch,
                "max_num_batched_tokens": max(batch * longest_tokens(setup.prompts), batch),
                "num_gpu_blocks_override": blocks,
            }
        )
    if setup.kind == "saturated":
        batch = int(setup.load)
        return pool.model_copy(
            update={"max_num_seqs": batch, "max_num_batched_tokens": max(pool.max_num_batched_tokens, batch)}
        )
    if setup.kind == "decode_step":
        batch = math.ceil(setup.load)
        return pool.model_copy(update={"max_num_seqs": max(pool.max_num_seqs, batch)})
    if pool.batch_policy == "reserve_full":  # it takes prompts whole
        budget = max(pool.max_num_batched_tokens, longest_tokens(setup.prompts))
        return pool.model_copy(update={"max_num_batched_tokens": budget})
    return pool


def plan_of(setup: Setup, profile: Profile) -> Plan:
    """Return the scenario of a setup; the profile tells how long a steady state takes to come."""
    client, kind = setup.client, setup.kind
    lengths: dict[str, Any] = {
        "input_sequence_length": setup.prompts,
        "output_sequence_length": setup.answers,
    }
    if kind == "open_loop":
        return _open_loop(setup, lengths)
    if kind in ("saturated", "offline"):
        return _full_server(setup, profile, lengths)
    rounds = client.rounds if kind == "closed_loop" else 1
    traffic = ClosedLoopTraffic(
        kind="closed_loop",
        concurrency=max(1, int(setup.load)),
        requests_per_user=rounds,
        reissue_interval_s=0.0 if kind == "static" else client.reissue_interval_s,
        **lengths,
    )
    scenario = _scenario(setup, traffic, horizon=FOREVER_S, report_interval=FOREVER_S)
    if kind == "closed_loop":
        return Plan(scenario, client.first_round, rounds - client.last_round)
    return Plan(scenario)


def _open_loop(setup: Setup, lengths: dict[str, Any]) -> Plan:
    client, sent = setup.client, setup.num_requests
    played = min(sent or MOST_REQUESTS, MOST_REQUESTS)
    traffic = OpenLoopTraffic(
        kind="open_loop",
        rate_per_s=setup.load,
        burstiness=CONSTANT_BURSTINESS if client.arrivals == "constant" else 1.0,
        num_requests=played,
        num_prompts=client.num_prompts,
        **lengths,
    )
    interval_s = INTERVAL_FRAC * played / setup.load
    warm = round(WARM_FRAC * played) if sent is None or sent > played or client.num_prompts else 0
    return Plan(
        _scenario(
            setup,
            traffic,
            horizon=1000.0 * interval_s,  # they all come before
            report_interval=interval_s,
        ),
        warm_requests=warm,
    )


def _full_server(setup: Setup, profile: Profile, lengths: dict[str, Any]) -> Plan:
    """A closed loop of more users than the batch takes, from the time when it is steady."""
    isl, osl = setup.isl, setup.osl
    room = (profile.num_gpu_blocks - 1) * profile.block_size / (isl + osl)
    batch = max(1, int(min(profile.max_num_seqs, room)))
    times = profile.step_times
    context = batch * (isl + 0.5 * osl)
    budget = profile.max_num_batched_tokens
    token_s = (times.batch_s[budget] + times.prefill_step_s) / budget + times.pair_s * isl / 2.0
    round_s = osl * times.step_s(batch, batch, context, batch) + batch * isl * float(token_s)
    traffic = ClosedLoopTraffic(
        kind="closed_loop",
        concurrency=batch + max(2, math.ceil(MORE_USERS_FRAC * batch)),
        requests_per_user=1_000_000,
        **lengths,
    )
    horizon_s = ROUNDS_MEASURED * round_s
    scenario = _scenario(
        setup, traffic, horizon=horizon_s, report_interval=horizon_s, run_in=ROUNDS_IN * round_s, drain=False
    )
    return Plan(scenario, steady=True)


def _scenario(setup: Setup, traffic: ClosedLoopTraffic | OpenLoopTraffic, **times: Any) -> Scenario:
    pool = pool_of(setup)
    if setup.num_prefill_replicas:
        pools = {
            "prefill": pool.model_copy(update={"replicas": setup.num_prefill_replicas}),
            "decode": pool.model_copy(update={"replicas": setup.num_replicas}),
        }
        path = (Visit(pool="prefill", kind="prefill"), Visit(pool="decode", kind="decode"))
        fleet = Fleet(pools=pools, paths={"default": path})
    else:
        whole = setup.num_replicas if setup.kind == "open_loop" else 1
        fleet = Fleet(pools={"main": pool.model_copy(update={"replicas": whole})}, router="round_robin")
    return Scenario(name=setup.bed, traffic=traffic, fleet=fleet, **times)
