"""Text to unit vectors in this process, native and synchronous.

``MiniLMEmbedder(folder)`` runs all-MiniLM-L6-v2, or another BERT-family encoder, from the files of its folder.
"""

from __future__ import annotations

from sparecall._core import MiniLMEmbedder

__all__ = ["MiniLMEmbedder"]
