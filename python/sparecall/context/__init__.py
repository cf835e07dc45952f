"""Trims what the model need not read: messages in, fewer tokens out, and a conversation its provider accepts."""

from __future__ import annotations

from sparecall.context.grammar import read, validate
from sparecall.context.handles import Handles
from sparecall.context.optimizer import ContextOptimizer
from sparecall.context.reducers import Lines, Reduced, Reducer, reduce
from sparecall.context.report import Optimized, Prefix, Removed, Report
from sparecall.context.summaries import Summarise, SummaryStore
from sparecall.context.till import Charge, Rates, Till

__all__ = [
    "Charge",
    "ContextOptimizer",
    "Handles",
    "Lines",
    "Optimized",
    "Prefix",
    "Rates",
    "Reduced",
    "Reducer",
    "Removed",
    "Report",
    "Summarise",
    "SummaryStore",
    "Till",
    "read",
    "reduce",
    "validate",
]
