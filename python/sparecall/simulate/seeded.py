"""Everything the simulated provider draws comes from here: a digest of the whole request, and generators seeded with it."""

from __future__ import annotations

import hashlib
from random import Random
from typing import Any

import msgspec

# How an answer travels does not change it.
_TRANSPORT_FIELDS = frozenset({"stream", "stream_options"})


def canonical_text(value: Any) -> str:
    """Return the value as compact JSON with sorted keys."""
    return msgspec.json.encode(value, order="sorted").decode()


def request_digest(body: dict[str, Any]) -> str:
    """Return 24 hex digits that depend on all of the request but ``stream`` and ``stream_options``."""
    counted = {name: value for name, value in body.items() if name not in _TRANSPORT_FIELDS}
    return hashlib.blake2b(canonical_text(counted).encode(), digest_size=12).hexdigest()


def generator(seed: int, digest: str, purpose: str) -> Random:
    """Return the random generator for one purpose of one request: the same three always give the same draws."""
    material = hashlib.blake2b(f"{seed}/{digest}/{purpose}".encode(), digest_size=8).digest()
    return Random(int.from_bytes(material, "little"))
