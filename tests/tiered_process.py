"""One of several processes that ask for the same cold keys at once, for each line it reads: ``tiered_process.py sqlite:PATH|redis://... WAITERS``."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import uvloop

from sparecall.store import RedisStore, SqliteStore, Store, TieredCache


async def main(where: str, waiters: int) -> None:
    calls = 0

    async def factory() -> str:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.5)
        return f"made by {os.getpid()}"

    # On a busy machine an answer takes its time: here that must not count as an L2 that is away.
    if where.startswith("sqlite:"):
        store: Store = SqliteStore(where.removeprefix("sqlite:"), timeout=20.0)
    else:
        store = RedisStore(where, timeout=20.0, connect_timeout=20.0)
    async with TieredCache(l2=store, l2_timeout=20.0) as cache:
        await cache.get("something else", scope="team")  # connected, and listening
        print("ready", flush=True)
        for lease in (True, False):
            await asyncio.to_thread(sys.stdin.readline)
            calls = 0
            answers = await asyncio.gather(
                *[cache.get_or_set(f"cold {lease}", factory, scope="team", lease=lease) for _ in range(waiters)]
            )
            print(json.dumps({"calls": calls, "answers": sorted(set(answers))}), flush=True)
    await store.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
