"""Embeddings of several requests in one call: who leaves, who waits too long, and what is left at the end."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings import Provider, Site, answer, vector_of
from sparecall.errors import UpstreamError
from virtual_time import run


def test_who_leaves_leaves_alone() -> None:
    async def main() -> None:
        site = Site(provider := Provider())
        await site.busy()
        asking = [site.ask(f"text {number}") for number in range(5)]
        await asyncio.sleep(0.1)
        asking[0].cancel()  # waits
        await asyncio.sleep(1.0)
        assert provider.asked[1:] == [[f"text {number}" for number in range(1, 5)]]
        asking[1].cancel()  # its call runs
        replies = await asyncio.gather(*asking, return_exceptions=True)
        assert [isinstance(each, asyncio.CancelledError) for each in replies] == [True, True, False, False, False]
        assert provider.cancelled == 0
        assert (await site.ask("text 1")).hit == "exact"  # paid for, and kept

        asking = [site.ask(f"again {number}") for number in range(2)]
        await asyncio.sleep(0.1)
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await asyncio.sleep(0)
        assert provider.cancelled == 1  # nobody waits for it any more
        assert (await site.ask("again 0")).status == 200
        assert len(site.stage) == 0

    run(main())


def test_who_has_waited_long_enough_goes_alone() -> None:
    async def main() -> None:
        site = Site(provider := Provider(seconds=100.0), max_wait=0.5)
        loop = asyncio.get_running_loop()
        first = await site.busy()
        provider.seconds = 1.0
        start = loop.time()
        late = [site.ask(f"text {number}") for number in range(3)]
        await asyncio.gather(*late)
        assert loop.time() - start == pytest.approx(1.5)
        assert sorted(provider.asked[1:]) == [f"text {number}" for number in range(3)]
        assert site.stage.batches is not None
        assert site.stage.batches.alone == 3
        leaving = site.ask("leaves")
        await asyncio.sleep(0.4999)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert len(provider.requests) == 4
        first.cancel()

    run(main())


def test_closing_tells_those_who_wait() -> None:
    async def main() -> None:
        site = Site(provider := Provider())
        async with site.pipeline:
            asking = [await site.busy(), site.ask("one"), site.ask("two")]
            await asyncio.sleep(0.1)
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(each) for each in outcomes] == [UpstreamError] * 3
        assert provider.running == 0
        with pytest.raises(UpstreamError, match="closed"):
            await site.ask("three")

    run(main())


def test_cancelled_anywhere_nothing_is_lost_and_nothing_stays() -> None:
    """One client of three leaves after every number of loop turns in which anything happens."""

    async def main(turns: int) -> bool:
        site = Site(provider := Provider(seconds=0.0), max_inputs=4)
        asking = [site.ask([f"{name} {number}" for number in range(6)]) for name in "abc"]
        for _ in range(turns):
            await asyncio.sleep(0)
        done = asking[1].done()
        asking[1].cancel()
        replies = await asyncio.gather(*asking, return_exceptions=True)
        for name, reply in zip("abc", replies, strict=True):
            if isinstance(reply, BaseException):
                assert name == "b"
            else:
                assert answer(reply)[0] == [vector_of(f"{name} {number}") for number in range(6)]
        await asyncio.sleep(1)
        assert (len(site.stage), provider.running) == (0, 0)
        assert site.stage.batches is not None
        assert not any(each.batcher.busy for each in site.stage.batches._companies.values())
        return done

    for turns in range(200):
        if run(main(turns)):
            break
    else:
        raise AssertionError("never ended")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 3),  # when
            st.lists(st.integers(0, 40), min_size=1, max_size=6),  # which texts
            st.sampled_from(["sk-a", "sk-a", "sk-b"]),
            st.one_of(st.none(), st.none(), st.floats(0, 2)),  # after how long it leaves
        ),
        max_size=25,
    ),
    st.integers(1, 3),
    st.sampled_from([2, 8, 2048]),
    st.sets(st.integers(0, 40), max_size=3),
    st.sampled_from([0.2, 1000.0]),
)
def test_any_clients_are_answered_rightly_or_told(
    clients: list[Any], permits: int, most: int, bad: set[int], patience: float
) -> None:
    async def one(site: Site, when: float, texts: list[str], key: str, leaves: float | None) -> None:
        await asyncio.sleep(when)
        task = site.ask(texts, key=key)
        if leaves is not None:
            await asyncio.wait({task}, timeout=leaves)
            if not task.done():
                task.cancel()
                return
        reply = await task
        if reply.status == 200:
            assert answer(reply)[0] == [vector_of(text) for text in texts]
        else:
            assert reply.status == 400
            word = msgspec.json.decode(reply.body or b"")["error"]["message"].removeprefix("bad input ")
            assert word in texts

    async def main() -> None:
        site = Site(provider := Provider(), max_concurrent=permits, max_inputs=most, max_wait=patience)
        provider.bad = {f"text {number}" for number in bad}
        await asyncio.gather(
            *(one(site, when, [f"text {number}" for number in texts], key, leaves)
              for when, texts, key, leaves in clients)
        )  # fmt: skip
        await asyncio.sleep(1000)
        assert (provider.running, len(site.stage)) == (0, 0)
        assert all(len(each) <= most for each in provider.asked if isinstance(each, list))

    run(main())
