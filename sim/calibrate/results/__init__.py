"""Result files of serving benchmarks as measurements: one module for each tool, mapped by definition, not by name.

`files` recognises a file by its shape and reads it; `table` joins what the file says with what the user adds, and
gives the rows that `tokenfleet validate` and `tokenfleet calibrate serving` take.
"""
