"""Generated traffic, watched through the window that a trace was recorded through."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.spec import SessionTraffic, Tier
from sim.spec.workload import Workload
from sim.traffic.fit.delays import delays, run_in_s
from sim.traffic.fit.recorded import Recorded
from sim.traffic.sessions import Sessions, sessions
from sim.traffic.texts import Texts
from sim.traffic.traces import HASH_BLOCK_TOKENS
from sim.traffic.turns import Service
from sim.traffic.unfold import Requests, unfold


def playable(workload: Workload, span_s: float) -> Sessions:
    """The workload as a source over a window; with conversations, from as long before it as they reach into it."""
    traffic, tier = SessionTraffic(kind="sessions", workload=workload.name), Tier()
    source = sessions(traffic, workload, tier, seed=0, start_s=0.0, end_s=span_s)
    if not source.traffic_class.keep_history:
        return source
    before_s = run_in_s(delays(source.turns, source.traffic_class.gap_s))
    return sessions(traffic, workload, tier, seed=0, start_s=-before_s, end_s=span_s)


def start_times(source: Sessions, seed: int, recorded: Recorded) -> NDArray[np.float64]:
    """Times at which conversations start, in the steps that the trace's times are recorded in."""
    times_s = list(replace(source.starts, seed=seed).slices())
    return _on_grid(np.concatenate([*times_s, np.zeros(0)]), recorded.grid_s)


def _rows(source: Sessions, seed: int, service: Service, span_s: float) -> NDArray[np.void]:
    """All requests in the window (dtype REQUEST); the source starts early enough that earlier ones reach into it."""
    source = replace(source, starts=replace(source.starts, seed=seed))
    rows = np.concatenate([block.rows for block in unfold(source, seed, service, span_s)])
    return rows[rows["t_s"] >= 0.0]


def watched(source: Sessions, seed: int, service: Service, recorded: Recorded, *, told: bool = True) -> Recorded:
    """All requests in the window; not `told`: without the text of their prompts."""
    rows = _rows(source, seed, service, recorded.span_s)
    return Recorded(
        time_s=_on_grid(rows["t_s"], recorded.grid_s),
        prompt_tokens=rows["prompt_tokens"].astype(np.int64),
        output_tokens=rows["output_tokens"].astype(np.int64),
        blocks=Texts(source.classes, seed).hash_ids(Requests(rows), HASH_BLOCK_TOKENS) if told else None,
        span_s=recorded.span_s,
        grid_s=recorded.grid_s,
    )


def left_for_singles(
    source: Sessions, service: Service, recorded: Recorded, replications: int = 20
) -> NDArray[np.int64]:
    """Prompts of conversations of one turn, such that all prompts together are distributed as the trace's.

    What is left of the trace's distribution when the generated prompts of longer conversations are taken off, each with
    their share: F_single = (F_trace - (1 - w) F_longer) / w, made to rise where noise lets it fall. As many values as
    the trace has.
    """
    found = [_rows(source, 1 + seed, service, recorded.span_s) for seed in range(replications)]
    rows = np.concatenate(found)
    single = rows["num_turns"] == 1
    share = float(single.mean())
    longer, prompts = np.sort(rows["prompt_tokens"][~single]), np.sort(recorded.prompt_tokens)
    of_longer = np.searchsorted(longer, prompts, side="right") / len(longer)
    of_all = np.searchsorted(prompts, prompts, side="right") / len(prompts)
    left = np.maximum.accumulate((of_all - (1.0 - share) * of_longer) / share)
    at = np.searchsorted(left, (np.arange(len(prompts)) + 0.5) / len(prompts))
    return prompts[np.minimum(at, len(prompts) - 1)]


def _on_grid(times_s: NDArray[np.float64], grid_s: float) -> NDArray[np.float64]:
    return np.floor(times_s / grid_s) * grid_s if grid_s else times_s
