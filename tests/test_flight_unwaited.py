"""Single flight without callers: work begun ahead of them, and callers who are sent away before its end."""

from __future__ import annotations

from typing import Any

import pytest

from loop_steps import no_complaints, settled, turns
from sparecall.flight import Flight
from test_flight import Work, callers, outcomes

pytestmark = pytest.mark.anyio


async def test_a_run_that_nobody_waits_for_goes_on_and_can_be_joined() -> None:
    flight: Flight[str, Any] = Flight()
    work = Work("value")
    assert flight.start("key", work) is True
    assert flight.start("key", work) is False
    await turns(2)
    (leaves,) = callers(flight, work, 1)
    await turns(2)
    leaves.cancel()
    await turns(3)
    assert (work.started, work.cancelled) == (1, 0), "it goes on whoever leaves"
    tasks = callers(flight, work, 2)
    await turns(2)
    work.gate.set()
    assert sorted(await outcomes(tasks)) == [("value", False), ("value", True)]
    assert len(flight) == 0


async def test_those_who_wait_are_sent_away_and_the_work_goes_on() -> None:
    async with no_complaints():
        for outcome in ("meanwhile", ValueError("too late")):
            flight: Flight[str, Any] = Flight()
            work = Work("value")
            assert flight.part("key", outcome) is False
            early = callers(flight, work, 2)
            await turns(3)
            assert flight.part("key", outcome) is True
            answers = await outcomes(early)
            assert answers == ([("meanwhile", True), ("meanwhile", False)] if outcome == "meanwhile" else [outcome] * 2)
            assert "key" in flight
            (late,) = callers(flight, work, 1)
            await turns(3)
            assert (late.done(), work.started, work.cancelled) == (False, 1, 0)
            work.gate.set()
            assert (await late)[0] == "value"
            assert len(flight) == 0


async def test_an_error_with_nobody_there_is_dropped() -> None:
    async with no_complaints():
        flight: Flight[str, Any] = Flight()
        work = Work(error=ValueError("down"))
        work.gate.set()
        flight.start("key", work)
        await settled()
        assert len(flight) == 0
