"""Deterministic embeddings: hashed words and word pairs, so that texts which share words are near each other."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import sys
from array import array
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import orjson

_TEXT_WEIGHT = 0.25  # tells texts with the same words apart
_SIGNS_PER_FEATURE = 8


def default_dimensions(model: str) -> int:
    """Return the length of the vectors of a model of this name."""
    return 3072 if model.endswith("-large") else 1536


def embed(text: str | list[int], *, model: str, dimensions: int, seed: int) -> array[float]:
    """Return the unit vector of a text (or of token numbers) as float32. Linear in the text's length."""
    words = [str(token) for token in text] if isinstance(text, list) else re.findall(r"\w+|[^\w\s]", text.lower())
    features = [(word, 1.0) for word in words]
    features += [(f"{left} {right}", 0.5) for left, right in pairwise(words)]
    features.append((f"text {text}", _TEXT_WEIGHT))
    vector = [0.0] * dimensions
    for feature, weight in features:
        hashed = hashlib.blake2b(f"{seed}/{model}/{feature}".encode(), digest_size=4 * _SIGNS_PER_FEATURE).digest()
        for start in range(0, len(hashed), 4):
            drawn = int.from_bytes(hashed[start : start + 4], "little")
            vector[(drawn >> 1) % dimensions] += weight if drawn & 1 else -weight
    length = math.sqrt(sum(value * value for value in vector))
    if not length:  # all signs cancelled out, as they can in very few dimensions
        vector[0] = length = 1.0
    return array("f", [value / length for value in vector])


def embedding_object(index: int, vector: array[float], *, as_base64: bool) -> dict[str, Any]:
    """Return one entry of the reply's ``data``."""
    if as_base64:
        if sys.byteorder == "big":
            vector = vector[:]
            vector.byteswap()
        return {"object": "embedding", "index": index, "embedding": base64.b64encode(vector.tobytes()).decode()}
    # The fewest digits that make the same float32, as real providers write them.
    digits = orjson.dumps(np.array(vector, dtype=np.float32), option=orjson.OPT_SERIALIZE_NUMPY)
    return {"object": "embedding", "index": index, "embedding": msgspec.Raw(digits)}
