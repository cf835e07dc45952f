"""What a cache must offer, and what becomes of a result: stored with the options that were given, or not at all."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Final, Protocol

from sparecall.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

MISSING: Final[Any] = object()
"""What a cache returns on a miss: no result of a function can be it, so that None can be a result."""


class AnyCache(Protocol):
    """What `cached` asks of a cache."""

    def get(self, key: Any, default: Any, /) -> Any:
        """Return the value under `key`, or `default` itself."""

    def set(self, key: Any, value: Any, /, *, ttl: float | None = None) -> Any:
        """Store `value`; called with `ttl`, and with `tags` and `cost`, only where `cached` was given them."""

    def delete(self, key: Any, /) -> Any:
        """Remove the entry of `key` and say whether there was one."""


class Run:
    """One computation of a result under way. `deleted`: its entry was deleted meanwhile, so the result is already old."""

    __slots__ = ("deleted",)

    def __init__(self) -> None:
        self.deleted = False


def storing(cache: AnyCache, *, ttl: Any, tags: Any, cost: Any, when: Any) -> Callable[[Hashable, Any, Run], None]:
    """The function that stores a run's result under its key."""
    if ttl is not None and not callable(ttl) and (math.isnan(ttl) or ttl < 0):
        raise InvalidArgument(f"ttl must be seconds of at least 0, not {ttl}: None leaves it to the cache")
    if isinstance(tags, str):
        raise TypeError("tags must be several texts, not one str: write tags=(tag,)")
    if tags is not None and not callable(tags):
        tags = tuple(tags)
    given = {name: option for name, option in (("ttl", ttl), ("tags", tags), ("cost", cost)) if option is not None}
    constant = {name: option for name, option in given.items() if not callable(option)}
    computed = {name: option for name, option in given.items() if callable(option)}
    put: Callable[..., Any] = cache.set  # it may take more than every cache's does

    def store(key: Hashable, value: Any, run: Run) -> None:
        _refuse_what_is_used_only_once(value)
        wanted = not run.deleted and (when is None or when(value))
        if not wanted:
            return
        put(key, value, **constant, **{name: option(value) for name, option in computed.items()})
        if run.deleted:  # by another thread, after the look above and maybe before the entry was there
            cache.delete(key)

    return store


def _refuse_what_is_used_only_once(value: Any) -> None:
    if not isinstance(value, (Awaitable, Generator, AsyncGenerator)):
        return
    if isinstance(value, Coroutine):
        value.close()  # nobody will await it
    raise TypeError(
        f"a {type(value).__name__} can be used only once and is not cached: decorate the coroutine function itself, "
        "mark it with inspect.markcoroutinefunction, or return a list"
    )
