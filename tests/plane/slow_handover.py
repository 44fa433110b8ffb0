"""The readable model's answers that are split over two pools: what the first keeps, and how the second fetches it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slow_sequence import RUNNING, Sequence
from slow_transfers import Link

from sim.plane.world import Transfer, Visit, World


@dataclass(eq=False)
class Hold:
    """Blocks of a prompt, at the replica that computed it, until they have been fetched."""

    replica: Any
    seq: Sequence
    step_s: float
    """Time of the step that completed the prompt."""


class Fetch:
    """A decode replica's way to the holds of its requests."""

    def __init__(self, links: dict[Any, Link], release: Callable[[Any, float], None]) -> None:
        self.links = links
        """By the replica at which transfers queue."""
        self.release = release
        """Ends the hold of a request."""

    def loadable(self, seq: Sequence, cached: int, now: float) -> int:  # noqa: ARG002 - as a Host's
        """Leading tokens to load up to; `cached` where there is nothing to load."""
        return cached if seq.request.hold is None else seq.prompt_tokens

    def load(self, seq: Sequence, cached: int, upto: int, now: float) -> None:
        request = seq.request
        transfer = request.path[request.visit].transfer
        link = self.links[request.hold.replica if transfer.push else request.replica]
        link.post(
            seq, (upto - cached) * request.replica.pool.kv_bytes_per_token, now, self.sent(request.hold, transfer)
        )

    @staticmethod
    def sent(hold: Hold, transfer: Transfer) -> tuple[float, float]:
        """What of a transfer is over when the prompt is complete: so much time of it, but for such a part."""
        return (hold.step_s, 1 / transfer.num_layers) if transfer.num_layers else (0.0, 1.0)

    def admitted(self, seq: Sequence) -> None:
        """It needs nothing any more."""
        self.release(seq.request, seq.request.replica.now)

    def write(self, seq: Sequence, now: float) -> None:
        """Nothing is kept elsewhere."""

    def forget(self) -> None:
        """Nothing was kept."""


def link_ends(world: World) -> dict[int, list[Transfer]]:
    """Pools at whose replicas transfers queue, and the transfers."""
    ends: dict[int, list[Transfer]] = {}
    for path in world.paths.values():
        last: Visit = path[-1]
        if last.transfer is not None:
            ends.setdefault(path[-2].pool if last.transfer.push else last.pool, []).append(last.transfer)
    return dict(sorted(ends.items()))


class Handovers:
    """The part of the model that knows of answers that are split."""

    def add_handovers(self) -> None:
        """Give decode replicas their way to what prefill replicas keep."""
        links: dict[Any, Link] = {}
        for number, transfers in link_ends(self.world).items():
            for replica in self.pools[number]:
                bytes_per_s = min(transfer.bytes_per_s for transfer in transfers)
                latency_s = max(transfer.latency_s for transfer in transfers)
                links[replica] = Link(len(self.links), bytes_per_s, latency_s, self.push_transfer)
                self.links.append(links[replica])
        for path in self.world.paths.values():
            if path[-1].kind == "decode":
                for replica in self.pools[path[-1].pool]:
                    replica.host = Fetch(links, self.release_hold)

    def note_schedule(self, request: Any, seq: Sequence) -> None:
        """A step carries a sequence: whoever's first it is."""
        if seq.fetches:
            if not request.path[-1].transfer.first_token_at_prefill:
                request.record["transfer_s"] = seq.scheduled_s - request.prefilled_s
        elif request.answering:
            request.record["scheduled_s"] = seq.scheduled_s

    def hand_over(self, request: Any, now: float) -> None:
        """The prompt is complete: its blocks stay until they have been fetched; a preempted one has none."""
        replica, seq = request.replica, request.seq
        request.prefilled_s = now
        if seq.status == RUNNING:
            replica.keep(seq)
            request.hold = Hold(replica, seq, self.ending.step_s)
            self.tally(request)
            self.vacate(request, now)
        else:
            self.leave(request, now)
        self.next_visit(request, now)

    def release_hold(self, request: Any, now: float) -> None:
        """Nobody fetches what is kept of a prompt any more."""
        if (hold := request.hold) is None:
            return
        request.hold = None
        hold.replica.release(hold.seq)
        hold.replica.num_holds -= 1
        hold.replica.turn_off_if_drained()
        if hold.replica.waiting and not hold.replica.has_event:
            self.schedule_event(hold.replica, now)
