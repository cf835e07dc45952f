"""W-TinyLFU with a window of 1 %, which never changes, as an oracle; counts are exact where a sketch would estimate."""

from __future__ import annotations

from collections import OrderedDict


class WTinyLFU:
    """A window of newcomers, admission by frequency, a segmented LRU behind it (Einziger et al., TOS 2017)."""

    def __init__(self, size: int, mean_weight: float) -> None:
        self.window_size = max(size // 100, 1)
        self.protected_size = (size - self.window_size) * 0.8
        self.size = size
        self.window: OrderedDict[int, int] = OrderedDict()
        self.probation: OrderedDict[int, int] = OrderedDict()
        self.protected: OrderedDict[int, int] = OrderedDict()
        self.window_total = self.probation_total = self.protected_total = 0
        self.counts: dict[int, int] = {}
        self.added, self.period = 0, 10 * max(size / mean_weight, 1)

    def access(self, key: int, weight: int, cost: float) -> bool:
        self.count(key)
        if key in self.window:
            self.window.move_to_end(key)
        elif key in self.protected:
            self.protected.move_to_end(key)
        elif key in self.probation:
            self.promote(key)
        else:
            if weight <= self.size:
                self.window[key] = weight
                self.window_total += weight
                self.make_room()
            return False
        return True

    def count(self, key: int) -> None:
        count = self.counts.get(key, 0)
        if count < 15:
            self.counts[key] = count + 1
            self.added += 1
            if self.added >= self.period:
                self.added //= 2
                self.counts = {key: count // 2 for key, count in self.counts.items() if count > 1}

    def promote(self, key: int) -> None:
        weight = self.protected[key] = self.probation.pop(key)
        self.probation_total -= weight
        self.protected_total += weight
        while self.protected_total > self.protected_size:
            key, weight = self.protected.popitem(last=False)
            self.probation[key] = weight
            self.protected_total -= weight
            self.probation_total += weight

    def make_room(self) -> None:
        """Send what the window has too much on; while all is too heavy, the less frequent of it and the victim leaves."""
        candidates = []
        while self.window_total > self.window_size:
            key, weight = self.window.popitem(last=False)
            self.window_total -= weight
            self.probation[key] = weight
            self.probation_total += weight
            candidates.append(key)
        candidates.reverse()
        while self.window_total + self.probation_total + self.protected_total > self.size:
            victim = next(iter(self.probation), None)
            if victim is None:
                self.protected_total -= self.protected.popitem(last=False)[1]
                continue
            while candidates and candidates[-1] not in self.probation:
                candidates.pop()
            if candidates and (
                victim == candidates[-1] or self.counts.get(candidates[-1], 0) <= self.counts.get(victim, 0)
            ):
                victim = candidates.pop()
            self.probation_total -= self.probation.pop(victim)
