"""The agents' working day: a script of calls, the same for the same seed, size and standard library.

Hours follow one another; within an hour all agents work at once, each through its own tasks in order. What builds on
earlier work (repeat, retype, rephrase, re-read, follow-up) builds on work of an earlier hour, whose answers are there.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from sparecall.demo import questions, source
from sparecall.demo.task import Day, Task
from sparecall.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HOURS = 8
LEAST_CALLS = 30
TEAM = 3  # agents that begin the same task at the same moment

# The share of all calls that is of each kind. A choice, not a measurement: the report prints it beside what it spares.
# The one figure behind it: about 31 % of what users ask an assistant resembles something they asked before (MeanCache,
# arXiv 2403.02694). `repeat`, `retype` and `rephrase` make up that 31 %; how much of it is word for word is not known. `follow-up`
# stands for steps of long conversations: they carry all that was said before and are never repeats. Agents that live in
# one long conversation repeat less than this; services that many ask the same repeat more.
SHARES: Mapping[str, float] = {
    "read": 0.14,
    "ask": 0.20,
    "follow-up": 0.10,
    "tool step": 0.12,
    "together": 0.06,
    "repeat": 0.15,
    "retype": 0.05,
    "rephrase": 0.11,
    "re-read": 0.04,
    "brainstorm": 0.03,
}
_CALLS_OF = {"tool step": 2, "together": 2 * TEAM}  # calls of one such task, its agents taken together; of others 1
_LATER = frozenset({"follow-up", "repeat", "retype", "rephrase", "re-read"})  # not in the first hour
_BIG_MODEL, _SMALL_MODEL = "gpt-4o", "gpt-4.1-mini"  # long text goes to the cheaper one, as teams do it
_TYPED = 8000  # characters of what is typed again: below `semantic.max_characters`
_VARIED = 1.2  # temperature of a brainstorm: above `cache.max_temperature`, which asks for another answer each time


def plan(*, calls: int, agents: int, seed: int, root: Path | None = None) -> Day:
    """The script of a day of exactly `calls` calls. Raises `InvalidArgument` for a size it cannot have."""
    if calls < LEAST_CALLS:
        raise InvalidArgument(f"--calls is {calls}; a day has {LEAST_CALLS} or more")
    if agents < TEAM:
        raise InvalidArgument(f"--agents is {agents}; a team has {TEAM} or more")
    planner = _Planner(calls, agents, seed, root)
    return Day(seed, tuple(planner.hour(hour) for hour in range(HOURS)))


def amounts(calls: int) -> dict[str, int]:
    """How many tasks of each kind make exactly `calls` calls in these shares; `ask` takes what rounding leaves."""
    found = {kind: max(1, round(calls * share / _CALLS_OF.get(kind, 1))) for kind, share in SHARES.items()}
    found["ask"] += calls - sum(number * _CALLS_OF.get(kind, 1) for kind, number in found.items())
    return found


def _length(task: Task) -> int:
    return len(task.messages[-1]["content"])


class _Planner:
    """Writes the script hour by hour and keeps what later hours build on."""

    def __init__(self, calls: int, agents: int, seed: int, root: Path | None) -> None:
        self._draw = Random(seed)
        self._agents = agents
        self._number = 0
        self._amounts = amounts(calls)
        modules = source.modules(max(8, calls // 8), self._draw, root=root)
        self._texts = {module.path: module.text for module in modules}
        self._names = {module.path: "\n".join(function.name for function in module.functions) for module in modules}
        # Work that nobody has done yet: each piece is taken once, so that only `repeat` and `together` repeat anything.
        functions = [(module.path, function) for module in modules for function in module.functions]
        self._reads = [(path, ways) for path in self._texts for ways in questions.ABOUT_MODULE]
        self._asks = [(path, function, ways) for path, function in functions for ways in questions.ABOUT_FUNCTION]
        self._tool_tasks = [(path, text) for path in self._texts for text in questions.TOOL_TASKS]
        self._ideas = [(path, function.name) for path, function in functions]
        for pool in (self._reads, self._asks, self._tool_tasks, self._ideas):
            self._draw.shuffle(pool)
        if min(len(self._reads) - self._amounts["read"], len(self._asks) - self._amounts["ask"]) < 0:
            raise InvalidArgument(f"--calls is {calls}; this Python's library has too few modules for that many")
        self._answered: list[Task] = []  # in earlier hours, about files that have not changed since
        self._rewordings: dict[int, list[str]] = {}  # by number of task: other words for it that nobody has used
        self._followed: set[tuple[int, str]] = set()
        self._retyped: set[int] = set()

    def hour(self, hour: int) -> tuple[tuple[Task, ...], ...]:
        """The tasks of every agent in one hour. Call it for one hour after the other."""
        make = {
            "re-read": self._reread,  # first: what follows in this hour sees the files as edited
            "read": self._read,
            "ask": self._ask,
            "follow-up": self._follow_up,
            "tool step": self._tool_step,
            "repeat": self._repeat,
            "retype": self._retype,
            "rephrase": self._rephrase,
            "brainstorm": self._brainstorm,
        }
        tasks = [make[kind]() for kind in make for _ in range(self._due(kind, hour))]
        self._draw.shuffle(tasks)
        by_agent: list[list[Task]] = [[] for _ in range(self._agents)]
        for _ in range(self._due("together", hour)):  # first in the hour, so that they begin at once
            shared = self._tool_step("together")
            for agent in self._draw.sample(range(self._agents), TEAM):
                by_agent[agent].append(replace(shared, number=self._next(), agent=agent, stream=self._streams()))
        for task in tasks:
            agent = min(range(self._agents), key=lambda agent: sum(each.calls for each in by_agent[agent]))
            by_agent[agent].append(replace(task, agent=agent))
        self._answered += [task for task in tasks if task.kind in {"read", "ask", "rephrase", "re-read"}]
        return tuple(tuple(tasks) for tasks in by_agent)

    def _due(self, kind: str, hour: int) -> int:
        """How many of the day's tasks of a kind belong to this hour. New work is rounded up, so that the first hour has some."""
        amount = self._amounts[kind]
        if kind in _LATER:
            return 0 if hour == 0 else amount * hour // (HOURS - 1) - amount * (hour - 1) // (HOURS - 1)
        return -(-amount * (hour + 1) // HOURS) + (-amount * hour // HOURS)

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _streams(self) -> bool:
        return self._draw.random() < 0.5

    def _task(self, kind: str, path: str, text: str, model: str = _BIG_MODEL, **fields: Any) -> Task:
        said = ({"role": "system", "content": questions.SYSTEM}, {"role": "user", "content": text})
        return Task(
            number=self._next(),
            kind=kind,
            agent=-1,
            model=model,
            messages=said,
            stream=self._streams(),
            path=path,
            **fields,
        )

    def _read(self) -> Task:
        path, (first, *others) = self._reads.pop()
        shown = questions.shown(path, self._texts[path])
        task = self._task("read", path, shown + first, _SMALL_MODEL)
        self._rewordings[task.number] = [shown + other for other in others]
        return task

    def _ask(self) -> Task:
        path, function, ways = self._asks.pop()
        shown = questions.shown(path, function.source)
        first, *others = [shown + way.format(name=function.name) for way in ways]
        task = self._task("ask", path, first)
        self._rewordings[task.number] = others
        return task

    def _tool_step(self, kind: str = "tool step") -> Task:
        path, text = self._tool_tasks.pop()
        tools = {"read_file": self._texts[path], "list_functions": self._names[path]}
        return self._task(kind, path, text.format(path=path), _SMALL_MODEL, tools=tools)

    def _brainstorm(self) -> Task:
        path, name = self._ideas.pop()
        return self._task("brainstorm", path, questions.BRAINSTORM.format(name=name), temperature=_VARIED)

    def _repeat(self) -> Task:
        # Word for word; but a colleague's client may stream where the first did not.
        earlier = self._draw.choice(self._answered)
        return replace(earlier, number=self._next(), kind="repeat", stream=self._streams(), earlier=earlier.number)

    def _retype(self) -> Task:
        open_tasks = [
            task
            for task in self._answered
            if task.kind in {"ask", "rephrase"} and task.number not in self._retyped and _length(task) <= _TYPED
        ]
        earlier = self._draw.choice(open_tasks)
        self._retyped.add(earlier.number)
        text = questions.retyped(earlier.messages[-1]["content"], self._draw)
        return self._task("retype", earlier.path, text, earlier.model, earlier=earlier.number)

    def _rephrase(self) -> Task:
        earlier = self._draw.choice([task for task in self._answered if self._rewordings.get(task.number)])
        text = self._rewordings[earlier.number].pop()
        return self._task("rephrase", earlier.path, text, earlier.model, earlier=earlier.number)

    def _follow_up(self) -> Task:
        open_pairs = [
            (task, text)
            for task in self._answered
            for text in questions.FOLLOW_UPS
            if (task.number, text) not in self._followed
        ]
        earlier, text = self._draw.choice(open_pairs)
        self._followed.add((earlier.number, text))
        task = self._task("follow-up", earlier.path, text, earlier.model, earlier=earlier.number)
        return replace(task, messages=task.messages[1:])  # the driver puts the conversation before it

    def _reread(self) -> Task:
        earlier = self._draw.choice([task for task in self._answered if task.kind in {"read", "re-read"}])
        path = earlier.path
        before = self._texts[path]
        self._texts[path] = after = questions.edited(before, self._next())
        self._answered = [task for task in self._answered if task.path != path]
        text = earlier.messages[-1]["content"].replace(before, after)
        return self._task("re-read", path, text, earlier.model, earlier=earlier.number)
