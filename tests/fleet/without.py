"""Random scenes with something taken out of them."""

from dataclasses import replace

import numpy as np


def without_aborts(scene):
    """The same scene with endless patience and nobody who gives up."""
    classes = tuple(replace(kind, patience_s=None) for kind in scene.world.classes)
    commands = tuple(command for command in scene.commands if command[1] != "abort")
    return replace(scene, world=replace(scene.world, classes=classes), commands=commands)


def without_delays(scene):
    """The same scene with delays of no time: who gives up in the middle of one would have some of it."""
    paths = {
        name: tuple(
            replace(visit, delay_s=None if visit.delay_s is None else np.zeros_like(visit.delay_s)) for visit in path
        )
        for name, path in scene.world.paths.items()
    }
    return replace(scene, world=replace(scene.world, paths=paths))
