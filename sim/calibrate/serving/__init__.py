"""Serving measurements: rows of a table become points, points become scenarios, scenarios are played and scored."""
