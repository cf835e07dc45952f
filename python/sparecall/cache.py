"""In-process caches: native, synchronous, thread-safe, bounded by weight.

``Cache(max_weight)`` holds any objects under any hashable keys. ``BytesCache(max_bytes)`` holds ``bytes`` under ``str`` keys or
16- or 32-byte digests, out of the garbage collector's sight.
"""

from __future__ import annotations

from sparecall._core import BytesCache, Cache, CacheStats

__all__ = ["BytesCache", "Cache", "CacheStats"]
