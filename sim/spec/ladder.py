"""Rung: one step of a ladder of overrides that is climbed and compared."""

from __future__ import annotations

from sim.spec.base import Key, Spec, Text


class Rung(Spec):
    """One override of the scenario, and what it is compared with."""

    override: Key
    """What the rung changes: a name in `overrides`. An override without changes is the scenario as it stands."""
    switches: Text
    """What it switches, in words."""
    against: Key | None = None
    """Rung that it is compared with: one before it in the list. Default: none; a new part of the ladder begins."""
    expected: Text = ""
    """What is known beforehand, in words, with its source. Default: nothing."""
