"""The log of a provider's stream: written once, read by many, bounded, stopped when nobody reads."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from loop_steps import no_complaints, settled, turns
from sparecall.errors import UpstreamError
from sparecall.pipeline.log import LogEvent, Reader, ReplyLog

pytestmark = pytest.mark.anyio


def event(number: int, size: int = 4) -> LogEvent:
    return LogEvent(f"{number:0{size}}".encode(), usage=False)


async def all_of(reader: Reader[Any]) -> list[int]:
    return [int(event.data) async for events in reader for event in events]


def log_of(*numbers: int, **options: Any) -> ReplyLog[str]:
    log: ReplyLog[str] = ReplyLog(**{"limit": 1 << 20, **options})
    for number in numbers:
        log.append(event(number))
    return log


async def test_readers_early_and_late_read_everything_from_the_start() -> None:
    log = log_of()
    early = asyncio.ensure_future(all_of(log.reader()))
    await turns(2)
    log.append(event(1))
    await turns(2)
    middle = asyncio.ensure_future(all_of(log.reader()))
    log.append(event(2))
    log.append(event(3))
    keeper = log.reader()
    log.end("whole")
    late = all_of(log.reader())
    async with asyncio.timeout(5):
        assert [await early, await middle, await late] == [[1, 2, 3]] * 3
        assert await keeper.ending() == "whole"
    assert len(log) == 3
    assert repr(log).startswith("<ReplyLog ended, 3 events, 12 bytes")
    assert repr(keeper).startswith("<Reader at event")


async def test_an_error_comes_after_the_events_before_it_and_to_every_reader() -> None:
    log = log_of(1, 2)
    readers = [log.reader() for _ in range(3)]
    log.fail(ValueError("cut"))
    for reader in readers:
        assert [int(event.data) for event in await anext(reader)] == [1, 2]
        with pytest.raises(ValueError, match="cut"):
            await anext(reader)
        with pytest.raises(ValueError, match="cut"):
            await reader.ending()
    assert log.failed


async def test_one_error_for_a_thousand_readers_does_not_grow_a_thousand_tracebacks_long() -> None:
    log = log_of()
    readers = [log.reader() for _ in range(1000)]
    log.fail(error := ValueError("cut"))
    for reader in readers:
        with pytest.raises(ValueError, match="cut"):
            await reader.ending()
    trace, depth = error.__traceback__, 0
    while trace is not None:
        trace, depth = trace.tb_next, depth + 1
    assert depth < 10


async def test_the_writer_waits_for_the_fastest_reader_only() -> None:
    log = log_of(window=10)
    fast, slow = log.reader(), log.reader()
    for number in range(4):
        log.append(event(number))
    writer = asyncio.ensure_future(log.paced())
    await turns(3)
    assert not writer.done()  # 16 bytes ahead of everybody
    await anext(fast)
    await turns(3)
    assert writer.done()
    assert len(await anext(slow)) == 4


@pytest.mark.parametrize("leaving", ["ending", "close", "end"])
async def test_the_writer_goes_on_when_nobody_can_hold_it_back_any_more(leaving: str) -> None:
    log = log_of(1, 2, 3, 4, window=10)
    reader = log.reader()
    writer = asyncio.ensure_future(log.paced())
    await turns(3)
    assert not writer.done()
    waiting = None
    if leaving == "ending":
        waiting = asyncio.ensure_future(reader.ending())
    elif leaving == "close":
        reader.close()
    else:
        log.end("whole")
    await turns(3)
    assert writer.done()
    if waiting is not None:
        log.end("whole")
        assert await waiting == "whole"


async def test_past_its_limit_a_log_forgets_what_all_have_read_and_takes_nobody_new() -> None:
    log = log_of(1, 2, limit=10)
    fast, slow = log.reader(), log.reader()
    assert len(await anext(fast)) == len(await anext(slow)) == 2
    log.append(event(3))
    assert log.overflowed
    assert [int(event.data) for event in await anext(fast)] == [3]
    log.append(event(4))
    with pytest.raises(RuntimeError, match="lost its head"):
        log.reader()
    assert len(log) == 4
    log.end("cut short")
    assert await all_of(fast) == [4]
    assert await all_of(slow) == [3, 4]


async def test_memory_of_an_overflowed_log_is_what_its_slowest_reader_has_not_read() -> None:
    log = log_of(limit=100)
    reader = log.reader()
    for number in range(10_000):
        log.append(event(number))
        await anext(reader)
    assert len(log) == 10_000
    assert len(log._events) <= 26


async def test_a_reader_that_falls_too_far_behind_the_others_is_cut_off_and_holds_no_memory() -> None:
    log = log_of(limit=100)
    fast, slow, waiting = log.reader(), log.reader(), log.reader()
    ending = asyncio.ensure_future(waiting.ending())
    await turns(2)
    for number in range(10_000):
        log.append(event(number))
        await anext(fast)
    assert len(log._events) <= 26
    with pytest.raises(UpstreamError, match="behind"):
        await anext(slow)
    log.end("whole")
    assert await all_of(fast) == []
    assert await ending == "whole"


async def test_past_the_limit_who_waits_for_the_end_neither_hurries_the_writer_nor_cuts_readers_off() -> None:
    log = log_of(1, 2, limit=10, window=10)
    reader, waiting = log.reader(), log.reader()
    ending = asyncio.ensure_future(waiting.ending())
    await turns(2)
    await asyncio.wait_for(log.paced(), 10)
    for number in (3, 4):
        log.append(event(number))
    writer = asyncio.ensure_future(log.paced())
    await turns(3)
    assert not writer.done()
    assert [int(event.data) for event in await anext(reader)] == [1, 2, 3, 4]
    await writer
    reader.close()
    log.append(event(5))
    await asyncio.wait_for(log.paced(), 10)
    log.end("whole")
    assert await ending == "whole"


async def test_a_reader_that_reads_alone_is_never_cut_off() -> None:
    log = log_of(*range(100), limit=20)
    reader = log.reader()
    log.append(event(100))
    log.end("whole")
    assert await all_of(reader) == list(range(101))


async def test_a_reader_gets_a_long_log_in_pieces() -> None:
    log = log_of()
    for _ in range(40):
        log.append(LogEvent(b"x" * 10_000, usage=False))
    log.end("whole")
    reader = log.reader()
    pieces = [len(events) async for events in reader]
    assert sum(pieces) == 40
    assert max(pieces) == 7


async def test_the_last_reader_to_leave_stops_the_writer_once() -> None:
    stopped: list[str] = []
    log = log_of(1, abandoned=lambda: stopped.append("stopped"))
    first, second = log.reader(), log.reader()
    first.close()
    first.close()
    assert not log.ended
    second.close()
    assert log.ended
    assert log.failed
    del first, second
    gc.collect()
    assert stopped == ["stopped"]


async def test_letting_go_of_a_reader_is_leaving() -> None:
    stopped: list[str] = []
    log = log_of(1, abandoned=lambda: stopped.append("stopped"))
    reader = log.reader()
    del reader
    assert stopped == ["stopped"]


async def test_leaving_a_log_that_has_ended_stops_nothing() -> None:
    stopped: list[str] = []
    log = log_of(1, abandoned=lambda: stopped.append("stopped"))
    reader = log.reader()
    log.end("whole")
    reader.close()
    assert stopped == []
    assert not log.failed


async def test_a_closed_reader_never_gets_wrong_events() -> None:
    log = log_of(1, 2, limit=7)
    closed, other = log.reader(), log.reader()
    closed.close()
    for number in (3, 4):
        await anext(other)
        log.append(event(number))
    with pytest.raises(RuntimeError, match="closed"):
        await anext(closed)


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("well", [True, False])
async def test_when_ended_calls_once_with_the_value_or_with_none_for_an_error(early: bool, well: bool) -> None:
    log = log_of(1)
    seen: list[Any] = []
    keeper = log.reader()
    if early:
        log.when_ended(seen.append)
    if well:
        log.end("whole")
    else:
        log.fail(ValueError("cut"))
    if not early:
        log.when_ended(seen.append)
    keeper.close()
    assert seen == ["whole" if well else None]


async def test_a_waiting_reader_that_is_cancelled_leaves_nothing_behind() -> None:
    async with no_complaints():
        log = log_of()
        keeper = log.reader()
        for k in range(4):
            reader = asyncio.ensure_future(all_of(log.reader()))
            await turns(k)
            reader.cancel()
            await turns(2)
            assert reader.cancelled()
            del reader  # and the traceback that holds its place
        assert repr(log) == "<ReplyLog live, 0 events, 0 bytes, 1 readers>"
        assert not log._grown._waiting
        log.end("whole")
        assert await keeper.ending() == "whole"
        await settled()
