"""How many tokens a text has, exactly as tiktoken counts them, with the vocabularies in the wheel.

``count`` and ``count_many`` are the native functions themselves. ``get_encoding`` and ``load_encoding`` make an ``Encoding``
with the methods of tiktoken's.
"""

from __future__ import annotations

from sparecall._core import Meter, Prefix
from sparecall._core import TokenEncoding as Encoding
from sparecall._core import tokens_count as count
from sparecall._core import tokens_count_many as count_many
from sparecall._core import tokens_encodings as encodings
from sparecall._core import tokens_get_encoding as get_encoding
from sparecall._core import tokens_load_encoding as load_encoding
from sparecall._core import tokens_truncate as truncate
from sparecall.tokens.calibration import Calibration, Stratum
from sparecall.tokens.counter import Counter, TokenCount
from sparecall.tokens.models import encoding_for_model
from sparecall.tokens.waiting import count_async, count_many_async

__all__ = [
    "Calibration",
    "Counter",
    "Encoding",
    "Meter",
    "Prefix",
    "Stratum",
    "TokenCount",
    "count",
    "count_async",
    "count_many",
    "count_many_async",
    "encoding_for_model",
    "encodings",
    "get_encoding",
    "load_encoding",
    "truncate",
]
