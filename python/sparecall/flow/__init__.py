"""Flow control: what keeps a service working when a provider is slow, says no, or is away. One pattern a file, each usable alone."""

from __future__ import annotations

from sparecall.flow.breaker import Breaker, Permit, State
from sparecall.flow.outcome import Outcome, outcome_of, outcome_of_status
from sparecall.flow.rate_limit import Lease, RateLimit

__all__ = ["Breaker", "Lease", "Outcome", "Permit", "RateLimit", "State", "outcome_of", "outcome_of_status"]
