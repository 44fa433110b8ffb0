"""Replicas of the readable model brought from one state to another, one by one."""

from slow_replica import ACTIVE, DRAINING, OFF, Replica

STARTING, WARM = "starting", "warm"
FOLLOWERS = {
    OFF: (STARTING, ACTIVE), STARTING: (WARM, ACTIVE, OFF), WARM: (STARTING, ACTIVE, OFF), ACTIVE: (DRAINING,),
    DRAINING: (),
}  # fmt: skip
"""States that control processes may bring a replica to."""


def change(replica: Replica, state: str) -> None:
    """Bring a replica to another state, where it may come there from its own."""
    if state in FOLLOWERS[replica.state]:
        replica.state = state
        replica.turn_off_if_drained()
