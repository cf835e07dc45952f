"""In-process caches: native, synchronous, thread-safe, bounded by weight.

``BytesCache(max_bytes)`` holds ``bytes`` under ``str`` keys or 16- or 32-byte digests.
"""

from __future__ import annotations

from sparecall._core import BytesCache, CacheStats

__all__ = ["BytesCache", "CacheStats"]
