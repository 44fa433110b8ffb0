"""What the drawn scenes contain: an agreement over scenes says something only of what happens in them."""

from collections import Counter, defaultdict

import pytest
import slow_replica
from drive import run_plane
from hypothesis import HealthCheck, given, settings
from slow_model import ACTIVE, OFF, Model, play
from slow_replica import DRAINING, BlockPool, Replica
from slow_step import piece_of
from worlds import play_scene, scenes

from sim.fleet.clocks import SimpyClock
from sim.metrics.records import ENDINGS
from sim.plane.owner import Plane
from sim.plane.tables import STEP

ACTIVE, OFF, play, slow_replica
