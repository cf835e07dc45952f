"""Code by its symbols: what a file defines, what an edit changed of that, and what was derived from it and still holds.

How two edits merge, and which symbols a question is about, too. ``outline`` is the native function itself; ``SymbolIndex`` the native index, with what waits.
"""

from __future__ import annotations

from sparecall._core import FormerSymbol, IndexedSymbol, MergeConflict, Merged, Outline, Skeleton, Symbol, SymbolDiff
from sparecall._core import outline_merge as merge
from sparecall._core import outline_read as outline
from sparecall.outline.derived import Derived, DerivedStats, Subject
from sparecall.outline.index import SymbolIndex
from sparecall.outline.merging import merge_async
from sparecall.outline.reading import languages, outline_async
from sparecall.outline.search import Embedder, FoundSymbol, SearchUpdate, SymbolSearch

__all__ = [
    "Derived",
    "DerivedStats",
    "Embedder",
    "FormerSymbol",
    "FoundSymbol",
    "IndexedSymbol",
    "MergeConflict",
    "Merged",
    "Outline",
    "SearchUpdate",
    "Skeleton",
    "Subject",
    "Symbol",
    "SymbolDiff",
    "SymbolIndex",
    "SymbolSearch",
    "languages",
    "merge",
    "merge_async",
    "outline",
    "outline_async",
]
