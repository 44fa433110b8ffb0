"""Expected tokens of a conversation, with history and the cut at the context limit."""

import numpy as np
from numpy.typing import NDArray

from sim.traffic.arrivals import TrafficClass
from sim.traffic.daily import turn_survival
from sim.traffic.lengths import Table, table_mean, tokens
from sim.traffic.summary import Volume

_BINS = 2048
_SAMPLES = 1 << 13


def conversation_tokens(traffic_class: TrafficClass, turns: Table, factor: float = 1.0) -> tuple[float, float]:
    """Expected prompt and output tokens of a whole conversation, all turns together.

    Prompts count in full, cached or not. With X_k = user + output tokens of turn k (X_0 may differ from the others) and
    c = max_context - prefix, turn k's prompt and output together are prefix + min(X_0 + ... + X_k, c), as history is
    dropped at the limit; so

        E[prompt] = sum over k of P(N > k) (prefix + E[min(X_0 + ... + X_k, c)] - E[output]).

    A first turn is never cut, and a later turn too long for the limit by itself is neglected. So are refusals: of a
    class that does not truncate this is what truncation would give.

    Parameters
    ----------
    traffic_class
        Its tables and limits.
    turns
        Quantile table of the number of turns.
    factor
        The class's `length_factor` of one language.

    Returns
    -------
    prompt_tokens, output_tokens : float
    """
    survival = turn_survival(turns)
    first, single = first_tables(traffic_class)
    lengths = factor * np.array([first, traffic_class.user_tokens, traffic_class.output_tokens])
    lengths[2] = np.minimum(lengths[2], traffic_class.max_output_tokens)
    first_user, user, output = map(table_mean, lengths)
    num_turns, alone = float(survival.sum()), 1.0 - float(survival[1:2].sum())
    prompt = num_turns * traffic_class.prefix_tokens + (num_turns - 1.0) * user
    prompt += (1.0 - alone) * first_user + alone * table_mean(factor * single)
    if traffic_class.keep_history:
        later = survival[1:]
        earlier = (first_user + output) * float(later.sum()) + (user + output) * float(np.arange(len(later)) @ later)
        limit = traffic_class.max_context_tokens - traffic_class.prefix_tokens
        prompt += earlier - _dropped(lengths, survival, limit)
    return prompt, num_turns * output


def first_tables(traffic_class: TrafficClass) -> tuple[Table, Table]:
    """The quantile tables of the first turn's new tokens: of conversations that go on, and of those that do not."""
    first, single = traffic_class.first_user_tokens, traffic_class.single_user_tokens
    first = traffic_class.user_tokens if first is None else first
    return first, first if single is None else single


def volume_of(traffic_class: TrafficClass, turns: Table, conversations: float) -> Volume:
    """What so many conversations of a class are expected to send; first turns may differ from the others."""
    prompt, output = conversation_tokens(traffic_class, turns)
    requests, usual = conversations * table_mean(turns), table_mean(traffic_class.user_tokens)
    first, single = (table_mean(table) for table in first_tables(traffic_class))
    more = float(turn_survival(turns)[1:2].sum())
    return Volume(
        traffic_class.name,
        traffic_class.tier,
        conversations=conversations,
        requests=requests,
        prompt_tokens=conversations * prompt,
        output_tokens=conversations * output,
        user_tokens=requests * usual + conversations * (more * (first - usual) + (1.0 - more) * (single - usual)),
    )


def _dropped(lengths: NDArray[np.float64], survival: Table, limit: int) -> float:
    """Expected history tokens dropped from prompts: sum over k >= 1 of P(N > k) E[(X_0 + ... + X_k - c)+]."""
    first, user, output = lengths
    longest = first[-1] + len(survival) * (user[-1] + output[-1] + 1.0)
    if limit <= 0 or longest <= limit:
        return 0.0
    # The distribution of one turn's tokens on _BINS equal steps up to the limit; what is beyond stays beyond.
    step = limit / _BINS
    u = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    begun, asked, answered = (_on_grid(tokens(table, u) / step) for table in (first, user, output))
    sums, one, excess = _add(begun, answered), _add(asked, answered), 0.0
    mean, more = table_mean(first) + table_mean(output), table_mean(user) + table_mean(output)
    for k in range(1, len(survival)):
        sums, mean = _add(sums, one), mean + more
        within = step * float(np.arange(len(sums)) @ sums) + limit * (1.0 - float(sums.sum()))
        excess += float(survival[k]) * max(mean - within, 0.0)
    return excess


def _on_grid(steps: Table) -> Table:
    """Probabilities on whole steps below the limit; a value between two is shared by them, which keeps its mean."""
    i = np.floor(steps).astype(np.int64)
    later = steps - i
    mass = np.bincount(i, 1.0 - later, _BINS + 2)[:_BINS] + np.bincount(i + 1, later, _BINS + 2)[:_BINS]
    return mass / len(steps)


def _add(a: Table, b: Table) -> Table:
    """Probabilities, below the limit, of the sum of two independent values."""
    size = 2 * _BINS
    return np.maximum(np.fft.irfft(np.fft.rfft(a, size) * np.fft.rfft(b, size), size)[:_BINS], 0.0)
