"""Autoscaling: who decides how many replicas a pool has, and how long it takes until they serve."""
