"""Several workers are one gateway to whoever scrapes it; a worker that dies takes no count with it that was ever shown."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from gateway.test_metrics import parse, value
from sparecall.gateway.exposition import lasting, merged
from sparecall.gateway.peers import Peers
from sparecall.metrics import Registry

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


def counts(*, requests: dict[str, float], entries: float, seconds: tuple[float, ...] = ()) -> Registry:
    registry = Registry()
    family = registry.counter("requests_total", "Requests.", ("model",))
    for model, count in requests.items():
        family.labels(model).add(count)
    registry.gauge("entries", "Entries.").labels().set(entries)
    histogram = registry.histogram("seconds", "Seconds.", buckets=(0.1, 1.0)).labels()
    for each in seconds:
        histogram.observe(each)
    return registry


def test_sums_are_taken_sample_by_sample() -> None:
    odd = 'a "b"\n\\ } 7\x85\u2028'
    one = counts(requests={"x": 1, odd: 2}, entries=3, seconds=(0.05, 5))
    two = counts(requests={odd: 0.5, "y": 4}, entries=4, seconds=(0.5,))
    text = merged([one.render(), "", two.render()])
    both = counts(requests={"x": 1, odd: 2.5, "y": 4}, entries=7, seconds=(0.05, 5, 0.5))
    assert sorted(text.split("\n")) == sorted(both.render().split("\n"))
    assert parse(text.replace("\x85", "").replace("\u2028", ""))
    assert merged([one.render()]) == one.render()


def test_what_lasts_is_all_but_the_gauges() -> None:
    text = lasting(counts(requests={"x": 1}, entries=3, seconds=(5,)).render())
    assert "entries" not in text
    assert 'requests_total{model="x"} 1\n' in text
    assert "seconds_count 1\n" in text


class Three:
    """Three workers' places, and what each counts."""

    def __init__(self, folder: Path, exits: AsyncExitStack) -> None:
        self.folder = folder
        self.exits = exits
        self.requests = [1.0, 2.0, 4.0]

    async def start(self, number: int) -> Peers:
        peers = Peers(str(self.folder), number, 3, timeout=0.2)
        await self.exits.enter_async_context(
            peers.answering(lambda: counts(requests={"x": self.requests[number]}, entries=1).render())
        )
        return peers


async def shown(peers: Peers) -> tuple[float, float]:
    samples = parse(await peers.text())[1]
    return value(samples, "requests_total", model="x"), value(samples, "entries")


async def test_any_worker_answers_for_all(tmp_path: Path) -> None:
    async with AsyncExitStack() as exits:
        three = Three(tmp_path, exits)
        for number in range(3):
            assert await shown(await three.start(number)) == ((1, 3, 7)[number], number + 1)


async def test_counts_of_a_dead_worker_stay_and_its_successor_goes_on_from_them(tmp_path: Path) -> None:
    async with AsyncExitStack() as exits:
        three = Three(tmp_path, exits)
        first, second = await three.start(0), await three.start(1)
        async with AsyncExitStack() as life:
            mortal = Three(tmp_path, life)
            await mortal.start(2)
            assert await shown(first) == (7, 3)
            mortal.requests[2] = 5
            assert await shown(second) == (8, 3)
            mortal.requests[2] = 6  # nobody has seen that one
        assert await shown(first) == (8, 2)
        assert await shown(second) == (8, 2)
        three.requests[2] = 0
        third = await three.start(2)
        assert await shown(third) == (8, 3)
        three.requests[2] = 1
        assert await shown(first) == (9, 3)
        assert await shown(first) == (9, 3), "what was before is added once"


async def test_a_socket_that_nobody_listens_on_counts_as_dead(tmp_path: Path) -> None:
    async with AsyncExitStack() as exits:
        three = Three(tmp_path, exits)
        first = await three.start(0)
        async with AsyncExitStack() as life:
            mortal = Three(tmp_path, life)
            await mortal.start(1)
            (tmp_path / "1.sock").rename(tmp_path / "kept")
        (tmp_path / "kept").rename(tmp_path / "1.sock")  # as a killed process leaves it
        assert await shown(first) == (1, 1)
        await three.start(1)
        assert await shown(first) == (3, 2)


async def test_a_silent_worker_is_left_out(tmp_path: Path) -> None:
    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    async with AsyncExitStack() as exits:
        three = Three(tmp_path, exits)
        first = await three.start(0)
        (tmp_path / "1.last").write_text(lasting(counts(requests={"x": 2}, entries=1).render()))
        server = await asyncio.start_unix_server(silent, tmp_path / "1.sock")
        assert await shown(first) == (3, 1)
        assert len(writers) == 1
        server.close()
        for writer in writers:
            writer.close()


async def test_a_folder_that_is_gone_costs_the_counts_of_others_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    async with AsyncExitStack() as exits:
        three = Three(folder, exits)
        first = await three.start(0)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        assert await shown(first) == (1, 1)
