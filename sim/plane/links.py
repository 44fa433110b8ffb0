"""Links that carry KV from one place to another: one transfer at a time, in the order in which they were posted.

A transfer of b bytes posted at t begins at max(t, end of the one before), occupies the link for b / bandwidth and
arrives a latency later; the latency occupies nothing. Once posted it is carried out.
"""

# ruff: noqa: ANN001, ANN201
from sim.plane.compiled import jit
from sim.plane.events import emit
from sim.plane.tables import TRANSFER, link_at, load_at


@jit
def wait_s(p, link, now):
    """How long a transfer that is posted now waits for those before it [s]."""
    return max(link_at(p.links, link).free_at_s - now, 0.0)


@jit
def carry_s(p, link, num_bytes):
    """How long a link takes for so many bytes, once they begin [s]."""
    x = link_at(p.links, link)
    return num_bytes / x.bytes_per_s + x.latency_s


@jit
def post(p, slot, link, num_bytes, now):
    """Put what a request loads on a link."""
    x, load = link_at(p.links, link), load_at(p.loads, slot)
    took_s = num_bytes / x.bytes_per_s
    x.free_at_s = max(x.free_at_s, now) + max(took_s * load.least_frac, took_s - load.ahead_s)
    x.busy_s += took_s
    x.num_bytes += num_bytes
    x.num_transfers += 1
    load.link = link
    load.next = -1
    load.posted_s = now
    load.arrives_s = x.free_at_s + x.latency_s
    if x.head < 0:
        x.head = slot
        emit(p, load.arrives_s, TRANSFER, link, link)
    else:
        load_at(p.loads, x.tail).next = slot
    x.tail = slot


@jit
def take_arrived(p, link):
    """The request whose transfer has just arrived; the one after it is the link's next event."""
    x = link_at(p.links, link)
    slot = x.head
    x.head = load_at(p.loads, slot).next
    if x.head >= 0:
        emit(p, load_at(p.loads, x.head).arrives_s, TRANSFER, link, link)
    return slot
