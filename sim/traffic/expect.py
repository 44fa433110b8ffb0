"""Expected tokens of a conversation, with history and the cut at the context limit."""

import numpy as np

from sim.traffic.arrivals import TrafficClass
from sim.traffic.daily import turn_survival
from sim.traffic.lengths import Table, table_mean, tokens

_BINS = 2048
_SAMPLES = 1 << 13


def conversation_tokens(traffic_class: TrafficClass, turns: Table) -> tuple[float, float]:
    """Expected prompt and output tokens of a whole conversation, all turns together.

    Prompts count in full, cached or not. With X = user + output tokens of a turn and c = max_context - prefix, turn k's
    prompt and output together are prefix + min(X_0 + ... + X_k, c), as history is dropped at the limit; so

        E[prompt] = sum over k of P(N > k) (prefix + E[min(X_0 + ... + X_k, c)] - E[output]).

    A first turn is never cut, and a later turn too long for the limit by itself is neglected. So are refusals: of a
    class that does not truncate this is what truncation would give.

    Parameters
    ----------
    traffic_class
        Its tables and limits.
    turns
        Quantile table of the number of turns.

    Returns
    -------
    prompt_tokens, output_tokens : float
    """
    survival = turn_survival(turns)
    user, output = table_mean(traffic_class.user_tokens), table_mean(traffic_class.output_tokens)
    num_turns = float(survival.sum())
    prompt = num_turns * (traffic_class.prefix_tokens + user)
    if traffic_class.keep_history:
        earlier = float(np.arange(len(survival)) @ survival)
        prompt += earlier * (user + output) - _dropped(traffic_class, survival, user + output)
    return prompt, num_turns * output


def _dropped(traffic_class: TrafficClass, survival: Table, mean: float) -> float:
    """Expected history tokens dropped from prompts: sum over k >= 1 of P(N > k) E[(X_0 + ... + X_k - c)+]."""
    limit = traffic_class.max_context_tokens - traffic_class.prefix_tokens
    longest = len(survival) * (traffic_class.user_tokens[-1] + traffic_class.output_tokens[-1] + 1.0)
    if limit <= 0 or longest <= limit:
        return 0.0
    # The distribution of one turn's tokens on _BINS equal steps up to the limit; what is beyond stays beyond.
    step = limit / _BINS
    u = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    one = np.ones(1)
    for table in (traffic_class.user_tokens, traffic_class.output_tokens):
        one = _add(one, _on_grid(tokens(table, u) / step))
    sums, excess = one, 0.0
    for k in range(1, len(survival)):
        sums = _add(sums, one)
        within = step * float(np.arange(len(sums)) @ sums) + limit * (1.0 - float(sums.sum()))
        excess += float(survival[k]) * max((k + 1) * mean - within, 0.0)
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
