"""Operators: kernel timings read from tables, fitted to forms and residual tables, scored on what was held out."""
