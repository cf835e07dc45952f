"""Whether two answers say the same: what a semantic cache learns from where nobody else judges."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparecall._core import SemanticProfile
from sparecall.embed import StaticEmbedder

# Answers at least so similar say the same; below the other they do not; in between nothing is known.
_SAME, _OTHER = 0.93, 0.80
# How much to believe of what similarity alone says.
_DOUBT = 0.7
# Longer texts are not compared by similarity: it says too little of them, and takes too long.
_LONG = 32_768


def same_answer(stored: Any, fresh: Any) -> tuple[bool, float] | None:
    """Compare the stored answer with a fresh one: whether that is right, and how much to believe it, in (0, 1].

    Equal answers are right. Texts are right where they differ in spelling alone, else judged by their static vectors, which
    is believed less. None where that is no judgement: other types that are not equal, texts that are neither near nor far,
    or of more than 32,768 characters. Linear in the texts: about a millisecond for 16,000 characters.
    """
    try:
        if stored == fresh:
            return True, 1.0
    except Exception:  # noqa: BLE001 - such as arrays, whose equality is no yes or no
        return None
    texts = [text for text in (_text(stored), _text(fresh)) if text is not None and len(text) <= _LONG]
    if len(texts) < 2:
        return None
    first, second = map(SemanticProfile, texts)
    if first.same(second):
        return True, 1.0
    if first.empty or second.empty:
        return False, _DOUBT
    one, other = _embedder().embed(texts)
    similarity = float(np.dot(one, other))
    if _OTHER < similarity < _SAME:
        return None
    return similarity >= _SAME, _DOUBT


def _text(answer: Any) -> str | None:
    if isinstance(answer, bytes):
        return answer.decode("utf-8", "replace")
    return answer if isinstance(answer, str) else None


_shared: list[StaticEmbedder] = []


def _embedder() -> StaticEmbedder:
    """The static embedder, made at the first use: it maps the model that all share."""
    if not _shared:
        _shared.append(StaticEmbedder())
    return _shared[0]
