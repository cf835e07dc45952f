"""metrics: one step of each kind, the look-up of a series, the text of 2,000 series."""

from __future__ import annotations

from sparecall.metrics import Registry

from .common import Benchmark


class Count(Benchmark):
    def setup(self) -> None:
        super().setup()
        registry = Registry()
        self.family = registry.counter("requests_total", "Requests", ["code", "model"])
        self.counter = self.family.labels("200", "gpt-4o")
        self.histogram = registry.histogram(
            "seconds", "Seconds", buckets=[0.001 * 2**power for power in range(14)]
        ).labels()

    def time_add_1000(self) -> None:
        add = self.counter.add
        for _ in range(1000):
            add()

    def time_observe_1000(self) -> None:
        observe = self.histogram.observe
        for _ in range(1000):
            observe(0.02)

    def time_labels_1000(self) -> None:
        labels = self.family.labels
        for _ in range(1000):
            labels("200", "gpt-4o")


class Render(Benchmark):
    def setup(self) -> None:
        super().setup()
        self.registry = Registry(max_series=2000)
        family = self.registry.counter("requests_total", "Requests", ["model"])
        for number in range(2000):
            family.labels(f"model-{number}").add(number)

    def time_render_2000_series(self) -> None:
        self.registry.render()

    def track_bytes_of_2000_series(self) -> int:
        return len(self.registry.render())
