"""``python -m sim``: the command ``tokenfleet``."""

from sim.cli import main

main()
