"""Batches that close when a server is free: `Batcher`, and `batched` for a function that takes one item at a time."""

from __future__ import annotations

from sparecall.batch.batcher import Batcher
from sparecall.batch.decorator import batched
from sparecall.batch.events import BatcherStats, BatchEvent

__all__ = ["BatchEvent", "Batcher", "BatcherStats", "batched"]
