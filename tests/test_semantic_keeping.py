"""`SemanticCache`: learning from audits and feedback, lives, purges, eviction, and the folder it is saved to."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from sparecall.embed import StaticEmbedder
from sparecall.errors import InvalidArgument, SnapshotError, UnknownName
from sparecall.semantic import SemanticCache
from test_semantic import AGAIN, QUESTION, Clock, Toy, adds_up, matched, opened

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio
OTHER = "How do I reset my old router?"

# --- audits and feedback -------------------------------------------------------------------------


async def test_audits_are_held_back_compared_and_paid_for() -> None:
    cache = SemanticCache(StaticEmbedder(), max_error=0.05, audit_share=1.0, seed=1)
    await cache.store(QUESTION, "hold the button", scope="t")
    found = await cache.lookup(AGAIN, scope="t")
    assert (found.match, found.audit, found.compare) == (None, True, True)
    assert await cache.audit(found, "Hold the button.", cost=0.25) is True
    report = cache.report()
    assert (report.audits, report.audit_cost, report.decision.audits, report.decision.wrong) == (1, 0.25, 1, 0)
    assert adds_up(cache)
    assert await cache.audit(await cache.lookup("Is there any?", scope="t"), "no") is None


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
async def test_the_numbers_of_the_report_add_up(share: float) -> None:
    cache = SemanticCache(StaticEmbedder(), max_error=0.05, audit_share=share, seed=7, max_characters=100)
    await cache.store(QUESTION, "yes", scope="t")
    for text in [AGAIN, "", "x" * 101, OTHER, "quite another thing", "?"] * 20:
        await cache.lookup(text, scope="t")
    report = cache.report()
    assert report.lookups == 120
    assert report.hits + report.audits == 20
    assert report.misses == {"empty": 40, "too_long": 20, "held_back": 20, "nothing_near": 20}
    assert (report.hits == 20, report.audits == 20) == (share == 0.0, share == 1.0)


async def test_a_judge_of_either_kind() -> None:
    async def later(stored: Any, fresh: Any) -> tuple[bool, float]:
        await asyncio.sleep(0)
        return stored == fresh, 0.5

    for judge in (later, lambda stored, fresh: stored == fresh, lambda stored, fresh: (stored == fresh, 1)):
        cache = opened(judge=judge)
        await cache.store(QUESTION, 1, scope="t")
        found = await cache.lookup(QUESTION, scope="t")
        assert await cache.audit(found, 1) is True
        assert await cache.audit(found, 2) is False
        assert await cache.audit(found, 3, read=lambda value: value + 2) is True
        assert cache.report().decision.verdicts == 3
    assert await opened(judge=lambda *_: None).audit(found, 1) is None


@pytest.mark.parametrize(
    "junk", ["yes", 1, (True,), (True, "x"), (1, 0.5), (True, 0.0), (True, 2.0), (True, float("nan"))]
)
async def test_a_judge_that_returns_junk_teaches_nothing(junk: Any) -> None:
    cache = opened(judge=lambda *_: junk)
    await cache.store(QUESTION, 1, scope="t")
    with pytest.raises(InvalidArgument):
        await cache.audit(await cache.lookup(QUESTION, scope="t"), 1)
    assert cache.report().decision.verdicts == 0


async def test_a_judge_that_raises_or_is_cancelled_teaches_nothing() -> None:
    async def hanging(stored: Any, fresh: Any) -> bool:
        del stored, fresh
        await asyncio.Event().wait()
        return True

    def broken(stored: Any, fresh: Any) -> bool:
        raise ZeroDivisionError

    cache = opened(judge=broken)
    await cache.store(QUESTION, 1, scope="t")
    with pytest.raises(ZeroDivisionError):
        await cache.audit(await cache.lookup(QUESTION, scope="t"), 1)
    waiting = opened(judge=hanging)
    await waiting.store(QUESTION, 1, scope="t")
    task = asyncio.ensure_future(waiting.audit(await waiting.lookup(QUESTION, scope="t"), 1))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cache.report().decision.verdicts == waiting.report().decision.verdicts == 0


async def test_feedback_teaches_once_and_evicts_what_is_wrong() -> None:
    cache = opened()
    await cache.store(QUESTION, 1, scope="t")
    match = matched(await cache.lookup(QUESTION, scope="t"))
    with pytest.raises(UnknownName):
        cache.feedback(match.id, correct=False, scope="other")
    cache.feedback(match.id, correct=True, scope="t")
    cache.feedback(match.id, correct=True)
    assert cache.report().decision.verdicts == 1
    matched(await cache.lookup(QUESTION, scope="t"))
    cache.feedback(match.id, correct=False)
    assert cache.report().decision.verdicts == 2
    assert (await cache.lookup(QUESTION, scope="t")).why == "nothing_near"
    for number in (match.id, 0, -1, 99, 1 << 200, "1"):
        with pytest.raises(UnknownName):
            cache.feedback(number, correct=False)  # type: ignore[arg-type]


async def test_feedback_is_about_what_was_served_not_about_a_miss() -> None:
    cache = SemanticCache(StaticEmbedder(), max_error=0.05, audit_share=0.0, seed=1)
    await cache.store(QUESTION, 1, scope="t")
    assert (await cache.lookup(OTHER, scope="t")).match is None
    cache.feedback(1, correct=True)
    assert cache.report().decision.verdicts == 0


# --- lives, purges, eviction ---------------------------------------------------------------------


async def test_an_answer_lives_as_long_as_it_was_given() -> None:
    clock = Clock()
    cache = opened(clock=clock, ttl=100.0)
    await cache.store("aaa", 1, scope="t")
    await cache.store("bbb", 2, scope="t", ttl=10.0)
    await cache.store("ccc", 3, scope="t", ttl=float("inf"))
    clock.now += 11
    assert (await cache.lookup("bbb", scope="t")).match is None
    assert matched(await cache.lookup("aaa", scope="t")).value == 1
    clock.now += 1e9
    assert (await cache.lookup("aaa", scope="t")).match is None
    assert matched(await cache.lookup("ccc", scope="t")).value == 3


@pytest.mark.parametrize(
    ("purge", "left"),
    [
        ({"scope": "a"}, "cd"), ({"scope": "a/"}, "cd"), ({"scope": "a/b"}, "acd"), ({"tag": "x"}, "bcd"), ({"tag": "model m"}, "abcd"),
        ({"writer": "ann"}, "bc"), ({"writer": "other"}, "abcd"), ({"model": "m"}, "abd"), ({"older_than": 15.0}, "cd"), ({"older_than": 0.0}, "d"),
        ({"tag": "x", "model": "m"}, "bd"),
    ],
)  # fmt: skip
async def test_purges(purge: dict[str, Any], left: str) -> None:
    clock = Clock()
    cache = opened(clock=clock)
    stored = {
        "a": {"scope": "a", "tags": ["x"], "principal": "ann"}, "b": {"scope": "a/b"},
        "c": {"scope": "ab", "model": "m", "tags": ["scope a"]}, "d": {"scope": "c", "principal": "ann"},
    }  # fmt: skip
    for text, options in stored.items():
        clock.now += 10
        await cache.store(text * 3, text, **options)  # type: ignore[arg-type]
    cache.purge(**purge)
    for text, options in stored.items():
        found = await cache.lookup(text * 3, scope=str(options["scope"]))
        assert (found.match is not None) == (text in left), text
    await cache.store("aaa", "new", scope="a", tags=["x"], model="m")
    assert matched(await cache.lookup("aaa", scope="a")).value == "new"


async def test_a_purge_is_told_what() -> None:
    cache = opened()
    for options in ({}, {"older_than": -1.0}, {"older_than": float("nan")}):
        with pytest.raises(InvalidArgument):
            cache.purge(**options)


async def test_the_index_stays_bounded_where_the_cache_is_smaller() -> None:
    cache = opened(max_bytes=20_000, embedder=StaticEmbedder())
    for number in range(1_000):
        await cache.store(f"question number {number} of word{number}", "x" * 200, scope="t")
    assert len(cache) < 60
    assert len(cache._entries.index) <= len(cache._entries._ids) < 2 * len(cache) + 10
    assert await cache.store("too large", "x" * 30_000, scope="t") is None
    assert adds_up(cache)


async def test_lookups_after_a_great_purge_end_and_clean_up() -> None:
    cache = opened()
    for number in range(3_000):
        await cache.store("same letters " + "abc" * (number % 7) + " " * number, number, scope=f"t/{number}")
        cache._entries.index.add(number + 1, Toy().embed(["same letters"])[0], namespace=" t")
    cache.purge(scope="t")
    for _ in range(20):
        assert (await cache.lookup("same letters", scope="t")).match is None
    assert len(cache._entries.index) == len(cache._entries._ids) == 0


# --- the folder ----------------------------------------------------------------------------------


async def filled(folder: Path, clock: Clock | None = None) -> SemanticCache:
    cache = opened(judge=lambda *_: True, clock=clock)
    for number, text in enumerate(["aaa", "bbb", "ccc"]):
        await cache.store(text, number, scope="t", ttl=100.0 * (number + 1), tags=[text])
        await cache.audit(await cache.lookup(text, scope="t"), number)
    cache.save(folder)
    return cache


async def test_all_of_it_is_saved_and_loaded(tmp_path: Path) -> None:
    clock = Clock()
    before = await filled(tmp_path / "deep" / "folder", clock)
    clock.now += 150
    cache = opened(clock=clock)
    await cache.store("left over", "gone", scope="t")
    assert cache.load(tmp_path / "deep" / "folder") == 2
    assert cache._judging.to_bytes() == before._judging.to_bytes()
    assert [(await cache.lookup(text, scope="t")).match is not None for text in ("aaa", "bbb", "ccc")] == [
        False,
        True,
        True,
    ]
    assert (await cache.lookup("left over", scope="t")).match is None
    cache.purge(tag="ccc")
    assert await cache.store("zzz", 9, scope="t") not in {1, 2, 3}
    assert matched(await cache.lookup("bbb", scope="t")).value == 1
    cache.save(tmp_path / "deep" / "folder")
    assert len(os.listdir(tmp_path / "deep" / "folder")) == 4


async def test_what_was_purged_stays_so_over_save_and_load(tmp_path: Path) -> None:
    clock = Clock()
    cache = await filled(tmp_path, clock)
    clock.now += 10
    cache.purge(older_than=5.0)
    cache.save(tmp_path)
    again = opened(clock=clock)
    again.load(tmp_path)
    assert [(await again.lookup(text, scope="t")).match for text in ("aaa", "bbb", "ccc")] == [None] * 3


async def test_a_damaged_folder_is_refused_and_nothing_has_changed(tmp_path: Path) -> None:
    await filled(tmp_path / "whole")
    cache = opened()
    await cache.store("kept", "kept", scope="t")
    state = cache._judging.to_bytes()
    for path in sorted((tmp_path / "whole").iterdir()):
        whole = path.read_bytes()
        for damaged in (
            None,
            b"",
            whole[: len(whole) // 2],
            whole[:30] + bytes([whole[30] ^ 1]) + whole[31:],
            b"\0" * 50,
            b"[" * 9999,
        ):
            shutil.rmtree(tmp_path / "bad", ignore_errors=True)
            shutil.copytree(tmp_path / "whole", tmp_path / "bad")
            if damaged is None:
                (tmp_path / "bad" / path.name).unlink()
            else:
                (tmp_path / "bad" / path.name).write_bytes(damaged)
            with pytest.raises(
                FileNotFoundError if damaged is None and path.name == "semantic.json" else SnapshotError
            ):
                cache.load(tmp_path / "bad")
            assert cache._judging.to_bytes() == state
            assert matched(await cache.lookup("kept", scope="t")).value == "kept"
            state = cache._judging.to_bytes()


async def test_a_folder_of_other_vectors_is_refused(tmp_path: Path) -> None:
    class Wider(Toy):
        dim = 64

    class Renamed(Toy):
        pass

    await filled(tmp_path)
    for embedder in (Wider(), Renamed()):
        with pytest.raises(SnapshotError):
            opened(embedder=embedder).load(tmp_path)


async def test_a_save_takes_away_no_file_but_its_own(tmp_path: Path) -> None:
    for name in ("config.json", "my.cache", "notes.state"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "0123456789abcdef.state").write_text("left by a process that was killed")
    (await filled(tmp_path)).save(tmp_path)
    names = set(os.listdir(tmp_path))
    assert {"config.json", "my.cache", "notes.state", "semantic.json"} < names
    assert len(names) == 7


SAVER = """
    import asyncio, sys
    from sparecall.embed import StaticEmbedder
    from sparecall.semantic import SemanticCache

    async def main():
        cache = SemanticCache(StaticEmbedder(), max_error=1.0, seed=1)
        for number in range(300):
            await cache.store(f"question {number} of word{number}", number, scope="t")
        cache.save(sys.argv[1])
        print("saved", flush=True)
        while True:
            await cache.store(f"question {len(cache)} of word{len(cache)}", len(cache), scope="t")
            cache.save(sys.argv[1])

    asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
async def test_a_process_killed_while_it_saves_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    for turn in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SAVER), str(tmp_path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"saved\n"
        await asyncio.sleep(0.011 * turn + 0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        cache = SemanticCache(StaticEmbedder(), max_error=1.0, seed=1)
        assert cache.load(tmp_path) >= 300
        assert matched(await cache.lookup("question 7 of word7", scope="t")).value == 7
