"""Two embedders: the fast one finds, and where it leaves a question open the slow one judges what was found."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sparecall.embed import StaticEmbedder
from sparecall.errors import InvalidArgument, SnapshotError
from sparecall.semantic import SemanticCache

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

pytestmark = pytest.mark.anyio

ASKED = "How do I reset my router?"
RESPELT = "how do i reset my ROUTER"
NEAR = "What are the steps to reset a router?"
NEARER = "Which steps reset the router of mine?"


class Slow:
    """Vectors in a plane, at the angle that a text was given; counts, and fails when it is told to."""

    dim = 2

    def __init__(self, **angles: float) -> None:
        self.angles = {ASKED: 0.0, NEAR: 0.3, NEARER: 0.0} | angles
        self.texts: list[str] = []
        self.fails = False

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        if self.fails:
            raise RuntimeError(texts[0])
        angles = [self.angles.get(text, 1.0) for text in texts]
        return np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


def refined(slow: Any, **options: Any) -> SemanticCache:
    given = {"max_error": 0.05, "seed": 1, "audit_share": 0.0, "min_similarity": 0.3, **options}
    return SemanticCache(StaticEmbedder(), refine=slow, **given)


async def test_what_the_fast_one_decides_the_slow_one_is_not_asked() -> None:
    slow = Slow()
    cache = refined(slow)
    number = await cache.store(ASKED, 1, scope="team")
    assert slow.texts == [ASKED]
    found = await cache.lookup(RESPELT, scope="team")
    assert found.match is not None
    assert found.match.id == number
    assert slow.texts == [ASKED]


async def test_in_doubt_the_slow_one_s_similarity_counts_and_each_text_is_embedded_once() -> None:
    slow = Slow()
    cache = refined(slow)
    await cache.store(ASKED, 1, scope="team")
    found = await cache.lookup(NEAR, scope="team")
    assert found.match is None
    assert found.similarity == pytest.approx(np.cos(0.3), abs=1e-3)
    await cache.store(NEAR, 2, scope="team", lookup=found)
    assert slow.texts == [ASKED, NEAR]
    # The fast one finds both; of these the slow one has its own best.
    found = await cache.lookup(NEARER, scope="team")
    assert found.similarity == pytest.approx(1.0, abs=1e-3)


async def test_both_learn_from_a_verdict_and_the_slow_one_s_comes_to_serve() -> None:
    slow = Slow()
    cache = refined(slow)
    await cache.store(ASKED, "press", scope="team")
    for _ in range(300):
        found = await cache.lookup(NEAR, scope="team")
        if found.match is not None:
            break
        assert await cache.audit(found, "press") is True
    report = cache.report()
    assert report.decision.verdicts == report.refined[""].verdicts > 20
    assert found.match is not None
    assert found.match.value == "press"
    cache.feedback(found.match.id, correct=False)
    assert (await cache.lookup(NEAR, scope="team")).why == "nothing_near"


async def test_without_the_slow_one_the_fast_one_s_word_holds() -> None:
    slow = Slow()
    cache = refined(slow)
    number = await cache.store(ASKED, 1, scope="team")
    slow.fails = True
    found = await cache.lookup(NEAR, scope="team")
    assert found.match is None
    assert found.candidate == number
    assert found.judged is not None
    assert not found.judged.refined
    # An entry stored meanwhile is found by the fast one all the same, and judged by it alone.
    await cache.store(NEAR, 2, scope="team", lookup=found)
    slow.fails = False
    assert (await cache.lookup(NEAR, scope="team")).match is not None


async def test_a_slow_one_that_hangs_holds_nobody_up() -> None:
    class Hanging:
        dim = 2

        async def aembed(self, texts: Sequence[str]) -> Any:
            del texts
            await asyncio.Event().wait()

    cache = refined(Hanging(), timeout=0.01)
    await cache.store(ASKED, 1, scope="team")
    found = await cache.lookup(NEAR, scope="team")
    assert found.match is None
    assert found.candidate is not None


async def test_what_both_learnt_is_saved_and_loaded(tmp_path: Path) -> None:
    cache = refined(Slow())
    await cache.store(ASKED, "press", scope="team")
    for _ in range(5):
        await cache.audit(await cache.lookup(NEAR, scope="team"), "press")
    cache.save(tmp_path)
    again = refined(Slow())
    assert again.load(tmp_path) == 1
    assert again.report().refined[""].verdicts == again.report().decision.verdicts == 5
    assert (await again.lookup(NEAR, scope="team")).similarity == pytest.approx(np.cos(0.3), abs=1e-3)
    with pytest.raises(SnapshotError):
        SemanticCache(StaticEmbedder()).load(tmp_path)


def test_an_embedder_without_a_dimension_is_refused() -> None:
    class Bare:
        def embed(self, texts: Sequence[str]) -> Any:
            return texts

    with pytest.raises(InvalidArgument, match="refine_dim"):
        SemanticCache(StaticEmbedder(), refine=Bare())
