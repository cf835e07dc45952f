"""What the core does on the workers gives what the same call gives here, errors too, in parts where it is much, and the urgent first."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import bert
from sparecall import digest, queue, tokens
from sparecall.embed import MiniLMEmbedder, StaticEmbedder
from sparecall.errors import InvalidArgument, InvalidDocument
from sparecall.index import VectorIndex
from sparecall.semantic import SemanticCache

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

TEXTS = [
    "the cat sat",
    "",
    "Größe, naïve café — ½ µm",
    "東京の天気は。",
    "a\ud800b",
    "word " * 3_000,
    *(f"text {i}" for i in range(300)),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> MiniLMEmbedder:
    return MiniLMEmbedder(bert.write(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The priority of each piece of work that went to the workers."""
    seen: list[str] = []
    submit = queue.submit

    def seeing(work: Any, future: Any, *, priority: queue.Priority = "normal") -> queue.WorkTicket:
        seen.append(priority)
        return submit(work, future, priority=priority)

    monkeypatch.setattr(queue, "submit", seeing)
    return seen


@pytest.mark.parametrize("kind", ["static", "minilm"])
async def test_vectors_are_those_of_embed(kind: str, tiny: MiniLMEmbedder, handed: list[str]) -> None:
    embedder = tiny if kind == "minilm" else StaticEmbedder()
    for texts in (TEXTS, tuple(TEXTS[:3]), [], "one text", TEXTS[5]):
        found = await embedder.aembed(texts, priority="low")
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        np.testing.assert_allclose(found, embedder.embed(texts), atol=1e-6)
    assert set(handed) == {"low"}
    assert len(handed) == (13 if kind == "minilm" else 4)  # TEXTS in ten parts, or in one


@pytest.mark.parametrize("kind", ["static", "minilm"])
async def test_what_is_no_text_is_refused_before_anything_is_done(
    kind: str, tiny: MiniLMEmbedder, handed: list[str]
) -> None:
    embedder: Any = tiny if kind == "minilm" else StaticEmbedder()
    for bad in (None, 5, iter("ab"), [*TEXTS, 5], [b"a"]):
        with pytest.raises(TypeError):
            await embedder.aembed(bad)
    with pytest.raises(TypeError, match=r"texts\[306\] must be str, not int"):
        await embedder.aembed([*TEXTS, 5])
    assert handed == []


async def test_a_large_embedding_is_left_off_between_parts_and_lets_the_urgent_go_first(
    tmp_path: Path, handed: list[str]
) -> None:
    slow = MiniLMEmbedder(bert.write(tmp_path))
    texts = ["b c d e f g " * 20] * 2_000
    large = asyncio.ensure_future(slow.aembed(texts, priority="low"))
    while len(handed) < 3:  # noqa: ASYNC110 - whoever hands over sets no event
        await asyncio.sleep(0)
    assert await tokens.count_async("urgent " * 10_000) > 0
    assert not large.done()
    large.cancel()
    with pytest.raises(asyncio.CancelledError):
        await large
    begun = len(handed)
    await asyncio.sleep(0.01)
    assert len(handed) == begun < 1_000
    assert queue.workers()[0] == 0


@pytest.mark.parametrize("size", [10, digest.INLINE_BYTES])
async def test_inspections_are_those_of_inspect(size: int, handed: list[str]) -> None:
    body = json.dumps(
        {"model": "m", "temperature": 0.5, "messages": [{"role": "user", "content": "ä" * size}]}
    ).encode()
    here = digest.inspect(body, scope="s", version=3, max_temperature=0.1)
    found = await digest.inspect_async(body, scope="s", version=3, max_temperature=0.1)
    for name in ("digest", "model", "stream", "cacheable", "why", "messages", "temperature", "n", "has_tools"):
        assert getattr(found, name) == getattr(here, name)
    for bad in (body[:-1], body + b" {}"):
        with pytest.raises(InvalidDocument) as raised:
            await digest.inspect_async(bad, scope="s")
        with pytest.raises(InvalidDocument) as expected:
            digest.inspect(bad, scope="s")
        assert (str(raised.value), raised.value.offset) == (str(expected.value), expected.value.offset)
    with pytest.raises(InvalidArgument, match="wire"):
        await digest.inspect_async(body, scope="s", wire="other")  # type: ignore[arg-type]
    assert handed == (["high"] * 3 if size > 10 else [])


async def test_long_questions_are_answered_from_the_workers(handed: list[str]) -> None:
    cache = SemanticCache(StaticEmbedder(), seed=1, max_characters=1_000_000)
    text = "How do I reset the password of my account? " * 2_000
    await cache.store(text, b"so", scope="s")
    found = await cache.lookup(text, scope="s")
    assert found.match is not None
    assert found.match.value == b"so"
    assert set(handed) == {"high"}
    assert len(handed) >= 2


async def test_no_python_thread_is_started_for_any_of_it(tiny: MiniLMEmbedder) -> None:
    index = VectorIndex(32)
    index.add_many(range(3_000), np.random.default_rng(0).normal(size=(3_000, 32)).astype(np.float32))
    before = threading.active_count()
    await asyncio.gather(
        tokens.count_async("words and words " * 10_000),
        tiny.aembed(TEXTS),
        *(index.search_async(np.ones(32, np.float32), min_similarity=0.1 * k) for k in range(3)),
    )
    assert threading.active_count() == before


async def test_the_loop_goes_on_while_the_core_works() -> None:
    text, turns = "Words and words; 12345. " * 400_000, 0
    counting = asyncio.ensure_future(tokens.count_async(text))
    start = time.perf_counter()
    while not counting.done():
        await asyncio.sleep(0)
        turns += 1
    assert counting.result() == tokens.count(text)
    assert turns > 100, time.perf_counter() - start


def test_texts_stay_as_long_as_they_are_read() -> None:
    async def main() -> list[int]:
        tasks = [
            asyncio.ensure_future(tokens.count_async("".join(chr(0x4E00 + (i + j) % 500) for j in range(20_000))))
            for i in range(20)
        ]
        await asyncio.sleep(0)
        junk = ["x" * 20_000 for _ in range(200)]
        del junk
        return await asyncio.gather(*tasks)

    counts = asyncio.run(main())
    assert counts == [tokens.count("".join(chr(0x4E00 + (i + j) % 500) for j in range(20_000))) for i in range(20)]
