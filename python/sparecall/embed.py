"""Text to unit vectors in this process, native and synchronous.

``StaticEmbedder()``, the default, needs no files and microseconds; ``MiniLMEmbedder(folder)`` runs all-MiniLM-L6-v2, or another BERT-family encoder, from the files of its folder.
"""

from __future__ import annotations

from sparecall._core import MiniLMEmbedder, StaticEmbedder

__all__ = ["MiniLMEmbedder", "StaticEmbedder"]
