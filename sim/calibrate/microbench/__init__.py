"""Microbenchmarks of a GPU's operators: what `tokenfleet microbench` measures, writes and reads back.

`points` says what a measurement is, `plan` which ones there are, `protocol` how often each is repeated, `timers` and
`works` touch the device (torch, imported inside functions), `session` plays a plan into a `folder`, `tables` and
`compare` put a folder beside other measurements and beside a catalogue's kernels.
"""
