"""Tiers that agree with each other: a shared store behind the process's own memory."""

from sparecall.store.protocol import Entry, Lease, Listener, Store

__all__ = ["Entry", "Lease", "Listener", "Store"]
