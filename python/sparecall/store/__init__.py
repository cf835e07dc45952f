"""Tiers that agree with each other: a shared store behind the process's own memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparecall.store.protocol import Entry, Lease, Listener, Store
from sparecall.store.sqlite import SqliteStats, SqliteStore

if TYPE_CHECKING:
    from sparecall.store.redis import RedisStats, RedisStore

__all__ = ["Entry", "Lease", "Listener", "RedisStats", "RedisStore", "SqliteStats", "SqliteStore", "Store"]


def __getattr__(name: str) -> object:
    """What needs redis-py, the extra `redis`, is imported when it is first asked for."""
    if name in {"RedisStats", "RedisStore"}:
        try:
            from sparecall.store import redis
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "redis":
                raise
            raise ImportError(f"{name} needs redis-py: pip install 'sparecall[redis]'") from None
        return getattr(redis, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
