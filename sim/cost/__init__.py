"""How long and how big: a model on a GPU, compiled to step times, memory and power."""

from sim.cost.calibration import Calibration
from sim.cost.card import CardRow
from sim.cost.pool import compile_pool
from sim.cost.profile import Profile, compile
from sim.cost.speculation import Speculation
from sim.cost.step_times import StepTimes

__all__ = ["Calibration", "CardRow", "Profile", "Speculation", "StepTimes", "compile", "compile_pool"]
