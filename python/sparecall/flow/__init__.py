"""Flow control: what keeps a service working when a provider is slow, says no, or is away. One pattern a file, each usable alone."""

from __future__ import annotations

from sparecall._core import AdaptivePermit, Lease, Permit
from sparecall.flow.adaptive_limit import AdaptiveLimit, Kind, LimitEvent
from sparecall.flow.breaker import Breaker, State
from sparecall.flow.fallback import Fallback, Passed, Served, StreamFallback
from sparecall.flow.gates import Concurrency, Gate, Quota, calm, room
from sparecall.flow.hedge import Hedge, Hedged, HedgeStats
from sparecall.flow.load import Endpoint
from sparecall.flow.outcome import Outcome, outcome_of, outcome_of_status
from sparecall.flow.rate_limit import RateLimit
from sparecall.flow.retry import Attempt, Retry
from sparecall.flow.router import Choice, Route, Router
from sparecall.flow.rules import Features, Rule
from sparecall.flow.stream import Stream
from sparecall.flow.system import Shortage, SystemReading, SystemSignals, read_system
from sparecall.flow.timeouts import Timed, Timeout

__all__ = [
    "AdaptiveLimit",
    "AdaptivePermit",
    "Attempt",
    "Breaker",
    "Choice",
    "Concurrency",
    "Endpoint",
    "Fallback",
    "Features",
    "Gate",
    "Hedge",
    "HedgeStats",
    "Hedged",
    "Kind",
    "Lease",
    "LimitEvent",
    "Outcome",
    "Passed",
    "Permit",
    "Quota",
    "RateLimit",
    "Retry",
    "Route",
    "Router",
    "Rule",
    "Served",
    "Shortage",
    "State",
    "Stream",
    "StreamFallback",
    "SystemReading",
    "SystemSignals",
    "Timed",
    "Timeout",
    "calm",
    "outcome_of",
    "outcome_of_status",
    "read_system",
    "room",
]
