"""The compiled `Window` as plain Python: counts over the last seconds in ten buckets, the oldest forgotten whole."""

from __future__ import annotations

BUCKETS = 10


class Window:
    """A sliding window of ``seconds``, forgotten a tenth at a time. ``calls``, ``failed`` and ``slow`` are the sums; O(1) a call.

    `now` never goes back; the caller sees to that.
    """

    __slots__ = ("_bucket", "_buckets", "_ends", "_epoch", "_width", "calls", "failed", "slow")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / BUCKETS
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.calls = self.failed = self.slow = 0
        self._buckets = [[0, 0, 0] for _ in range(BUCKETS)]
        self._bucket = self._buckets[0]
        self._epoch = 0
        self._ends = 0.0  # of the present bucket: nothing is there to be forgotten before

    def pass_to(self, now: float) -> None:
        """Forget what is older than the window at `now`."""
        if now < self._ends:
            return
        epoch = int(now / self._width)
        passed = epoch - self._epoch
        if passed >= BUCKETS or not self.calls:
            self.clear()
        else:
            for past in range(self._epoch + 1, epoch + 1):
                bucket = self._buckets[past % BUCKETS]
                self.calls -= bucket[0]
                self.failed -= bucket[1]
                self.slow -= bucket[2]
                bucket[:] = (0, 0, 0)
        self._epoch = epoch
        self._bucket = self._buckets[epoch % BUCKETS]
        self._ends = (epoch + 1) * self._width

    def add(self, now: float, *, calls: int, failed: bool, slow: bool) -> None:
        """Count at `now`; ``calls`` is 0 where the call itself has been counted already."""
        if now >= self._ends:
            self.pass_to(now)
        bucket = self._bucket
        bucket[0] += calls
        self.calls += calls
        if failed:
            bucket[1] += 1
            self.failed += 1
        if slow:
            bucket[2] += 1
            self.slow += 1
