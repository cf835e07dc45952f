"""A simulator of batching on a virtual clock: the policy that `Batcher` runs, beside other rules, over arrivals made or recorded.

``python -m sparecall.batch.sim trace.csv`` replays a trace and recommends settings.
"""

from __future__ import annotations

from sparecall.batch.sim.arrivals import Arrivals, bursty, gamma, poisson, read_trace
from sparecall.batch.sim.engine import Outcome, Service, simulate
from sparecall.batch.sim.optimum import Optimum, solve
from sparecall.batch.sim.rules import BatchedRule, BentoRule, ControlLimit, Ours, Rule, SizeOrTimer, WhenFree

__all__ = [
    "Arrivals",
    "BatchedRule",
    "BentoRule",
    "ControlLimit",
    "Optimum",
    "Ours",
    "Outcome",
    "Rule",
    "Service",
    "SizeOrTimer",
    "WhenFree",
    "bursty",
    "gamma",
    "poisson",
    "read_trace",
    "simulate",
    "solve",
]
