"""Tiers that agree with each other: a shared store behind the process's own memory."""

from sparecall.store.cdn import HttpPurger, Purger, cdn_headers
from sparecall.store.invalidation import Effect, Invalidation
from sparecall.store.maker import Origin
from sparecall.store.making import Making
from sparecall.store.protocol import Entry, Lease, Listener, Store
from sparecall.store.route import ROUTES, Route
from sparecall.store.stats import TieredStats
from sparecall.store.tiered import TieredCache

__all__ = [
    "ROUTES",
    "Effect",
    "Entry",
    "HttpPurger",
    "Invalidation",
    "Lease",
    "Listener",
    "Making",
    "Origin",
    "Purger",
    "Route",
    "Store",
    "TieredCache",
    "TieredStats",
    "cdn_headers",
]
