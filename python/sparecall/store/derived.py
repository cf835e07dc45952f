"""Values derived from files, symbols and other data (analyses, tool results, fragments of answers), kept until what they are made from changes."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

from sparecall.errors import InvalidArgument
from sparecall.store.fingerprints import File, Fingerprints, Glob, digest_of
from sparecall.store.making import takes_making
from sparecall.store.route import check_scope

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from sparecall.store.making import AsyncFactory, Making, PlainFactory
    from sparecall.store.route import Route
    from sparecall.store.tiered import TieredCache

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Symbol:
    """A name in code. Whoever learns that it changed says so: `DerivedCache.changed`."""

    name: str


@dataclass(frozen=True, slots=True)
class Key:
    """A datum that has a name. Whoever changes it says so: `DerivedCache.changed`."""

    name: str


Dependency: TypeAlias = PurePath | File | Glob | Symbol | Key


class DerivedCache:
    """Remembers what operations made of their inputs and dependencies, in a `TieredCache`.

    Files and globs are looked at with every call, and are part of the key: a value is found while they are as they were. Symbols and
    keys are tags: a value is found until `changed` names one. ``root``: what paths and globs are relative to. ``scope`` and
    ``route``: as in `TieredCache.get_or_set`, where a call says nothing else.
    """

    __slots__ = ("_cache", "_prints", "_route", "_scope")

    def __init__(
        self, cache: TieredCache, *, scope: str, root: str | os.PathLike[str] = ".", route: str | Route = "code"
    ) -> None:
        check_scope(scope)
        self._cache, self._scope, self._route = cache, scope, route
        self._prints = Fingerprints(root)

    @overload
    async def get_or_compute(
        self, operation: str, inputs: object, fn: AsyncFactory[T], *, depends_on: Iterable[Dependency] = (), scope: str | None = None,
        ttl: float | None = None, route: str | Route | None = None, lease: bool | float | None = None,
    ) -> T: ...  # fmt: skip
    @overload
    async def get_or_compute(
        self, operation: str, inputs: object, fn: PlainFactory[T], *, depends_on: Iterable[Dependency] = (), scope: str | None = None,
        ttl: float | None = None, route: str | Route | None = None, lease: bool | float | None = None,
    ) -> T: ...  # fmt: skip
    async def get_or_compute(
        self, operation: str, inputs: object, fn: Callable[..., Any], *, depends_on: Iterable[Dependency] = (),
        scope: str | None = None, ttl: float | None = None, route: str | Route | None = None, lease: bool | float | None = None,
    ) -> Any:  # fmt: skip
        """Return what `fn` made, or makes now, of these inputs and of files as they are now.

        `operation`: names what is done and its version: ``"outline/2"``. `inputs`: plain data. `fn`: a coroutine function, or a
        function, which runs in a thread. `depends_on`: paths, or `File`, `Glob`, `Symbol` and `Key`. What `fn` makes while one of
        the files changes is returned and not kept. Raises what `fn` raises, ``OSError`` for files that cannot be read, and
        `InvalidArgument` for inputs that are no plain data.
        """
        if not operation:
            raise InvalidArgument("operation is empty; name what is done")
        files, tags = _sorted(depends_on)
        before = await self._fingerprint(files)
        key = f"{operation}:{digest_of([digest_of(inputs), before])}"

        async def factory(making: Making) -> Any:
            value = await _called(fn, making)
            if files and await self._fingerprint(files) != before:
                making.store = False
            return value

        return await self._cache.get_or_set(
            key,
            factory,
            scope=scope or self._scope,
            ttl=ttl,
            tags=[_tag("operation", operation), *tags],
            route=route or self._route,
            lease=lease,
        )

    @overload
    async def fragment(
        self, name: str, context: object, fn: AsyncFactory[T], *, depends_on: Iterable[Dependency] = (), scope: str | None = None,
        ttl: float | None = None, route: str | Route | None = None,
    ) -> T: ...  # fmt: skip
    @overload
    async def fragment(
        self, name: str, context: object, fn: PlainFactory[T], *, depends_on: Iterable[Dependency] = (), scope: str | None = None,
        ttl: float | None = None, route: str | Route | None = None,
    ) -> T: ...  # fmt: skip
    async def fragment(
        self, name: str, context: object, fn: Callable[..., Any], *, depends_on: Iterable[Dependency] = (),
        scope: str | None = None, ttl: float | None = None, route: str | Route | None = None,
    ) -> Any:  # fmt: skip
        """Return a part of an answer that is the same in the same context: what is computed under the name and the context's digest."""
        return await self.get_or_compute(
            f"fragment/{name}", context, fn, depends_on=depends_on, scope=scope, ttl=ttl, route=route
        )

    async def changed(
        self, *, symbols: Iterable[str] = (), keys: Iterable[str] = (), operations: Iterable[str] = ()
    ) -> bool:
        """Invalidate what depends on these symbols and keys, and all that these operations made. As `TieredCache.invalidate`."""
        tags = [_tag("symbol", name) for name in symbols] + [_tag("key", name) for name in keys]
        tags += [_tag("operation", name) for name in operations]
        told = True
        for start in range(0, len(tags), 64):
            told = await self._cache.invalidate(tags=tags[start : start + 64]) and told
        return told

    async def _fingerprint(self, files: list[File | Glob]) -> str | None:
        return await asyncio.to_thread(self._prints.of, files) if files else None


def _sorted(depends_on: Iterable[Any]) -> tuple[list[File | Glob], list[str]]:
    """Files and globs, and the tags of the rest."""
    files: list[File | Glob] = []
    tags: list[str] = []
    for one in depends_on:
        match one:
            case PurePath():
                files.append(File(one))
            case File() | Glob():
                files.append(one)
            case Symbol(name):
                tags.append(_tag("symbol", name))
            case Key(name):
                tags.append(_tag("key", name))
            case _:
                raise InvalidArgument(
                    f"depends_on has a {type(one).__name__}; give a pathlib.Path, File, Glob, Symbol or Key"
                )
    return files, tags


def _tag(kind: str, name: str) -> str:
    """A tag of at most 256 characters."""
    if len(name) > 200:
        name = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{kind}:{name}"


async def _called(fn: Callable[..., Any], making: Making) -> Any:
    arguments = (making,) if takes_making(fn) else ()
    if inspect.iscoroutinefunction(fn):
        return await fn(*arguments)
    value = await asyncio.to_thread(fn, *arguments)
    return await value if inspect.isawaitable(value) else value
