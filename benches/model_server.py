"""A model server of limited capacity, for `benches/flow_real.py`: up to 16 calls run at full speed, more share it, and lose some of it on the way.

A call works for 0.05 ms a token of its prompt and 6 ms a token of its answer. With `n` calls above 16 each runs at (16 / n) ** 1.5 of its speed: the calls share the processor, and
recompute what does not fit in memory. Who hangs up is forgotten. `GET /told` gives the most calls that were there at once.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time

import msgspec
from aiohttp import web

CAPACITY, THRASHING = 16, 1.5
PER_PROMPT_TOKEN, PER_TOKEN = 0.00005, 0.006


class Shared:
    """Work that is done by all calls together, in a time of its own that passes more slowly the more there are."""

    def __init__(self) -> None:
        self.most = 0
        self._now = 0.0
        self._at = time.perf_counter()
        self._calls: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._running = 0
        self._timer: asyncio.TimerHandle | None = None

    async def work(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._pass()
        heapq.heappush(self._calls, (self._now + seconds, next(self._numbers), future))
        self._running += 1
        self.most = max(self.most, self._running)
        self._wake()
        try:
            await future
        finally:
            self._pass()
            self._running -= 1
            self._wake()

    def _speed(self) -> float:
        return 1.0 if self._running <= CAPACITY else (CAPACITY / self._running) ** THRASHING

    def _pass(self) -> None:
        now = time.perf_counter()
        self._now += (now - self._at) * self._speed()
        self._at = now

    def _wake(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._pass()
        while self._calls and (self._calls[0][2].done() or self._calls[0][0] <= self._now):
            _, _, future = heapq.heappop(self._calls)
            if not future.done():
                future.set_result(None)
        if self._calls:
            delay = (self._calls[0][0] - self._now) / self._speed()
            self._timer = asyncio.get_running_loop().call_later(delay, self._wake)


async def main() -> None:
    shared = Shared()

    async def answer(http: web.Request) -> web.Response:
        question = msgspec.json.decode(await http.read())
        prompt, made = len(question["messages"][0]["content"]) // 4, question["max_tokens"]
        await shared.work(PER_PROMPT_TOKEN * prompt + PER_TOKEN * made)
        usage = {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}
        message = {"role": "assistant", "content": "word " * made}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response(
            {"id": "c", "object": "chat.completion", "created": 0, "model": "code", "choices": [choice], "usage": usage}
        )

    async def told(_http: web.Request) -> web.Response:
        return web.json_response({"most": shared.most})

    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/chat/completions", answer)
    app.router.add_get("/told", told)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
