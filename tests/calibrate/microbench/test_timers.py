"""The timer of a GPU, on a device that we play: what is queued in which order, and which times come back."""

import pytest

from sim.calibrate.microbench.timers import FLUSH_BYTES, EventTimer, LaunchTimer


class Played:
    """A torch whose queue is a list; each thing queued takes its time when the device is waited for."""

    def __init__(self):
        self.queue, self.clock, self.cuda = [], 0.0, self

    def zeros(self, *shape, device):
        return (*shape, device)

    def sum(self, *_, **__):
        self.queue.append(("flush", 1.0))

    def _sleep(self, cycles):
        self.queue.append(("sleep", cycles / 2e9))

    def Event(self, enable_timing):  # noqa: N802  (as torch spells it)
        assert enable_timing
        return Event(self)

    def synchronize(self):
        for what, duration in self.queue:
            if what == "event":
                duration.at = self.clock
            else:
                self.clock += duration
        self.done, self.queue = [what for what, _ in self.queue], []


class Event:
    def __init__(self, played):
        self._played, self.at = played, None

    def record(self):
        self._played.queue.append(("event", self))

    def elapsed_time(self, other):
        return (other.at - self.at) * 1e3


@pytest.fixture
def played():
    return Played()


def test_the_queue_is_held_and_the_cache_is_emptied_outside_the_sample(played):
    timer = EventTimer(played)
    times = timer.samples(lambda: played.queue.append(("call", 0.25)), 3)
    assert times == pytest.approx([0.25] * 3)
    assert played.done == ["sleep", *["flush", "event", "call", "event"] * 3]


def test_the_flushed_buffer_is_larger_than_the_cache(played):
    assert EventTimer(played, l2_bytes=50 * 2**20)._buffer == (FLUSH_BYTES // 4, "cuda")
    assert EventTimer(played, l2_bytes=2**30)._buffer == (2**30, "cuda")  # 4 bytes each: four times the cache


def test_launches_are_timed_without_the_wait(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("sim.calibrate.microbench.timers.time.perf_counter", lambda: now[0])

    def advance(seconds):
        now[0] += seconds

    timer = LaunchTimer(lambda: advance(5.0))
    assert timer.samples(lambda: advance(0.5), 3) == [0.5] * 3
    assert timer.now() == 4 * 5.0 + 3 * 0.5
