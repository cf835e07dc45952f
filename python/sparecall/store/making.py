"""One question for a value: who asks by which rules, what its factory may say of it, what became of it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from sparecall.errors import InvalidArgument
from sparecall.store.route import check_seconds
from sparecall.store.versions import names_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterable

    from sparecall.store.protocol import Entry, Lease
    from sparecall.store.recovery import Place
    from sparecall.store.route import Route


MISSING: Final[Any] = object()


class Making:
    """The making of one value, for its factory: what is known of the old value, and what shall hold for the new one.

    A factory that takes an argument gets this. ``stale`` and ``validator`` are those of the last value, None where there is none:
    ask the source whether it has changed, and return `not_modified` if it has not.
    """

    __slots__ = ("dollars", "modified", "previous", "stale", "store", "tags", "ttl", "validator")

    def __init__(self, stale: Any, previous: Entry | None, *, tags: Iterable[str]) -> None:
        self.stale, self.previous = stale, previous
        self.validator = None if previous is None else previous.validator
        """Set it to what the source shall be asked with next time: an ETag or the like."""
        self.ttl: float | None = None
        """The life of this value in seconds; None leaves it to the call and the route."""
        self.tags: list[str] = list(tags)
        """Add to it what else the value depends on."""
        self.dollars = 0.0
        """What it cost."""
        self.store = True
        """False: the callers who wait get the value, and nobody after them."""
        self.modified = True

    def not_modified(self) -> Any:
        """The stale value, which a factory returns where its source says that it still holds. Raises `InvalidArgument` without one."""
        if self.previous is None:
            raise InvalidArgument("not_modified() was called where no value stands by; look at `validator` first")
        self.modified = False
        return self.stale


class Stale:
    """A value that may be served instead of a fresh one, as long as nothing it depends on moves after event `since`."""

    __slots__ = ("entry", "held", "names", "since")

    def __init__(self, entry: Entry, held: Any, since: int) -> None:
        self.entry, self.held, self.since = entry, held, since
        self.names = names_of(entry.scope, entry.tags)


class Made:
    """What a question got: the value as L1 holds it, made or read after event `began`, and what it depends on.

    `MISSING`: there is none, which can be only where there is no factory.
    """

    __slots__ = ("began", "held", "names")

    def __init__(self, held: Any, began: int, names: tuple[str, ...]) -> None:
        self.held, self.began, self.names = held, began, names


class Ask:
    """A question under way: all callers who ask it at a time share one."""

    __slots__ = (
        "began", "early", "factory", "held_lease", "known_tags", "lease", "limit", "names", "place", "route", "sharing", "tags", "timer",
        "touched", "ttl", "waker",
    )  # fmt: skip

    def __init__(
        self,
        place: Place,
        factory: Callable[..., Any] | None,
        *,
        route: Route,
        ttl: float | Callable[[Any], float] | None = None,
        tags: Iterable[str] | Callable[[Any], Iterable[str]] = (),
        lease: float = 0.0,
        early: Entry | None = None,
    ) -> None:
        self.place, self.route, self.ttl, self.tags, self.lease = place, route, ttl, tags, lease
        self.factory = factory
        """None: it only looks into the tiers."""
        self.known_tags = () if callable(tags) else check_tags(tags)
        self.names = names_of(place[0], self.known_tags)
        """What the value is known to depend on before it is there."""
        self.began, self.touched = 0, -1
        """The last event before the value was made or read, and the one that wrote or deleted its key."""
        self.early = early
        """The fresh value that is refreshed before its end, if that is what it is about."""
        self.limit: asyncio.Timeout | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.waker: asyncio.Future[None] | None = None
        self.held_lease: Lease | None = None
        self.sharing: asyncio.Task[None] | None = None

    def touch(self, event: int) -> None:
        """Its key was written or deleted: a value that was begun before is not kept."""
        self.touched = event
        if self.waker is not None and not self.waker.done():
            self.waker.set_result(None)

    def life(self, value: Any, making: Making) -> float:
        """The life that this value shall have, in seconds, before chance shortens it."""
        if making.ttl is not None:
            return check_seconds("ttl", making.ttl)
        if value is None and making.modified:
            return self.route.negative_ttl or 0.0
        ttl = self.ttl(value) if callable(self.ttl) else self.ttl
        shortest = self.route.ttl if ttl is None else check_seconds("ttl", ttl)
        longest = self.route.max_ttl
        if making.modified or making.previous is None or longest is None:
            return shortest
        return max(shortest, min(longest, 2.0 * (making.previous.expires - making.previous.created)))


def check_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags, each once. Raises `TypeError` for one text instead of several, `InvalidArgument` for what is no tag."""
    if tags == ():
        return ()
    if isinstance(tags, str):
        raise TypeError("tags must be several texts, not one str: write tags=(tag,)")
    several = tuple(dict.fromkeys(tags))
    for tag in several:
        if not isinstance(tag, str) or not 0 < len(tag) <= 256:
            shown = f"of {len(tag)} characters" if isinstance(tag, str) else f"a {type(tag).__name__}"
            raise InvalidArgument(f"a tag is {shown}; give texts of 1 to 256 characters")
    if len(several) > 64:
        raise InvalidArgument(f"there are {len(several)} tags; a value may have 64")
    return several


def takes_making(factory: Callable[..., Any]) -> bool:
    """Whether a factory has a parameter that must be given."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(
        parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        for parameter in parameters
    )


async def call(factory: Callable[..., Awaitable[Any] | Any], making: Making) -> Any:
    """What the factory makes; it may be a coroutine function or a plain one that does not block."""
    value = factory(making) if takes_making(factory) else factory()
    return await value if inspect.isawaitable(value) else value
