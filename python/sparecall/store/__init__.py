"""Tiers that agree with each other: a shared store behind the process's own memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparecall.store.cdn import HttpPurger, Purger, cdn_headers
from sparecall.store.derived import DerivedCache, Key, Symbol
from sparecall.store.fingerprints import File, Glob
from sparecall.store.invalidation import Effect, Invalidation
from sparecall.store.maker import Origin
from sparecall.store.making import Making
from sparecall.store.protocol import Entry, Lease, Listener, Store
from sparecall.store.route import ROUTES, Route
from sparecall.store.sqlite import SqliteStats, SqliteStore
from sparecall.store.stats import TieredStats
from sparecall.store.tiered import TieredCache
from sparecall.store.warming import Warmer, WarmingReport

if TYPE_CHECKING:
    from sparecall.store.redis import RedisStats, RedisStore

__all__ = [
    "ROUTES",
    "DerivedCache",
    "Effect",
    "Entry",
    "File",
    "Glob",
    "HttpPurger",
    "Invalidation",
    "Key",
    "Lease",
    "Listener",
    "Making",
    "Origin",
    "Purger",
    "RedisStats",
    "RedisStore",
    "Route",
    "SqliteStats",
    "SqliteStore",
    "Store",
    "Symbol",
    "TieredCache",
    "TieredStats",
    "Warmer",
    "WarmingReport",
    "cdn_headers",
]


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
