"""What an invalidation concerns, who else is told of it, and the rules that make invalidations of events."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from sparecall.store.making import check_tags
from sparecall.store.purging import Purging
from sparecall.store.route import check_scope

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable

    from sparecall.store.cdn import Purger

_log = logging.getLogger("sparecall.store")


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalidation:
    """What no longer holds. For caches beside the tiers: ``cache.on_invalidate(lambda gone: [semantic.purge(tag=tag) for tag in gone.tags])``."""

    tags: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    """Scopes, with all below them."""
    keys: tuple[tuple[str, str], ...] = ()
    """Scopes and keys."""
    everything: bool = False
    here: bool = True
    """Whether it began in this process; else another process told of it."""

    @classmethod
    def of(cls, names: Iterable[str], *, here: bool) -> Self:
        """From names as `version_names` makes them."""
        kinds = [name.partition(":") for name in names]
        return cls(
            tags=tuple(rest for kind, _, rest in kinds if kind == "tag"),
            prefixes=tuple(rest for kind, _, rest in kinds if kind == "scope"),
            everything=any(kind == "all" for kind, _, _ in kinds),
            here=here,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names whose versions move."""
        tags, scopes = (f"tag:{tag}" for tag in self.tags), (f"scope:{prefix}" for prefix in self.prefixes)
        return (*tags, *scopes, *(["all"] if self.everything else []))


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What an event invalidates: templates of tags and of scopes, filled with the event's arguments by ``str.format``."""

    tags: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()

    def names(self, *args: object, **named: object) -> list[str]:
        """The names to invalidate. Raises ``IndexError`` or ``KeyError`` where an argument is missing."""
        tags = check_tags(tag.format(*args, **named) for tag in self.tags)
        scopes = [prefix.format(*args, **named) for prefix in self.prefixes]
        for scope in scopes:
            check_scope(scope)
        return [*(f"tag:{tag}" for tag in tags), *(f"scope:{scope}" for scope in scopes)]


class Subscribers:
    """Callbacks of a `TieredCache`, and the L3 to be purged of what is invalidated here."""

    __slots__ = ("_callbacks", "_purging")

    def __init__(self, purger: Purger | None, *, random: Callable[[], float], counts: Counter[str]) -> None:
        self._callbacks: dict[object, Callable[[Invalidation], None]] = {}
        self._purging = None if purger is None else Purging(purger, random=random, counts=counts)

    def add(self, callback: Callable[[Invalidation], None]) -> Callable[[], None]:
        """Call it from now on, until the returned function is called."""
        token = object()
        self._callbacks[token] = callback
        return lambda: self._callbacks.pop(token, None) and None

    def tell(self, gone: Invalidation) -> None:
        """Tell everybody. A callback that raises is logged and harms nobody."""
        for callback in tuple(self._callbacks.values()):
            try:
                callback(gone)
            except Exception:  # noqa: BLE001 - a stranger's
                _log.exception("a subscriber of invalidations failed")
        if gone.here and self._purging is not None and gone.names:
            self._purging.add(gone.names)

    async def close(self) -> None:
        """Let purges under way end."""
        if self._purging is not None:
            await self._purging.close()
