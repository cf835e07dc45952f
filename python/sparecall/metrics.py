"""Counters for a hot path and their Prometheus text: native, thread-safe, bounded.

``Registry().counter(name, help, labels).labels(*values)`` is a series: fetch it once, keep it, ``add`` to it.
"""

from __future__ import annotations

from sparecall._core import MetricCounter as Counter
from sparecall._core import MetricFamily as Family
from sparecall._core import MetricGauge as Gauge
from sparecall._core import MetricHistogram as Histogram
from sparecall._core import MetricRegistry as Registry

__all__ = ["Counter", "Family", "Gauge", "Histogram", "Registry"]
