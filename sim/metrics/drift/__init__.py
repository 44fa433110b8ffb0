"""Has the service changed? Monitors of what leaves a fleet, against its own baseline."""
