"""LRU, SIEVE, S3-FIFO and GDSF as their papers have them, bounded by weight: what a policy has to be as good as.

Each has one method, `access(key, weight, cost)`, which says whether it was a hit, and takes the key in if it was not.
An entry heavier than the cache is refused.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque


class LRU:
    """Least recently used leaves first."""

    def __init__(self, size: int, mean_weight: float) -> None:
        self.size, self.total = size, 0
        self.held: OrderedDict[int, int] = OrderedDict()

    def access(self, key: int, weight: int, cost: float) -> bool:
        if key in self.held:
            self.held.move_to_end(key)
            return True
        if weight <= self.size:
            while self.total + weight > self.size:
                self.total -= self.held.popitem(last=False)[1]
            self.held[key] = weight
            self.total += weight
        return False


class Node:
    """An entry in a ring from oldest to newest."""

    __slots__ = ("key", "newer", "older", "visited", "weight")

    def __init__(self, key: int, weight: int) -> None:
        self.key, self.weight, self.visited = key, weight, False
        self.older = self.newer = self


class Sieve:
    """A hand walks from oldest to newest and takes the first that was not visited since (NSDI 2024)."""

    def __init__(self, size: int, mean_weight: float) -> None:
        self.size, self.total = size, 0
        self.held: dict[int, Node] = {}
        self.ends = self.hand = Node(-1, 0)

    def access(self, key: int, weight: int, cost: float) -> bool:
        node = self.held.get(key)
        if node is not None:
            node.visited = True
            return True
        if weight <= self.size:
            while self.total + weight > self.size:
                self.evict()
            node = self.held[key] = Node(key, weight)
            node.older, node.newer = self.ends.older, self.ends
            node.older.newer = self.ends.older = node
            self.total += weight
        return False

    def evict(self) -> None:
        node = self.hand
        while node is self.ends or node.visited:
            node.visited = False
            node = node.newer
        node.older.newer, node.newer.older = node.newer, node.older
        self.hand = node.newer
        del self.held[node.key]
        self.total -= node.weight


class S3FIFO:
    """A small queue that filters, a main queue with second chances, and ghosts that go straight to it (SOSP 2023)."""

    def __init__(self, size: int, mean_weight: float) -> None:
        self.size, self.small_size = size, max(size // 10, 1)
        self.uses: dict[int, int] = {}
        self.weights: dict[int, int] = {}
        self.small: deque[int] = deque()
        self.main: deque[int] = deque()
        self.ghosts: OrderedDict[int, int] = OrderedDict()
        self.small_total = self.main_total = self.ghost_total = 0

    def access(self, key: int, weight: int, cost: float) -> bool:
        uses = self.uses.get(key)
        if uses is not None:
            if uses < 3:
                self.uses[key] = uses + 1
            return True
        if weight <= self.size:
            while self.small_total + self.main_total + weight > self.size:
                self.evict()
            self.uses[key], self.weights[key] = 0, weight
            if key in self.ghosts:
                self.ghost_total -= self.ghosts.pop(key)
                self.main.append(key)
                self.main_total += weight
            else:
                self.small.append(key)
                self.small_total += weight
        return False

    def evict(self) -> None:
        if self.small_total >= self.small_size or not self.main:
            while self.small:
                key = self.small.popleft()
                weight = self.weights[key]
                self.small_total -= weight
                if self.uses[key] <= 1:
                    self.forget(key)
                    self.haunt(key, weight)
                    return
                self.uses[key] = 0
                self.main.append(key)
                self.main_total += weight
        while self.main:
            key = self.main.popleft()
            if self.uses[key] == 0:
                self.main_total -= self.weights[key]
                self.forget(key)
                return
            self.uses[key] -= 1
            self.main.append(key)

    def forget(self, key: int) -> None:
        del self.uses[key], self.weights[key]

    def haunt(self, key: int, weight: int) -> None:
        self.ghosts[key] = weight
        self.ghost_total += weight
        while self.ghost_total > self.size - self.small_size and len(self.ghosts) > 1:
            self.ghost_total -= self.ghosts.popitem(last=False)[1]


class GDSF:
    """Clock + uses x cost / weight; the clock is the priority of the last that left (GreedyDual-Size-Frequency)."""

    def __init__(self, size: int, mean_weight: float) -> None:
        self.size, self.total, self.clock = size, 0, 0.0
        self.held: dict[int, tuple[float, int, int]] = {}
        self.heap: list[tuple[float, int]] = []

    def access(self, key: int, weight: int, cost: float) -> bool:
        entry = self.held.get(key)
        if entry is None:
            if weight > self.size:
                return False
            while self.total + weight > self.size:
                self.evict()
            self.total += weight
            uses = 1
        else:
            _, weight, uses = entry
            uses += 1
        priority = self.clock + uses * cost / weight
        self.held[key] = (priority, weight, uses)
        heapq.heappush(self.heap, (priority, key))
        return entry is not None

    def evict(self) -> None:
        while True:
            priority, key = heapq.heappop(self.heap)
            entry = self.held.get(key)
            if entry is not None and entry[0] == priority:
                self.clock = priority
                self.total -= entry[1]
                del self.held[key]
                return
