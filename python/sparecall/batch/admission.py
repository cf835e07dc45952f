"""What a batcher takes in: sizes, keys and classes of items, deadlines that can be met, and what gives way when the queue is full."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, cast

from sparecall.batch.waiting import PRIORITIES
from sparecall.errors import InvalidArgument, Overloaded, UnknownName

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection, Hashable

    from sparecall.batch.policy import Policy
    from sparecall.batch.running import Running, Waiter
    from sparecall.batch.waiting import Lane

__all__ = ["Admission", "Queue", "check"]

_INDEX = {name: index for index, name in enumerate(PRIORITIES)}


class Admission:
    """The user's callbacks, which raise at their caller, and the refusals. `refused` counts those at `submit`."""

    __slots__ = ("_drops", "_key_of", "_policy", "_size_of", "refused")

    def __init__(
        self,
        policy: Policy,
        size_of: Callable[[Any], int] | None,
        key_of: Callable[[Any], Hashable] | None,
        overflow: str,
    ) -> None:
        self._policy = policy
        self._size_of, self._key_of = size_of, key_of
        self._drops = overflow == "drop"
        self.refused = 0

    def tokens(self, item: Any) -> int:
        """The item's size, at least 1. Raises what ``size_of`` raises, and `InvalidArgument` for an item that no batch takes."""
        if self._size_of is None:
            return 1
        tokens = self._size_of(item)
        if not isinstance(tokens, int):
            raise TypeError(f"size_of returned {type(tokens).__name__}; return the item's tokens, an int")
        most = self._policy.max_tokens
        if tokens < 0:
            raise InvalidArgument(f"size_of returned {tokens}; return 0 or more")
        if most is not None and tokens > most:
            raise InvalidArgument(
                f"the item has {tokens} tokens, a batch takes {most}; shorten it, or raise max_tokens"
            )
        return max(tokens, 1)

    def lane(self, item: Any, priority: str) -> Lane:
        """Where the item is to wait. Raises what ``key_of`` raises, and `UnknownName` for another priority."""
        index = _INDEX.get(priority)
        if index is None:
            raise UnknownName(f"priority is {priority!r}; give one of {', '.join(PRIORITIES)}")
        return self._policy.waiting.lane(index, None if self._key_of is None else self._key_of(item))

    def in_time(
        self, lane: Lane, tokens: int, now: float, deadline: float, running: Collection[Running], permits: int
    ) -> None:
        """Raises `Overloaded` where the item would be done after its deadline, by what is known of batches."""
        policy = self._policy
        free = 0.0 if permits else policy.free_after(now, [each.load for each in running])
        late = now + free + policy.finish_after(lane, tokens, permits + len(running)) - deadline
        if late > 0:
            self.refused += 1
            wait = max(late, policy.resolution)
            raise Overloaded(
                f"the item would be done {late:.3f} s after its deadline; retry after {wait:.3f} s, or allow more time",
                code="deadline",
                retry_after=wait,
            )

    def victim(self, lane: Lane, concurrent: int) -> Waiter:
        """Who is to go for an item that is to wait in `lane`, of no higher class than that; `Overloaded` where nobody is."""
        found = self._policy.waiting.oldest_of_lowest() if self._drops else None
        if found is None or found[1] < lane.group.lanes.index(lane):
            self.refused += 1
            raise self.overloaded("full", f"{self._policy.waiting.items} items wait, the most that may", concurrent)
        return cast("Waiter", found[0])

    def overloaded(self, code: str, why: str, concurrent: int) -> Overloaded:
        """The refusal, with the time after which there is room."""
        wait = self._policy.room_after(concurrent)
        return Overloaded(f"{why}; retry after {wait:.3f} s", code=code, retry_after=wait)


class Queue:
    """Callers who wait for room, first come, first served."""

    __slots__ = ("_callers",)

    def __init__(self) -> None:
        self._callers: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._callers)

    async def wait(self, future: asyncio.Future[None], room: Callable[[], int]) -> None:
        """Waits for room by a future of the running loop. ``room()``: for how many there is some."""
        self._callers.append(future)
        try:
            await future
        except BaseException:
            if not future.cancelled():
                self.go_on(room())  # what was meant for this one is another's
            raise

    def go_on(self, room: int) -> None:
        """Lets so many go on."""
        while self._callers and room > 0:
            future = self._callers.popleft()
            if not future.done():
                future.set_result(None)
                room -= 1


def check(
    fn: object,
    permit: object,
    max_items: int,
    max_tokens: int | None,
    size_of: object,
    max_concurrent: int,
    max_waiting: int,
    overflow: str,
    timeout: float | None,
) -> None:
    """Raises for options that a batcher cannot have."""
    if not callable(fn):
        raise TypeError(f"fn must be a function over a list of items, not {type(fn).__name__}")
    if permit is not None and not callable(permit):
        raise TypeError(
            f"permit must be a function of tokens, such as limit.acquire or lambda tokens: lock, not {type(permit).__name__}"
        )
    limits = {
        "max_items": max_items,
        "max_tokens": max_tokens,
        "max_concurrent": max_concurrent,
        "max_waiting": max_waiting,
    }
    for name, value in limits.items():
        if value is not None and value < 1:
            raise InvalidArgument(f"{name} is {value}; give 1 or more")
    if max_tokens is not None and size_of is None:
        raise InvalidArgument("max_tokens needs size_of, which says how many tokens an item has")
    if overflow not in {"wait", "reject", "drop"}:
        raise InvalidArgument(f"overflow is {overflow!r}; give wait, reject or drop")
    if timeout is not None and not 0 < timeout < float("inf"):
        raise InvalidArgument(f"timeout is {timeout}; give seconds above 0, or None")
