"""`Task`: what one agent wants of the model. `Day`: all of them, by hour and agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One question of one agent. With `tools`, the model calls them first, and their results make a second call."""

    number: int
    kind: str
    agent: int
    model: str
    messages: tuple[dict[str, Any], ...]
    stream: bool
    path: str
    earlier: int | None = None
    """Number of the task that this one repeats, rephrases, re-reads or follows up."""
    temperature: float = 0.0
    tools: Mapping[str, str] | None = None
    """What each tool answers for `path`."""

    def __repr__(self) -> str:
        return f"<Task {self.number}: {self.kind} {self.path} by agent {self.agent}>"

    @property
    def calls(self) -> int:
        """Calls this task makes."""
        return 1 if self.tools is None else 2


@dataclass(frozen=True, slots=True)
class Day:
    """`hours[hour][agent]` is the tasks of an agent in an hour, in order."""

    seed: int
    hours: tuple[tuple[tuple[Task, ...], ...], ...]

    def __repr__(self) -> str:
        return f"<Day of {self.calls} calls, seed {self.seed}>"

    @property
    def tasks(self) -> list[Task]:
        """All tasks, by hour, agent and order."""
        return [task for hour in self.hours for tasks in hour for task in tasks]

    @property
    def calls(self) -> int:
        """Calls of the whole day."""
        return sum(task.calls for task in self.tasks)
