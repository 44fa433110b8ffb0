"""Measured serving: rows to points, points to scenarios, scenarios played, scored, and fitted to."""
