"""Exercises of later lessons."""

from sim.study.exercises.exercise import Exercise

EXERCISES: tuple[Exercise, ...] = ()
