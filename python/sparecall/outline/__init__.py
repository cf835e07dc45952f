"""Code by its symbols: what a file defines, what an edit changed of that, and what was derived from it and still holds.

``outline`` is the native function itself; ``SymbolIndex`` the native index, with what waits.
"""

from __future__ import annotations

from sparecall._core import FormerSymbol, IndexedSymbol, Outline, Skeleton, Symbol, SymbolDiff
from sparecall._core import outline_read as outline
from sparecall.outline.derived import Derived, DerivedStats, Subject
from sparecall.outline.index import SymbolIndex
from sparecall.outline.reading import languages, outline_async

__all__ = [
    "Derived",
    "DerivedStats",
    "FormerSymbol",
    "IndexedSymbol",
    "Outline",
    "Skeleton",
    "Subject",
    "Symbol",
    "SymbolDiff",
    "SymbolIndex",
    "languages",
    "outline",
    "outline_async",
]
