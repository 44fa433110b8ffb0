"""A run that keeps the record of every request, where a Run keeps counts, sums and a sample."""

from functools import cached_property

import numpy as np

from sim.fleet.build import build
from sim.fleet.run import Player


class Recorder(Player):
    """Plays a scenario at once."""

    def __init__(self, scenario, clock="compiled", *, leap=True):
        super().__init__(build(scenario), clock, leap, None, num_planes=1)
        self.parts, add = [], self.take
        self.take = lambda rows: (self.parts.append(rows), add(rows))
        self.run = self.play()
        self.result = self.run.result
        (only,) = self.plays
        self.plane = only.plane

    @cached_property
    def records(self):
        """All records (dtype DONE), the run-in's among them, in order of arrival."""
        rows = np.concatenate(self.parts)
        return rows[np.argsort(rows["serial"])]

    @cached_property
    def measured(self):
        """The records of requests that came at or after t = 0."""
        return self.records[self.records["arrived_s"] >= 0.0]
