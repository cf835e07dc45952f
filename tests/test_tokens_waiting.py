"""Counting from a running loop: the same numbers, in a thread where it takes long, and nothing breaks when the wait ends early."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from sparecall import queue, tokens
from sparecall.errors import UnknownName
from sparecall.tokens import waiting

pytestmark = pytest.mark.anyio

SHORT = "How many tokens is this?"
LONG = "Words and words; 12345. " * 4000
WIDE = "東京都は日本の首都です。" * 4000
SURROGATES = "a\ud800b" * 20_000


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[queue.Work[Any]]:
    """What was handed to the workers."""
    seen: list[queue.Work[Any]] = []
    run = queue.run

    async def seeing(work: queue.Work[Any], **options: Any) -> Any:
        seen.append(work)
        return await run(work, **options)

    monkeypatch.setattr(queue, "run", seeing)
    return seen


@pytest.mark.parametrize(
    "text", ["", SHORT, LONG, WIDE, SURROGATES], ids=["empty", "short", "long", "wide", "surrogates"]
)
@pytest.mark.parametrize("encoding", ["o200k_base", "cl100k_base"])
async def test_the_number_is_that_of_count(text: str, encoding: str) -> None:
    assert await tokens.count_async(text, encoding=encoding) == tokens.count(text, encoding)
    assert await tokens.count_many_async([text, "x", text], encoding=encoding) == tokens.count_many(
        [text, "x", text], encoding
    )


async def test_what_is_quick_is_counted_here_and_what_is_not_elsewhere(handed: list[queue.Work[Any]]) -> None:
    await tokens.count_async(SHORT)
    handed.clear()
    await tokens.count_async(SHORT)
    await tokens.count_many_async([SHORT] * 10)
    assert handed == []
    await tokens.count_async(LONG)
    await tokens.count_async(WIDE)
    await tokens.count_many_async([SHORT] * 3000)
    assert len(handed) == 3
    assert all(0.0001 < work.seconds < 0.01 for work in handed)


@pytest.mark.parametrize("many", [False, True])
async def test_the_first_count_of_an_encoding_expands_it_elsewhere(
    handed: list[queue.Work[Any]], monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    monkeypatch.setattr(waiting, "_expanded", set())
    for _ in range(2):
        await (tokens.count_many_async([SHORT]) if many else tokens.count_async(SHORT))
    assert len(handed) == 1
    with pytest.raises(UnknownName):
        await tokens.count_async(SHORT, "gpt2")
    assert waiting._expanded == {"o200k_base"}


async def test_many_are_counted_in_parts(handed: list[queue.Work[Any]]) -> None:
    texts = [f"text {i}" for i in range(10_000)]
    assert await tokens.count_many_async(iter(texts)) == tokens.count_many(texts)
    assert len(handed) == 3


@pytest.mark.parametrize("bad", [None, b"bytes", 5])
async def test_what_is_no_text_is_refused_as_by_count(bad: Any) -> None:
    with pytest.raises(TypeError) as expected:
        tokens.count(bad)
    with pytest.raises(TypeError) as raised:
        await tokens.count_async(bad)
    assert str(raised.value) == str(expected.value)
    with pytest.raises(TypeError, match=r"texts\[1\]"):
        await tokens.count_many_async([LONG, bad])
    with pytest.raises(TypeError, match="not one str"):
        await tokens.count_many_async("one text")
    for text in (SHORT, LONG):
        with pytest.raises(UnknownName, match="o200k_base"):
            await tokens.count_async(text, "gpt2")


async def test_a_wait_that_is_cancelled_leaves_all_in_order() -> None:
    tasks = [asyncio.create_task(tokens.count_async(LONG * 10)) for _ in range(4)]
    await asyncio.sleep(0)
    for task in tasks[1:]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[0] == tokens.count(LONG * 10)
    assert all(isinstance(result, asyncio.CancelledError) for result in results[1:])
    assert await tokens.count_async(LONG) == tokens.count(LONG)


CONVERSATION = [{"role": "user", "content": f"{i} " + SHORT * 40} for i in range(100)]


@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5"])
async def test_messages_count_the_same_from_a_loop(model: str) -> None:
    tools = [{"name": f"f{i}", "description": SHORT * 10, "parameters": {}} for i in range(200)]
    messages = [
        *CONVERSATION,
        {"role": "user", "content": LONG},
        {"role": "user", "content": [{"type": "text", "text": WIDE}]},
    ]
    expected = tokens.Counter(model).messages(messages, tools, system="Be brief.")
    counter = tokens.Counter(model)
    for _ in range(2):
        assert await counter.messages_async(messages, tools, system="Be brief.") == expected
    assert await counter.messages_async([]) == counter.messages([])


async def test_messages_let_others_run_between() -> None:
    turns: list[int] = []
    running = True

    async def other() -> None:
        while running:
            turns.append(1)
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await asyncio.sleep(0)
    turns.clear()
    counter = tokens.Counter("gpt-4o")
    await counter.messages_async(CONVERSATION)
    first = len(turns)
    turns.clear()
    await counter.messages_async(CONVERSATION)
    running = False
    await task
    total = sum(len(message["content"]) for message in CONVERSATION)
    assert first >= total // waiting.STEP - 1
    assert len(turns) < first, "what is remembered takes fewer turns"


async def test_a_long_message_is_counted_by_a_thread() -> None:
    class Watched:
        def __init__(self) -> None:
            self.threads: set[int] = set()

        def count(self, text: str, /) -> int:
            if len(text) > 1000:
                self.threads.add(threading.get_ident())
            return len(text)

    watched = Watched()
    counter = tokens.Counter("m", encoding=watched)
    await counter.messages_async([{"role": "user", "content": LONG}], system=LONG)
    assert len(watched.threads) >= 1
    assert threading.get_ident() not in watched.threads
