"""A semantic cache: answers to questions that were asked before in other words, with a limit on the share of wrong ones.

`SemanticCache` joins an embedder, `VectorIndex`, `BytesCache` and the native decision. In process, for one event loop; no
sockets of its own.
"""

from sparecall._core import SemanticReport, SemanticVerdict
from sparecall.semantic.answers import same_answer
from sparecall.semantic.cache import SemanticCache
from sparecall.semantic.embedding import AsyncEmbedder, Embedder
from sparecall.semantic.lookup import Lookup, Match, Report, Rule

__all__ = ["AsyncEmbedder", "Embedder", "Lookup", "Match", "Report", "Rule", "SemanticCache", "SemanticReport", "SemanticVerdict", "same_answer"]  # fmt: skip
