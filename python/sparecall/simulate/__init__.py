"""The simulated provider: a server of OpenAI's and Anthropic's APIs for tests, the demo and users without a key.

No model stands behind it, and every reply says so. Answers, latency and faults are drawn from a seed and a digest of
the whole request: the same request has the same answer, after the same time, on every run and machine.
"""

from __future__ import annotations

from sparecall.simulate.faults import FAULT_HEADER, FAULT_NAMES, Faults
from sparecall.simulate.latency import Latency
from sparecall.simulate.provider import MODELS, Provider
from sparecall.simulate.server import serve

__all__ = ["FAULT_HEADER", "FAULT_NAMES", "MODELS", "Faults", "Latency", "Provider", "serve"]
