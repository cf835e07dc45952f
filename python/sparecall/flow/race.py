"""Two calls for one answer: when the second begins, who wins, and how the other ends. What a `Hedge` runs on; one event loop, no locks."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sparecall.flow.stream import closed, ended

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparecall.flow.quantile import RecentQuantile

Winner = Literal["first", "second", "none"]

_LOG = logging.getLogger("sparecall.flow")


class Contender(NamedTuple):
    """A second call under way: its task, and what is done once it has answered, which may be sooner."""

    task: asyncio.Task[Any]
    answer: asyncio.Future[Any]


class Lane:
    """One route: how long its first calls take, and those under way, in the order in which they will be late; with one timer for all."""

    __slots__ = ("_last", "_loop", "_timer", "may", "running", "seen", "tell")

    def __init__(
        self, seen: RecentQuantile, may: Callable[[], bool], tell: Callable[[str, float, float, Winner, int], None]
    ) -> None:
        self.seen = seen
        self.may = may
        """Whether a second call may be made now; if so it is counted."""
        self.tell = tell
        """Told of each call that was made twice: its route, the delay, when it began, who won, and its prompt's tokens."""
        self.running: dict[Race, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last = 0.0

    def gave_up(self, elapsed: float) -> None:
        """A first call ended without an answer: it counts where it had taken longer than the quantile, for which any such number is as good."""
        if self.seen.seen and elapsed > self.seen.value:
            self.seen.add(elapsed)

    def watch(self, race: Race, delay: float) -> None:
        """Have `race` fire after so many seconds; or after those before it, where their time was longer: that is soon over."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._timer, self._last = loop, None, 0.0
            self.running.clear()
        due = loop.time() + delay
        if due < self._last:
            due = self._last
        self.running[race] = self._last = due
        if self._timer is None:
            self._timer = loop.call_at(due, self._look, due)

    def _look(self, due_now: float) -> None:
        """Fires what is late, and comes again for the next. `due_now`: when it was to be called; the loop's clock may still be a little before."""
        assert self._loop is not None  # noqa: S101 - for mypy; it was set before the timer
        self._timer = None
        now = max(self._loop.time(), due_now)
        late = []
        for race, due in self.running.items():
            if due > now:
                self._timer = self._loop.call_at(due, self._look, due)
                break
            late.append(race)
        for race in late:
            del self.running[race]
            race.context.run(race.fire)


class Race:
    """One call, which runs in its caller's task, and perhaps a second in one of its own.

    The first is cancelled by cancelling the caller, and taking that back, as `asyncio.timeout` does.
    """

    __slots__ = (
        "_at",
        "_cancelling",
        "_contend",
        "_delay",
        "_lane",
        "_overtaken",
        "_rival",
        "_running",
        "_task",
        "context",
    )

    def __init__(self, lane: Lane, contend: Callable[[], Contender], at: float, delay: float) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a hedge needs to run in a task")
        self._lane, self._contend, self._at, self._delay = lane, contend, at, delay
        self._task, self._cancelling = task, task.cancelling()
        self.context = contextvars.copy_context()
        """The caller's: another call's may have set the timer."""
        self._rival: Contender | None = None
        self._overtaken = False
        self._running = True
        lane.watch(self, delay)

    def ends(self) -> bool:
        """The first call has ended: there will be no second one any more. Whether there is one."""
        self._running = False
        self._lane.running.pop(self, None)
        return self._rival is not None

    def fire(self) -> None:
        """The first call is late."""
        if self._lane.may():
            self._rival = self._contend()
            self._rival.answer.add_done_callback(self._second_ended)

    async def failed(self, error: BaseException, route: str, tokens: int) -> Any:
        """The first call raised, and there is a second: its answer, or the error."""
        rival = self._second()
        if self._overtaken:
            if self._task.uncancel() <= self._cancelling:
                self._tell("second", route, tokens)
                return rival.answer.result()
        elif isinstance(error, Exception):
            try:
                await asyncio.wait([rival.answer])
            except BaseException:
                await self._abandoned(route, tokens)
                raise
            if _answered(rival.answer):
                self._tell("second", route, tokens)
                return rival.answer.result()
        await self._abandoned(route, tokens)
        raise error

    async def won_by_first(self, value: object, route: str, tokens: int) -> None:
        """The first call answered, and there is a second: it is closed."""
        if self._overtaken:  # and the first did not mind being cancelled
            self._task.uncancel()
        try:
            await self._close()
        except BaseException:
            self._tell("none", route, tokens)
            await closed(value)
            raise
        self._tell("first", route, tokens)

    def _second(self) -> Contender:
        assert self._rival is not None  # noqa: S101 - for mypy; the callers have checked
        return self._rival

    def _second_ended(self, answer: asyncio.Future[Any]) -> None:
        if _answered(answer) and self._running:
            self._overtaken = True
            self._task.cancel()

    async def _abandoned(self, route: str, tokens: int) -> None:
        try:
            await self._close()
        finally:
            self._tell("none", route, tokens)

    async def _close(self) -> None:
        """Ends the second call, and closes the answer that it may have given all the same."""
        rival = self._second()
        try:
            await ended(rival.task)
        finally:
            if _answered(rival.answer):
                try:
                    await closed(rival.answer.result())
                except Exception:  # noqa: BLE001 - a loser's error is nobody's
                    _LOG.debug("closing the answer of a call that lost failed", exc_info=True)

    def _tell(self, winner: Winner, route: str, tokens: int) -> None:
        self._lane.tell(route, self._delay, self._at, winner, tokens)


def _answered(answer: asyncio.Future[Any]) -> bool:
    return answer.done() and not answer.cancelled() and answer.exception() is None
