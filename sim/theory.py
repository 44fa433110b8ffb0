"""Queueing theory: what a queue does in the long run. Laws to hold a simulation against, and quick estimates.

Everywhere `rate_per_s` is the arrival rate [1/s], `service_s` the mean service time of one server [s], and a wait is
the time in the queue alone, before service, under first come, first served where nothing else is said. The time in the
system is the wait plus the service; numbers in queue or system follow by Little's law (`little`).

References
----------
.. [Erlang1917] A. K. Erlang, "Solution of some problems in the theory of probabilities of significance in automatic
   telephone exchanges", Elektroteknikeren 13, 1917.
.. [Kleinrock1975] L. Kleinrock, Queueing Systems, Volume 1: Theory, Wiley, 1975.
.. [Little1961] J. D. C. Little, "A proof for the queuing formula: L = lambda W", Operations Research 9(3), 1961.
.. [Kingman1961] J. F. C. Kingman, "The single server queue in heavy traffic", Math. Proc. Cambridge Phil. Soc. 57(4),
   1961.
.. [Kingman1962] J. F. C. Kingman, "Some inequalities for the queue GI/G/1", Biometrika 49(3/4), 1962.
.. [Cobham1954] A. Cobham, "Priority assignment in waiting line problems", Operations Research 2(1), 1954.
.. [Allen1990] A. O. Allen, Probability, Statistics, and Queueing Theory, 2nd edition, Academic Press, 1990.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise


def erlang_b(load: float, num_servers: int) -> float:
    """Share of arrivals lost where nobody waits (M/G/c/c).

    Parameters
    ----------
    load
        Offered load a = arrival rate x mean service time [erlang].
    num_servers
        Number of servers c, 0 or more.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Notes
    -----
    B(a, 0) = 1; B(a, c) = a B(a, c-1) / (c + a B(a, c-1)), which is (a^c / c!) / sum_{k=0}^{c} a^k / k! without its
    large numbers [Erlang1917]_. It holds for every distribution of the service time.
    """
    if load < 0.0 or num_servers < 0:
        raise ValueError(f"load and number of servers must not be negative, not {load:g} and {num_servers}")
    blocked = 1.0
    for c in range(1, num_servers + 1):
        blocked = load * blocked / (c + load * blocked)
    return blocked


def erlang_c(load: float, num_servers: int) -> float:
    """Share of arrivals that must wait (M/M/c).

    Parameters
    ----------
    load
        Offered load a = arrival rate x mean service time [erlang], less than `num_servers`.
    num_servers
        Number of servers c, 1 or more.

    Raises
    ------
    ValueError
        The queue has no steady state, or a parameter is out of range.

    Notes
    -----
    C(a, c) = B / (1 - (a/c) (1 - B)), B = B(a, c) of `erlang_b` [Erlang1917]_.
    """
    _steady(load / num_servers if num_servers > 0 else 1.0)
    blocked = erlang_b(load, num_servers)
    return blocked / (1.0 - load / num_servers * (1.0 - blocked))


def mm1_wait_s(rate_per_s: float, service_s: float) -> float:
    """Mean wait of M/M/1 [s].

    Notes
    -----
    W = S rho / (1 - rho), rho = lambda S [Kleinrock1975]_, section 3.2. Raises ValueError if rho >= 1.
    """
    return mg1_wait_s(rate_per_s, service_s, 1.0)


def md1_wait_s(rate_per_s: float, service_s: float) -> float:
    """Mean wait of M/D/1 [s].

    Notes
    -----
    W = S rho / (2 (1 - rho)), half of M/M/1 [Kleinrock1975]_, section 5.7. Raises ValueError if rho >= 1.
    """
    return mg1_wait_s(rate_per_s, service_s, 0.0)


def mg1_wait_s(rate_per_s: float, service_s: float, service_scv: float) -> float:
    """Mean wait of M/G/1 by Pollaczek and Khinchine [s].

    Parameters
    ----------
    rate_per_s
        Arrival rate [1/s].
    service_s
        Mean service time [s].
    service_scv
        Squared coefficient of variation of the service time: variance / mean^2.

    Raises
    ------
    ValueError
        The queue has no steady state, or a parameter is out of range.

    Notes
    -----
    W = lambda E[S^2] / (2 (1 - rho)) = S rho (1 + scv) / (2 (1 - rho)) [Kleinrock1975]_, section 5.6.
    """
    busy_frac = _steady(rate_per_s * service_s, service_scv)
    return service_s * busy_frac * (1.0 + service_scv) / (2.0 * (1.0 - busy_frac))


def mmc_wait_s(rate_per_s: float, service_s: float, num_servers: int) -> float:
    """Mean wait of M/M/c [s].

    Notes
    -----
    W = C(a, c) S / (c - a), a = lambda S [Kleinrock1975]_, section 3.5. Raises ValueError if a >= c.
    """
    load = rate_per_s * service_s
    return erlang_c(load, num_servers) * service_s / (num_servers - load)


def ggc_wait_s(rate_per_s: float, service_s: float, num_servers: int, arrival_scv: float, service_scv: float) -> float:
    """Mean wait of G/G/c by Allen and Cunneen [s]: an approximation.

    Parameters
    ----------
    rate_per_s
        Arrival rate [1/s].
    service_s
        Mean service time [s].
    num_servers
        Number of servers c.
    arrival_scv, service_scv
        Squared coefficients of variation of inter-arrival and service times.

    Raises
    ------
    ValueError
        The queue has no steady state, or a parameter is out of range.

    Notes
    -----
    W = (arrival_scv + service_scv) / 2 x the wait of M/M/c [Allen1990]_; with one server this is Kingman's formula
    [Kingman1961]_. Exact for M/M/c and M/G/1.
    """
    _steady(rate_per_s * service_s / num_servers, arrival_scv, service_scv)
    return 0.5 * (arrival_scv + service_scv) * mmc_wait_s(rate_per_s, service_s, num_servers)


def gg1_wait_bound_s(rate_per_s: float, service_s: float, arrival_scv: float, service_scv: float) -> float:
    """A bound that the mean wait of G/G/1 never exceeds [s].

    Notes
    -----
    W <= lambda (Var A + Var S) / (2 (1 - rho)), A the time between arrivals [Kingman1962]_. Raises ValueError if
    rho >= 1.
    """
    busy_frac = _steady(rate_per_s * service_s, arrival_scv, service_scv)
    variance_s2 = arrival_scv / rate_per_s**2 + service_scv * service_s**2
    return rate_per_s * variance_s2 / (2.0 * (1.0 - busy_frac))


def mg1_priority_waits_s(
    rates_per_s: Sequence[float], services_s: Sequence[float], service_scvs: Sequence[float]
) -> list[float]:
    """Mean wait of each class of M/G/1 with priorities that do not interrupt [s].

    Parameters
    ----------
    rates_per_s, services_s, service_scvs
        Arrival rate, mean service time and its squared coefficient of variation of each class, the first served first.

    Raises
    ------
    ValueError
        The queue has no steady state, or a parameter is out of range.

    Notes
    -----
    W_k = W_0 / ((1 - s_{k-1}) (1 - s_k)), W_0 = sum of lambda_i E[S_i^2] / 2, s_k = rho_1 + ... + rho_k [Cobham1954]_.
    """
    loads = [rate * service_s for rate, service_s in zip(rates_per_s, services_s, strict=True)]
    _steady(sum(loads), *service_scvs)
    parts = zip(loads, services_s, service_scvs, strict=True)
    residual_s = sum(load * service_s * (1.0 + scv) / 2.0 for load, service_s, scv in parts)
    sums = [sum(loads[:k]) for k in range(len(loads) + 1)]
    return [residual_s / ((1.0 - before) * (1.0 - upto)) for before, upto in pairwise(sums)]


def mmc_priority_waits_s(rates_per_s: Sequence[float], service_s: float, num_servers: int) -> list[float]:
    """Mean wait of each class of M/M/c with priorities that do not interrupt [s], the first served first.

    Notes
    -----
    W_k = C(a, c) S / c / ((1 - s_{k-1}) (1 - s_k)), a = all load, s_k = the load of classes up to k over c
    [Cobham1954]_; service times of all classes have one exponential distribution. Raises ValueError if a >= c.
    """
    loads = [rate * service_s / num_servers for rate in rates_per_s]
    residual_s = erlang_c(sum(loads) * num_servers, num_servers) * service_s / num_servers
    sums = [sum(loads[:k]) for k in range(len(loads) + 1)]
    return [residual_s / ((1.0 - before) * (1.0 - upto)) for before, upto in pairwise(sums)]


def md1k_loss_frac(load: float, most: int) -> float:
    """Part of arrivals lost in M/D/1/K, which holds at most `most`, the one in service among them.

    A token bucket of capacity K, refilled at rate r, refuses the same part of a Poisson stream of a r: what the bucket
    lacks is the work of such a queue, whose service time is 1/r.

    Parameters
    ----------
    load
        Offered load: arrival rate x service time.
    most
        Most in the system, at least 1.

    Notes
    -----
    With pi_j, the chance that a departure of M/D/1/K leaves j behind, the loss is 1 - 1/(pi_0 + load); below K the pi_j
    have the proportions of M/D/1 without a limit [Kleinrock1975]_, section 5.6.
    """
    if load <= 0.0 or most < 1:
        raise ValueError(f"a load > 0 and room for at least one are needed, got {load:g} and {most}")
    coming = [math.exp(-load + k * math.log(load) - math.lgamma(k + 1)) for k in range(most + 1)]
    left = [1.0]  # proportions of pi_j
    for j in range(most - 1):
        inner = sum(left[i] * coming[j - i + 1] for i in range(1, j + 1))
        left.append((left[j] - left[0] * coming[j] - inner) / coming[0])
    return 1.0 - 1.0 / (left[0] / sum(left) + load)


def spares_availability(
    num_needed: int, num_spares: int, failures_per_s: float, repair_s: float, num_repairers: int | None = None
) -> float:
    """Share of time in which at least `num_needed` of `num_needed` + `num_spares` machines are up.

    Parameters
    ----------
    num_needed, num_spares
        N and k. Spares run like the others, and fail like them.
    failures_per_s
        Rate at which a machine that is up fails [1/s]; times to failure are exponential.
    repair_s
        Mean repair time [s].
    num_repairers
        Repairs that go on at once; None: as many as there are machines, and then repair times may have any
        distribution.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Notes
    -----
    The number of machines that are down is a birth-death chain: from j to j + 1 at (n - j) lambda, n = N + k, and back
    at min(j + 1, r) / S. So p_{j+1} / p_j = (n - j) lambda S / min(j + 1, r), and the availability is the sum of
    p_0 ... p_k [Kleinrock1975]_, section 3.8. With r >= n it is binomial: each machine is down for
    lambda S / (1 + lambda S) of the time.
    """
    total = num_needed + num_spares
    repairers = total if num_repairers is None else num_repairers
    if num_needed < 1 or num_spares < 0 or repairers < 1 or failures_per_s < 0.0 or repair_s < 0.0:
        raise ValueError(f"no fleet: {num_needed} + {num_spares} machines, {repairers} repairers")
    weights = [1.0]
    for j in range(total):
        weights.append(weights[-1] * (total - j) * failures_per_s * repair_s / min(j + 1, repairers))
    return sum(weights[: num_spares + 1]) / sum(weights)


def spares_needed(num_needed: int, availability_frac: float, failures_per_s: float, repair_s: float) -> int:
    """Fewest spares with which at least `num_needed` machines are up for that share of time, each repaired at once.

    Raises
    ------
    ValueError
        A parameter is out of range; 1 is never reached where machines fail.
    """
    if not 0.0 <= availability_frac < 1.0:
        raise ValueError(f"an availability is at least 0 and less than 1, not {availability_frac:g}")
    num_spares = 0
    while spares_availability(num_needed, num_spares, failures_per_s, repair_s) < availability_frac:
        num_spares += 1
    return num_spares


def little(rate_per_s: float, time_s: float) -> float:
    """Mean number in a system that `rate_per_s` enter and each leaves after `time_s` on average.

    Notes
    -----
    L = lambda W, whatever the distributions and the order of service [Little1961]_. For the number in the queue alone
    give the wait; for the number in service the service time.
    """
    return rate_per_s * time_s


def _steady(busy_frac: float, *scvs: float) -> float:
    """The utilisation, if the queue has a steady state and no variance is negative."""
    if not 0.0 <= busy_frac < 1.0:
        raise ValueError(f"utilisation {busy_frac:g}: a queue has a steady state from 0 to less than 1")
    if any(scv < 0.0 for scv in scvs):
        raise ValueError(f"a squared coefficient of variation must not be negative, not {min(scvs):g}")
    return busy_frac
