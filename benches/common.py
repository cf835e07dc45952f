"""What every benchmark shares: a release build, a fixed seed, no garbage collection while it runs."""

from __future__ import annotations

import gc
import random

import sparecall


class Benchmark:
    """Base class: a benchmark class is one operation, with `params` and `param_names`."""

    rounds = 4
    timeout = 120

    def setup(self, *_params: object) -> None:
        if sparecall.build_info()["profile"] != "release":
            raise RuntimeError("benchmarks need a release build: run `make bench`")
        self.random = random.Random(0)
        gc.collect()
        gc.disable()

    def teardown(self, *_params: object) -> None:
        gc.enable()
