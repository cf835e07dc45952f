"""`@cached(cache)`: a function whose results are remembered, and whose concurrent calls for one key are one run.

For functions and coroutine functions alike, over any cache that has `get`, `set` and `delete`.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from sparecall.cache import BytesCache
from sparecall.cached.results import MISSING, AnyCache, storing
from sparecall.cached.tasks import TaskFlight
from sparecall.cached.threads import ThreadFlight
from sparecall.cached.wrapper import ASYNC, SYNC, write

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable

__all__ = ["AnyCache", "Cached", "cached"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")
C = TypeVar("C", bound="AnyCache")
R_co = TypeVar("R_co", covariant=True)
C_co = TypeVar("C_co", bound="AnyCache", covariant=True)


class Cached(Protocol[P, R_co, C_co]):
    """A function that `cached` has decorated."""

    @property
    def __wrapped__(self) -> Callable[P, R_co]:
        """The function itself: calling it neither reads nor writes the cache."""

    @property
    def cache(self) -> C_co:
        """The cache it was given."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Return the cached result of this call, or call the function."""

    def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> Hashable:
        """Return the key of a call with these arguments."""

    def cache_delete(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Delete the entry of a call with these arguments and say whether there was one.

        A call that begins afterwards gets no older result: a run under way is not joined any more, nor stored.
        """

    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> Cached[P, R_co, C_co]: ...
    @overload
    def __get__(self: Cached[Concatenate[S, Q], R, C], instance: S, owner: type | None = None, /) -> Callable[Q, R]: ...


def cached(
    cache: C,
    *,
    key: Callable[..., Hashable] | None = None,
    ttl: float | Callable[[Any], float | None] | None = None,
    tags: Iterable[str] | Callable[[Any], Iterable[str]] | None = None,
    cost: float | Callable[[Any], float] | None = None,
    when: Callable[[Any], bool] | None = None,
    typed: bool = True,
) -> Callable[[Callable[P, R]], Cached[P, R, C]]:
    """Decorate a function or a coroutine function so that `cache` answers the calls it has answered before.

    `key`: makes the key of a call's arguments; by default the function's identity and all arguments, bound to their
    parameters, with their types unless `typed` is False. `ttl` (seconds; None: the cache's own), `tags` and `cost` go to
    `cache.set`, as they are or as a function of the result. `when(result)` says whether to store it.

    Concurrent calls for one key are one run: of threads for a function, of the tasks of an event loop for a coroutine
    function. Raises TypeError for what cannot be decorated and InvalidArgument for a negative or NaN `ttl`.
    """
    if not all(callable(getattr(cache, method, None)) for method in ("get", "set", "delete")):
        raise TypeError(
            f"cached() needs a cache with get, set and delete, not a {_name_of(cache)}: decorate with @cached(cache)"
        )
    if key is None and isinstance(cache, BytesCache):
        raise TypeError(
            "a BytesCache holds keys of str or digests: give cached() a key= that makes one of the arguments"
        )
    store = storing(cache, ttl=ttl, tags=tags, cost=cost, when=when)

    def decorate(function: Callable[P, R]) -> Cached[P, R, C]:
        _refuse_what_cannot_be_kept(function)
        flight: TaskFlight | ThreadFlight
        if _is_any(function, inspect.iscoroutinefunction):
            template, flight = ASYNC, TaskFlight(cast("Callable[..., Awaitable[Any]]", function), store)
        else:
            template, flight = SYNC, ThreadFlight(function, cache.get, store)
        names = {"get": cache.get, "missing": MISSING, "missed": flight.missed, "flight": flight}
        wrapper, cache_key = write(template, function, name=_name_of(function), key=key, typed=typed, names=names)
        functools.update_wrapper(wrapper, function)

        def cache_delete(*args: P.args, **kwargs: P.kwargs) -> bool:
            entry = cache_key(*args, **kwargs)
            flight.deleted(entry)
            return bool(cache.delete(entry))

        vars(wrapper).update(cache=cache, cache_key=cache_key, cache_delete=cache_delete)
        return cast("Cached[P, R, C]", wrapper)

    return decorate


def _innermost(function: Any) -> Any:
    """What a chain of `functools.partial` calls in the end."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _name_of(function: Any) -> str:
    return str(getattr(_innermost(function), "__qualname__", type(function).__qualname__))


def _is_any(function: Any, *kinds: Callable[[Any], bool]) -> bool:
    """Whether the function, or the `__call__` of an object that is called like one, is of one of these kinds."""
    inner = _innermost(function)
    return any(kind(candidate) for kind in kinds for candidate in (inner, type(inner).__call__))


def _refuse_what_cannot_be_kept(function: Any) -> None:
    name = _name_of(function)
    if inspect.isclass(_innermost(function)):
        raise TypeError(f"cached() does not decorate the class {name}: decorate a function that makes its instances")
    if not callable(function):
        raise TypeError(f"cached() decorates functions, not a {name}: put it below @classmethod and @property")
    if _is_any(function, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
        raise TypeError(
            f"cached() does not decorate the generator function {name}: what it yields can be used only once; "
            "return a list or a tuple"
        )
