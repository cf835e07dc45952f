"""Summaries of what is left out: in whose place they stand, how often they are made, and what becomes of it where they are not."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from sparecall.context import ContextOptimizer, validate
from sparecall.errors import InvalidArgument
from sparecall.store import SqliteStore, TieredCache

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio
Messages = list[dict[str, Any]]


def talk(turns: int, *, words: int = 60) -> Messages:
    """A long conversation of which no two turns say the same."""
    messages: Messages = [{"role": "system", "content": "You are a clerk."}]
    for turn in range(turns):
        text = " ".join(f"item{turn}x{word}" for word in range(words))
        messages += [
            {"role": "user", "content": f"Note {turn}: {text}"},
            {"role": "assistant", "content": f"Noted {turn}."},
        ]
    return [*messages, {"role": "user", "content": "What was the last one?"}]


def optimizer(**options: Any) -> ContextOptimizer:
    return ContextOptimizer(**{"budget": 3_000, "keep_last": 2, "embedder": None, **options})


class Summariser:
    """Says how many messages it was given, and remembers them."""

    def __init__(self, error: Exception | None = None) -> None:
        self.spans: list[Messages] = []
        self.error = error

    async def __call__(self, messages: Messages) -> str:
        self.spans.append(messages)
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return f"{len(messages)} notes were taken, from {messages[0]['content'][:7]} on."


async def test_what_is_left_out_has_a_summary_in_its_place() -> None:
    summarise, messages = Summariser(), talk(30)
    mine = optimizer()
    done = await mine.optimize_async(messages, summarise=summarise)
    validate(done.messages)
    (span,) = summarise.spans
    assert span == messages[messages.index(span[0]) :][: len(span)]  # as they came, all that stand together
    summary = next(one for one in done.messages if "notes were taken" in one["content"])
    assert summary["role"] == "user"
    assert summary["content"].startswith(f"[Summary of {len(span)} messages")
    assert done.report.after <= 3_000
    gone = [one for one in done.report.removed if one.change == "summary"]
    assert [one.index for one in gone] == [messages.index(one) for one in span]
    assert sum(one.tokens for one in done.report.removed) == done.report.saved
    assert not done.report.lossless
    assert '"Note' in mine.fetch(gone[0].handle) or "Noted" in mine.fetch(gone[0].handle)
    assert (await mine.optimize_async(messages, summarise=summarise)) == done
    assert len(summarise.spans) == 1  # it was remembered


async def test_nothing_is_asked_where_all_fits_or_nothing_goes() -> None:
    summarise = Summariser()
    messages = talk(3)
    assert (await optimizer().optimize_async(messages, summarise=summarise)).messages == messages
    assert summarise.spans == []


@pytest.mark.parametrize("answer", [RuntimeError("down"), TimeoutError(), None])
async def test_where_it_fails_the_best_lines_stand_there(answer: Exception | None) -> None:
    async def silent(_messages: Messages) -> str:
        return "  \n"

    summarise: Callable[[Messages], Awaitable[str]] = silent if answer is None else Summariser(answer)
    done = await optimizer().optimize_async(talk(30), summarise=summarise)
    validate(done.messages)
    (summary,) = [one for one in done.messages if one["content"].startswith("[Summary of")]
    assert "item" in summary["content"]
    assert done.report.after <= 3_000


async def test_with_a_stable_prefix_it_is_asked_at_epochs_only() -> None:
    summarise, mine, messages = Summariser(), optimizer(prefix="stable"), talk(60)
    sent: Messages = []
    asked = []
    for end in range(2, len(messages) + 1, 2):
        done = await mine.optimize_async(messages[:end], summarise=summarise)
        validate(done.messages)
        assert done.report.prefix is not None
        assert done.report.after <= 3_000
        if done.report.prefix.why == "extended":
            assert done.messages[: len(sent)] == sent
        asked.append((done.report.prefix.why, len(summarise.spans)))
        sent = done.messages
    calls = [later - before for (_, before), (_, later) in itertools.pairwise(asked)]
    epochs = [why == "epoch" for why, _ in asked[1:]]
    assert [bool(one) for one in calls] == epochs
    assert 1 < sum(epochs) < len(asked) / 5


async def test_who_shares_a_store_sends_the_same_bytes(tmp_path: Path) -> None:
    texts = iter(["First said.", "Said anew."])

    async def summarise(_messages: Messages) -> str:
        return next(texts)

    outs = []
    for _ in range(2):  # two workers, one after the other
        async with TieredCache(l2=SqliteStore(tmp_path / "summaries.db"), l2_timeout=10.0) as store:
            done = await optimizer(summaries=store).optimize_async(talk(30), scope="team/a", summarise=summarise)
        outs.append(done.messages)
    assert outs[0] == outs[1]
    assert any("First said." in one["content"] for one in outs[0])
    other = await optimizer().optimize_async(talk(30), scope="team/b", summarise=summarise)
    assert any("Said anew." in one["content"] for one in other.messages)


async def test_whoever_leaves_while_it_is_asked_loses_nothing() -> None:
    mine, messages, started, left = optimizer(prefix="stable"), talk(30), asyncio.Event(), []

    async def endless(_messages: Messages) -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            left.append("cancelled")
            raise
        return ""

    task = asyncio.create_task(mine.optimize_async(messages, summarise=endless))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left == ["cancelled"]
    summarise = Summariser()
    done = await mine.optimize_async(messages, summarise=summarise)
    assert summarise.spans
    assert done == await optimizer(prefix="stable").optimize_async(messages, summarise=Summariser())


async def test_a_cancellation_at_any_step_leaves_an_optimizer_as_good_as_new() -> None:
    """Cancelled after 1, 2, 3 ... turns of the loop: what comes afterwards is what comes of a new one."""
    messages = talk(24, words=120)
    fresh = await optimizer(prefix="stable").optimize_async(messages, summarise=Summariser())
    mine = optimizer(prefix="stable")
    for turns in range(1, 200):
        task = asyncio.create_task(mine.optimize_async(messages, summarise=Summariser()))
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert turns > 2
    done = await mine.optimize_async(messages, summarise=Summariser())
    assert (done.messages, done.report.removed) == (fresh.messages, fresh.report.removed)


@pytest.mark.parametrize("options", [{"min_gain": 1.0}, {"min_gain": -0.1}, {"summary_share": 1.0}])
def test_shares_out_of_range_are_named(options: dict[str, float]) -> None:
    (name,) = options
    with pytest.raises(InvalidArgument, match=name):
        optimizer(**options)
