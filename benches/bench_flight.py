"""flight: callers who lead a run, callers who join one, beside awaiting the work directly."""

from __future__ import annotations

import asyncio

from sparecall.flight import Flight

from .common import Benchmark

CALLS = 1_000


class Calls(Benchmark):
    """`together` callers of each key at once, `CALLS` callers in all. 1: nobody to merge with."""

    params = ([1, 10, 1_000],)
    param_names = ("together",)

    def setup(self, together: int) -> None:
        super().setup()
        self.loop = asyncio.new_event_loop()
        self.runs = 0

    def teardown(self, together: int) -> None:
        self.loop.close()
        super().teardown(together)

    async def work(self) -> str:
        self.runs += 1
        await asyncio.sleep(0)
        return "value"

    async def merged(self, together: int) -> None:
        flight: Flight[int, str] = Flight()
        await asyncio.gather(*[flight.run(number // together, self.work) for number in range(CALLS)])

    async def direct(self) -> None:
        await asyncio.gather(*[self.work() for _ in range(CALLS)])

    def time_1000_calls(self, together: int) -> None:
        self.loop.run_until_complete(self.merged(together))

    def time_1000_calls_of_the_work_itself(self, together: int) -> None:
        self.loop.run_until_complete(self.direct())

    def track_runs_for_1000_calls(self, together: int) -> int:
        self.loop.run_until_complete(self.merged(together))
        return self.runs
