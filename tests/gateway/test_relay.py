"""Gateways that share answers by meaning: through a stream of the store, with what came before they started."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.site import Site, gateway_before
from gateway.test_semantic import ALWAYS, ASKED, REWORDED, ask
from simulated import INSTANT
from sparecall import simulate
from sparecall.frame import pack
from sparecall.pipeline import Semantic
from sparecall.pipeline.relay import Record, Relay
from sparecall.store import SqliteStore
from stores import until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def entries(site: Site) -> int:
    return len(site.gateway.pipeline.stage(Semantic).cache)


async def test_a_question_asked_of_one_gateway_is_answered_in_other_words_by_all(tmp_path: Path) -> None:
    provider = simulate.Provider(latency=INSTANT)
    sections: dict[str, Any] = {"store": {"url": f"sqlite:{tmp_path / 'answers.db'}"}, "semantic": ALWAYS}
    async with simulate.serve(provider) as upstream, gateway_before(upstream, **sections) as one:
        async with gateway_before(upstream, **sections) as running:
            first, said = await ask(await one.sdk(), ASKED)
            assert first["cache"] == "miss"
            await until(lambda: entries(running) == 1)
            headers, again = await ask(await running.sdk(), REWORDED)
            assert (headers["cache"], again) == ("semantic", said)
            assert (await ask(await running.sdk("sk-bob"), REWORDED))[0]["cache"] == "miss"
            await until(lambda: entries(one) == 2)
        async with gateway_before(upstream, **sections) as late:
            await until(lambda: entries(late) == 2)
            headers, again = await ask(await late.sdk(), REWORDED)
            assert (headers["cache"], again) == ("semantic", said)
        other = sections | {"version": 1}  # nothing of before fits
        async with gateway_before(upstream, **other) as changed:
            await until(lambda: entries(changed) == 2)
            assert (await ask(await changed.sdk(), REWORDED))[0]["cache"] == "miss"
    assert provider.calls.total() == 3


async def test_records_keep_their_lives_and_odd_ones_are_counted(tmp_path: Path) -> None:
    now = time.time()
    heard: list[tuple[str, float | None]] = []

    async def take(record: Record, life: float | None) -> None:
        if record.text == "refused":
            raise TypeError
        heard.append((record.text, life))

    def record(text: str, expires: float, sender: str = "other") -> Record:
        return Record(
            sender=sender, text=text, value=b"", scope="team", context=b"", category="", principal="", model="", dollars=0.0,
            seconds=0.0, expires=expires,
        )  # fmt: skip

    async with SqliteStore(tmp_path / "store", timeout=5.0) as store:
        relay = Relay(store, lives={"short": 5.0}.get, clock=lambda: now, interval=0.01)
        assert relay.expires("short") == now + 5
        assert relay.expires("") == math.inf
        for each in (
            record("ever", math.inf),
            record("past", now - 1),
            record("own", math.inf, "me"),
            record("refused", math.inf),
            record("soon", now + 7),
        ):
            await relay.tell(each)
        for odd in (b"junk", pack([1, "too short"]), pack([2, *["x"] * 11])):
            await store.append("semantic", odd, keep=100)
        for n in range(100):
            await relay.tell(record(f"{n}", math.inf))
        task = asyncio.create_task(relay.hear(take, sender="me"))
        await until(lambda: len(heard) == 102)
        await relay.tell(record("later", math.inf))
        await until(lambda: len(heard) == 103)
        task.cancel()
        assert heard[:2] == [("ever", None), ("soon", 7.0)]
        assert [text for text, _ in heard[2:]] == [*map(str, range(100)), "later"]
        assert relay.odd == 4
        await store.close()
        await relay.tell(record("nobody hears", math.inf))  # a store that is away is not the caller's trouble
