"""From the energy of GPUs to that of the facility around them, and what it emits."""

from __future__ import annotations

from dataclasses import dataclass

JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True)
class SiteFacts:
    """What metrics must know of the place where a pool stands."""

    name: str
    carbon_g_per_kwh: float
    pue: float
    usd_per_kwh: float
    host_w_per_gpu: float


def facility_kwh(site: SiteFacts, gpu_j: float, gpu_hours: float) -> float:
    """Return the energy that a facility takes for GPUs, their servers and its own plant [kWh].

    (E_gpu + P_host x GPU-hours) x PUE; PUE is the facility's energy over its servers' (ISO/IEC 30134-2).
    """
    return (gpu_j / JOULES_PER_KWH + site.host_w_per_gpu * gpu_hours / 1000.0) * site.pue


def carbon_kg(site: SiteFacts, kwh: float) -> float:
    """Return what so much electricity emits at a site [kg CO2e]: its grid's yearly mean, life cycle included."""
    return kwh * site.carbon_g_per_kwh / 1000.0
