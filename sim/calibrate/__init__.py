"""Calibration: from measurements of operators and of serving to the profiles of hardware and engines."""
