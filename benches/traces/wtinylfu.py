"""W-TinyLFU with a window of 1 %, which never changes, as an oracle."""

from __future__ import annotations

import struct
from collections import OrderedDict
from hashlib import blake2b

ROWS = 4
HALVES = bytes(count // 2 for count in range(256))


class Sketch:
    """Counts up to 15 in four rows, each four times as long as the cache; all are halved after ten uses an entry."""

    def __init__(self, entries: float) -> None:
        bits = int(4 * max(entries, 16) - 1).bit_length()
        self.rows = [bytearray(1 << bits) for _ in range(ROWS)]
        self.mask, self.added, self.period = (1 << bits) - 1, 0, 10 * max(entries, 1)
        self.known: dict[int, tuple[int, ...]] = {}

    def places(self, key: int) -> tuple[int, ...]:
        places = self.known.get(key)
        if places is None:
            digest = blake2b(key.to_bytes(8, "little"), digest_size=4 * ROWS).digest()
            places = self.known[key] = tuple(place & self.mask for place in struct.unpack(f"<{ROWS}I", digest))
        return places

    def add(self, key: int) -> None:
        places = self.places(key)
        added = False
        for row, place in zip(self.rows, places, strict=True):
            if row[place] < 15:
                row[place] += 1
                added = True
        self.added += added
        if self.added >= self.period:
            self.added //= 2
            self.rows = [row.translate(HALVES) for row in self.rows]

    def count(self, key: int) -> int:
        return min(row[place] for row, place in zip(self.rows, self.places(key), strict=True))


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
        self.sketch = Sketch(size / mean_weight)

    def access(self, key: int, weight: int, cost: float) -> bool:
        self.sketch.add(key)
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
                victim == candidates[-1] or self.sketch.count(candidates[-1]) <= self.sketch.count(victim)
            ):
                victim = candidates.pop()
            self.probation_total -= self.probation.pop(victim)
