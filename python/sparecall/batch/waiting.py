"""What waits to be batched, in order: classes by start-time fair queueing, groups by merge key, deadlines. Pure: no clock, no asyncio.

Start-time fair queueing is Goyal, Vin and Cheng's (SIGCOMM 1996), over cost in tokens, with one flow a class.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

__all__ = ["PRIORITIES", "WEIGHTS", "Item", "Waiting"]

PRIORITIES = ("critical", "high", "normal", "low")
WEIGHTS = {"critical": 8, "high": 4, "normal": 2, "low": 1}
LOOK_AHEAD = 16
"""How many items are looked at for one that fits when the next in line does not."""
PATIENCE = 1.0
"""Seconds: an item without a deadline is ordered inside its class as if it were due so long after it came."""
_SLACK = 64  # tombstones that are always allowed before a queue is rebuilt


class Item:
    """One thing that waits. Whoever runs batches derives its own from this."""

    __slots__ = ("arrived", "deadline", "lane", "passed", "tokens", "value")

    def __init__(self, value: Any, tokens: int, arrived: float, deadline: float | None = None) -> None:
        self.value = value
        self.tokens = tokens
        self.arrived = arrived
        self.deadline = deadline
        self.passed = False  # a batch went without it because it did not fit: the next one does not
        self.lane: Lane | None = None  # where it waits; None before and after

    @property
    def due(self) -> float:
        """What orders items inside a class: the deadline, or without one a patience after the arrival."""
        return self.arrived + PATIENCE if self.deadline is None else self.deadline


class _Class:
    """One priority: its share, and how far it has been served in virtual time."""

    __slots__ = ("heads", "lanes", "start", "weight")

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.start = 0.0  # virtual time at which its next item would start
        self.lanes = 0  # those with items
        self.heads: list[tuple[float, int, Lane]] = []  # a heap; only an entry that its lane still points to counts


class Lane:
    """The items of one class and one merge key: those without deadlines in order of arrival, the others by their due time."""

    __slots__ = ("dated", "entry", "group", "items", "of", "plain", "tokens", "tombs")

    def __init__(self, of: _Class, group: Group) -> None:
        self.of = of
        self.group = group
        self.plain: deque[Item] = deque()
        self.dated: list[tuple[float, int, Item]] = []
        self.items = self.tokens = self.tombs = 0
        self.entry: tuple[float, int, Lane] | None = None

    def head(self) -> Item | None:
        """The next item; those cancelled before it are dropped."""
        plain, dated = self.plain, self.dated
        while plain and plain[0].lane is None:
            plain.popleft()
            self.tombs -= 1
        while dated and dated[0][2].lane is None:
            heappop(dated)
            self.tombs -= 1
        if not dated:
            return plain[0] if plain else None
        return dated[0][2] if not plain or dated[0][0] <= plain[0].due else plain[0]

    def pop(self, item: Item) -> None:
        """Takes out the head."""
        if self.plain and self.plain[0] is item:
            self.plain.popleft()
        else:
            heappop(self.dated)

    def fitting(self, head: Item, room: int) -> Item | None:
        """The largest of the next few items that is no larger than `room`, taken out; the order of the others stays."""
        if self.dated or not self.plain or self.plain[0] is not head:
            return None  # one with a deadline is not overtaken
        best, place = None, 0
        for index, item in enumerate(self.plain):
            if index == LOOK_AHEAD:
                break
            if item.lane is not None and item.tokens <= room and (best is None or item.tokens > best.tokens):
                best, place = item, index
        if best is not None:
            del self.plain[place]
        return best

    def buried(self) -> None:
        """Counts one more tombstone, and rebuilds the queues when most of them is tombstones: O(1) amortised."""
        self.tombs += 1
        if self.tombs > self.items + _SLACK:
            self.plain = deque(item for item in self.plain if item.lane is not None)
            self.dated = [entry for entry in self.dated if entry[2].lane is not None]
            heapify(self.dated)
            self.tombs = 0


class Group:
    """The items of one merge key, which may go into one batch."""

    __slots__ = ("items", "key", "lanes")

    def __init__(self, key: Hashable, classes: list[_Class]) -> None:
        self.key = key
        self.items = 0  # lanes with items
        self.lanes = [Lane(each, self) for each in classes]


class Waiting:
    """All that waits. `add` and `cancel` take O(1) (O(log n) with a deadline), `take` O(1) an item; not thread-safe.

    **How long an item waits.** Let ``b`` be the tokens before it in its class, ``w`` its class's weight, ``W`` the sum of all, ``m`` the
    largest item. It is taken after at most ``b * W / w + m * (W / w + 3)`` tokens of others and its own class have been, with one merge
    key and no item too large for the rest of a batch; one that is waits for one batch more. Deadlines reorder only within a class.
    """

    __slots__ = ("_classes", "_deadlines", "_groups", "_number", "_virtual", "dated", "items", "plain", "tokens")

    def __init__(self, weights: dict[str, int] | None = None) -> None:
        chosen = WEIGHTS if weights is None else weights
        self._classes = [_Class(chosen[name]) for name in PRIORITIES]
        self._groups: dict[Hashable, Group] = {None: Group(None, self._classes)}
        self.plain = self._groups[None].lanes[PRIORITIES.index("normal")]  # where nearly everything goes
        self._virtual = 0.0
        self._number = count()
        self._deadlines: list[tuple[float, int, Item]] = []
        self.dated = 0
        self.items = self.tokens = 0

    def __iter__(self) -> Iterator[Item]:
        for group in self._groups.values():
            for lane in group.lanes:
                yield from (
                    item for item in (*lane.plain, *(entry[2] for entry in lane.dated)) if item.lane is not None
                )

    def lane(self, priority: int, key: Hashable) -> Lane:
        """Where items of this class, an index into `PRIORITIES`, and merge key wait."""
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(key, self._classes)
        return group.lanes[priority]

    def add(self, item: Item, lane: Lane) -> None:
        """Puts `item` last in `lane`, or where its deadline puts it."""
        item.lane = lane
        if item.deadline is None:
            lane.plain.append(item)
        else:
            due = item.due
            heappush(lane.dated, (due, next(self._number), item))
            heappush(self._deadlines, (item.deadline, next(self._number), item))
            self.dated += 1
            if lane.entry is not None and due < lane.entry[0]:
                self._place(lane, due)
        lane.tokens += item.tokens
        self.items += 1
        self.tokens += item.tokens
        lane.items += 1
        if lane.items == 1:
            self._woken(lane, item.due)

    def cancel(self, item: Item) -> bool:
        """Makes a waiting item a tombstone and returns its place and tokens; False where it does not wait. O(1)."""
        lane = item.lane
        if lane is None:
            return False
        self._leave(item, lane)
        lane.buried()
        if not lane.items:
            self._asleep(lane)
        return True

    def take(self, max_items: int, max_tokens: int | None) -> tuple[list[Item], bool]:
        """Takes the next batch: one merge key, at most so many items and tokens; and whether it is as full as it can be.

        An item of more than `max_tokens` goes alone. Call it only when something waits.
        """
        first = self._next()
        lanes = [lane for lane in first.group.lanes if lane.items]
        if len(lanes) == 1 and not first.dated and (max_tokens is None or first.tokens <= max_tokens):
            taken = self._taken(first, max_items)
        else:
            taken = self._filled(first, lanes, max_items, max_tokens)
        full = len(taken) == max_items
        for lane in first.group.lanes:
            if lane.items:
                full = True
                self._place(lane)
            elif lane.entry is not None:
                self._asleep(lane)
        return taken, full

    def _taken(self, lane: Lane, most: int) -> list[Item]:
        """The plain case: one class, every item fits, no deadlines."""
        plain = lane.plain
        if lane.items <= most:
            taken = [item for item in plain if item.lane is not None]
            plain.clear()
            lane.tombs = 0
        else:
            taken = []
            while len(taken) < most:
                item = plain.popleft()
                if item.lane is None:
                    lane.tombs -= 1
                else:
                    taken.append(item)
        for item in taken:
            item.lane = None
        tokens = lane.tokens if len(taken) == lane.items else sum([item.tokens for item in taken])
        lane.items -= len(taken)
        lane.tokens -= tokens
        self.items -= len(taken)
        self.tokens -= tokens
        lane.of.start += tokens / lane.of.weight
        return taken

    def _filled(self, lane: Lane, lanes: list[Lane], max_items: int, max_tokens: int | None) -> list[Item]:
        """The general case: item by item, the class that is furthest behind first."""
        taken: list[Item] = []
        room = max_tokens
        while len(taken) < max_items:
            head = lane.head() if room is None or room > 0 else None
            item = head
            if head is not None and taken and room is not None and head.tokens > room:
                item = None if head.passed else lane.fitting(head, room)
                head.passed = True
            elif head is not None:
                lane.pop(head)
            if item is None:
                lanes.remove(lane)
            else:
                taken.append(item)
                self._leave(item, lane)
                lane.of.start += item.tokens / lane.of.weight
                if room is not None:
                    room -= item.tokens
                if not lane.items:
                    lanes.remove(lane)
            if not lanes:
                break
            if len(lanes) > 1 or lane is not lanes[0]:
                lane = min(lanes, key=_start)
        return taken

    def next_arrival(self) -> float:
        """When the item that is served next came. Call it only when something waits."""
        head = self._next().head()
        return 0.0 if head is None else head.arrived

    def next_group(self) -> tuple[int, int]:
        """Items and tokens that wait for the merge key that is served next. Call it only when something waits."""
        lanes = self._next().group.lanes
        return sum([lane.items for lane in lanes]), sum([lane.tokens for lane in lanes])

    def earliest(self) -> float | None:
        """The first deadline of all that waits, or None."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][2].lane is None:
            heappop(deadlines)
        return deadlines[0][0] if deadlines else None

    def expired(self, now: float) -> list[Item]:
        """Takes out all whose deadline has passed."""
        found = []
        while (deadline := self.earliest()) is not None and deadline <= now:
            item = heappop(self._deadlines)[2]
            self.cancel(item)
            found.append(item)
        return found

    def oldest_of_lowest(self) -> tuple[Item, int] | None:
        """The item to drop first, the oldest of the lowest class, and that class. O(groups)."""
        for priority in reversed(range(len(PRIORITIES))):
            heads = []
            for group in self._groups.values():
                lane = group.lanes[priority]
                lane.head()  # drops tombstones
                heads += [item for item in (*list(lane.plain)[:1], *(entry[2] for entry in lane.dated)) if item.lane]
            if heads:
                return min(heads, key=_arrived), priority
        return None

    def ahead(self, lane: Lane) -> tuple[int, int]:
        """About how many items and tokens are served before one more in `lane`: its own, its group's other classes by share, other keys."""
        items, tokens = self.items, self.tokens
        for other in lane.group.lanes:
            if other is not lane:
                part = other.of.weight / lane.of.weight
                items -= max(0, other.items - int((lane.items + 1) * part))
                tokens -= max(0, other.tokens - int((lane.tokens + 1) * part))
        return items, tokens

    def _next(self) -> Lane:
        """The lane whose head is served next."""
        chosen = min((each for each in self._classes if each.lanes), key=_virtual_start)
        self._virtual = max(self._virtual, chosen.start)
        heads = chosen.heads
        while heads[0] is not heads[0][2].entry:
            heappop(heads)
        return heads[0][2]

    def _woken(self, lane: Lane, due: float) -> None:
        own = lane.of
        if not own.lanes:
            own.start = max(own.start, self._virtual)
        own.lanes += 1
        lane.group.items += 1
        self._place(lane, due)

    def _asleep(self, lane: Lane) -> None:
        lane.entry = None
        lane.of.lanes -= 1
        group = lane.group
        group.items -= 1
        if not group.items and group.key is not None:
            self._groups.pop(group.key, None)

    def _place(self, lane: Lane, due: float | None = None) -> None:
        """Orders a lane among those of its class by when its head is due."""
        if due is None:
            head = lane.head()
            due = 0.0 if head is None else head.due
        heads = lane.of.heads
        lane.entry = (due, next(self._number), lane)
        heappush(heads, lane.entry)
        if len(heads) > 2 * lane.of.lanes + _SLACK:
            lane.of.heads = [entry for entry in heads if entry is entry[2].entry]
            heapify(lane.of.heads)

    def _leave(self, item: Item, lane: Lane) -> None:
        item.lane = None
        lane.items -= 1
        lane.tokens -= item.tokens
        self.items -= 1
        self.tokens -= item.tokens
        if item.deadline is not None:
            self.dated -= 1
            if len(self._deadlines) > 2 * self.dated + _SLACK:
                self._deadlines = [entry for entry in self._deadlines if entry[2].lane is not None]
                heapify(self._deadlines)


def _start(lane: Lane) -> float:
    return lane.of.start


def _virtual_start(each: _Class) -> float:
    return each.start


def _arrived(item: Item) -> float:
    return item.arrived
