"""Enters and leaves permits and leases step by step, on a clock that the test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def at_once(work: Awaitable[Any]) -> Any:
    """What an awaitable gives that must not wait for anything."""
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as stop:
        return stop.value
    steps.close()  # type: ignore[attr-defined] # that of a coroutine
    raise AssertionError("it waits")


def enter(lease: Any) -> Any:
    return at_once(lease.__aenter__())


def leave(lease: Any, error: BaseException | None = None) -> None:
    at_once(lease.__aexit__(None if error is None else type(error), error, None))
