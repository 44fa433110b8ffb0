"""What happens at control pace: SimPy processes, the two clocks, and the run of a scenario."""
