"""The snapshot on a timer: off the loop, one at a time, the last at the end; and a process killed in the middle of one."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from gateway.site import QUESTION, simulated_site
from sparecall.cache import BytesCache
from sparecall.gateway.snapshot import Snapshot

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


class Rings:
    """A timer that a test rings."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[float] = asyncio.Queue()
        self.ring = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asked.put_nowait(seconds)
        await self.ring.wait()
        self.ring.clear()


def held(path: Path) -> int:
    cache = BytesCache(1_000_000)
    return cache.load(path)


async def test_a_cache_that_has_changed_is_saved_on_time_and_one_that_has_not_is_not(tmp_path: Path) -> None:
    path, rings, cache = tmp_path / "cache.bin", Rings(), BytesCache(1_000_000)
    async with Snapshot(str(path)).kept(cache, every=300.0, sleep=rings.sleep):
        assert await rings.asked.get() == 300.0
        rings.ring.set()
        await rings.asked.get()
        assert not path.exists()
        cache.set("one", b"1")
        rings.ring.set()
        await rings.asked.get()
        assert held(path) == 1
        path.unlink()
        rings.ring.set()
        await rings.asked.get()
        assert not path.exists()
        cache.set("two", b"2")
    assert held(path) == 2


async def test_without_a_timer_there_is_only_the_save_at_the_end(tmp_path: Path) -> None:
    path, rings, cache = tmp_path / "cache.bin", Rings(), BytesCache(1_000_000)
    async with Snapshot(str(path)).kept(cache, every=0.0, sleep=rings.sleep):
        cache.set("one", b"1")
        await asyncio.sleep(0)
        assert rings.asked.empty()
    assert held(path) == 1


async def test_the_gateway_saves_on_time(tmp_path: Path) -> None:
    path = tmp_path / "cache.bin"
    async with simulated_site(cache={"snapshot": str(path), "snapshot_every": 0.02}) as (site, _):
        await (await site.sdk()).chat.completions.create(**QUESTION)
        async with asyncio.timeout(10):
            while not path.exists():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        assert held(path) == 1


class Slow:
    """Stands for a cache whose saves take as long as a test wants."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.at_once = self.most = self.saves = 0

    def stats(self) -> Slow:
        return self

    @property
    def sets(self) -> int:
        return self.saves - 1  # always another than before

    def load(self, path: str) -> int:
        raise FileNotFoundError

    def save(self, path: str) -> None:
        self.saves += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.entered.release()
        assert self.go_on.wait(10)
        self.at_once -= 1


async def test_the_last_save_waits_for_one_that_runs(tmp_path: Path) -> None:
    slow, rings = Slow(), Rings()
    snapshot = Snapshot(str(tmp_path / "cache.bin"))
    kept = snapshot.kept(slow, every=1.0, sleep=rings.sleep)  # type: ignore[arg-type]
    await kept.__aenter__()
    await rings.asked.get()
    slow.saves = 5
    rings.ring.set()
    assert await asyncio.to_thread(slow.entered.acquire, timeout=10)
    ending = asyncio.create_task(kept.__aexit__(None, None, None))
    await asyncio.sleep(0.05)
    assert not ending.done()
    slow.go_on.set()
    await ending
    assert slow.most == 1
    assert slow.saves == 7


async def test_saving_while_the_cache_is_used_gives_files_that_hold_what_was_set(tmp_path: Path) -> None:
    path, cache, done = tmp_path / "cache.bin", BytesCache(2_000_000), threading.Event()

    def use() -> None:
        numbers = random.Random(1)
        while not done.is_set():
            key = numbers.randrange(2000)
            match numbers.randrange(3):
                case 0:
                    cache.get(str(key))
                case 1:
                    cache.delete(str(key))
                case _:
                    cache.set(str(key), b"%d " % key * 100)

    user = threading.Thread(target=use)
    user.start()
    try:
        for _ in range(8):
            await asyncio.to_thread(cache.save, path)
            loaded = BytesCache(10_000_000)
            loaded.load(path)
            found = [(key, loaded.get(str(key))) for key in range(2000)]
            assert all(value is None or value == b"%d " % key * 100 for key, value in found)
    finally:
        done.set()
        user.join()


SAVING = """
import itertools, sys
from sparecall.cache import BytesCache
path = sys.argv[1]
caches = []
for count in (1000, 2000):
    cache = BytesCache(2**30)
    cache.set_many([(str(key), bytes(2000)) for key in range(count)])
    caches.append(cache)
for cache in itertools.cycle(caches):
    cache.save(path)
    print("saved", flush=True)
"""


def test_a_process_killed_in_the_middle_of_saves_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path, moments = tmp_path / "cache.bin", random.Random(0)
    for _ in range(12):
        with subprocess.Popen([sys.executable, "-c", SAVING, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(2):
                assert process.stdout.readline() == b"saved\n"
            time.sleep(moments.uniform(0, 0.02))
            process.kill()
        cache = BytesCache(2**30)
        assert cache.load(path) in {1000, 2000}
    old = tmp_path / f".{path.name}.0123456789abcdef.tmp"
    old.touch()  # as one that was killed in the middle leaves it
    left = [each for each in tmp_path.iterdir() if each not in {path, old}]
    # A gateway that starts later removes what is too old to be a save that runs.
    os.utime(old, (0, 0))
    Snapshot(str(path)).load(BytesCache(2**30))
    assert [each for each in tmp_path.iterdir() if each != path] == left
