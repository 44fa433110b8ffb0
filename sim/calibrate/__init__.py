"""Measurements against the simulator: fitting what it assumes of hardware and engines, and scoring what it predicts."""
