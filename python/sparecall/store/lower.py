"""A `TieredCache`'s way to its L2: every call bounded, every entry checked against its versions, writes of one key in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from sparecall.errors import FrameError, StoreUnavailable
from sparecall.store.recovery import Recovery
from sparecall.store.versions import names_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence

    from sparecall.store.guard import Guard
    from sparecall.store.protocol import Entry, Lease, Store
    from sparecall.store.recovery import Place
    from sparecall.store.versions import Versions

NEVER = "epoch"
"""A name that is never invalidated: its version is that of all names which never were."""


class Lower:
    """L2 as a `TieredCache` sees it: it may be slow, away, old or wrong, and none of that raises here.

    `untold` is called with names that turn out to have moved without a message. Counts go into `counts`.
    """

    __slots__ = ("_counts", "_guard", "_owed", "_store", "_turns", "_untold", "_versions", "_wall", "_writing", "recovery", "touched", "touched_since")  # fmt: skip

    def __init__(
        self,
        store: Store,
        guard: Guard,
        versions: Versions,
        *,
        counts: Counter[str],
        untold: Callable[[list[str]], None],
        random: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._store, self._guard, self._versions = store, guard, versions
        self._counts, self._untold, self._wall = counts, untold, wall
        self._writing: dict[Place, asyncio.Task[bool]] = {}  # the last write of each key,
        self._turns: dict[Place, object] = {}  # and what stands for it
        self._owed: set[Place] = set()  # what stands there is wrong, and who was to replace it left that to the next
        self.recovery = Recovery(self._push, random=random)
        self.touched: Callable[[Place], None] = lambda _place: None
        """Called with a key whose entry was removed late."""
        self.touched_since: Callable[[Place, int], bool] = lambda _place, _event: False
        """Says whether a key was written or deleted after an event."""
        guard.recovered = self.recovery.wake

    @property
    def faults(self) -> int:
        """Calls that failed or ran out of time."""
        return self._guard.faults

    async def read(self, keys: Sequence[str], *, scope: str) -> list[Entry | None]:
        """The entries that may be used: of these keys and this scope, not dead, nothing they depend on invalidated.

        What this process is writing under a key is there first. A key that is written while it is read is read once more.
        """
        writing = {self._writing[scope, key] for key in keys if (scope, key) in self._writing}
        if writing:
            await asyncio.wait(writing)
        began = self._versions.now
        entries = await self._read(keys, scope)
        again = [number for number, key in enumerate(keys) if self.touched_since((scope, key), began)]
        if again:
            began = self._versions.now
            for number, entry in zip(again, await self._read([keys[number] for number in again], scope), strict=True):
                entries[number] = None if self.touched_since((scope, keys[number]), began) else entry
        self._counts["l2_hits"] += sum(entry is not None for entry in entries)
        self._counts["l2_misses"] += sum(entry is None for entry in entries)
        return entries

    async def marks(self, names: Iterable[str]) -> dict[str, int] | None:
        """The versions of `names` and of `NEVER` now; None where they cannot be known, so that nothing may be written."""
        known = {name: self._versions.known(name) for name in (*names, NEVER)}
        missing = [name for name, version in known.items() if version is None]
        try:
            return {name: v for name, v in known.items() if v is not None} | await self._ask(missing)
        except StoreUnavailable:
            return None

    def write(self, entry: Entry, *, began: int | None = None, replaces: bool = False) -> asyncio.Task[bool]:
        """Write an entry once earlier writes of its key are done; the task says whether it was written, or overtaken by another.

        Not where anything it depends on has moved after event `began`, by default the last one. An entry without marks gets those
        of now. `replaces`: what stood there is wrong from now on; where the write fails, it is
        removed as soon as the store answers again, and not read until then. Only a value that no frame can hold makes the task
        fail, with `FrameError`.
        """
        since = self._versions.now if began is None else began
        return self._chain(
            (entry.scope, entry.key),
            lambda before, turn: self._write(entry, before, turn, began=since, replaces=replaces),
        )

    def remove(self, place: Place) -> asyncio.Task[bool]:
        """Delete a key's entry once earlier writes of the key are done, now or when the store answers again."""
        return self._chain(place, lambda before, turn: self._remove(place, before, turn))

    async def acquire(self, name: str, *, seconds: float) -> Lease | bool:
        """The lease, False while another has it, True where the store cannot be asked: then everybody may go on."""
        try:
            return await self._guard.call(self._store.acquire, name, seconds=seconds) or False
        except StoreUnavailable:
            return True

    async def release(self, lease: Lease) -> None:
        """Give a lease back, if the store can be told; else it ends by itself."""
        try:
            await self._guard.call(self._store.release, lease)
        except StoreUnavailable:
            self._counts["unreleased"] += 1

    async def close(self) -> None:
        """Wait for writes under way, which end by themselves, and stop replaying."""
        if self._writing:
            await asyncio.wait(set(self._writing.values()))
        await self.recovery.close()

    # --- reading ---------------------------------------------------------------------------------

    async def _read(self, keys: Sequence[str], scope: str) -> list[Entry | None]:
        agree = self._versions.agree
        try:
            found = await self._guard.call(self._store.get_many, keys, scope=scope)
            entries = [self._own(entry, scope, key) for entry, key in zip(found, keys, strict=True)]
            present = [entry for entry in entries if entry is not None]
            if all(agree(names_of(scope, entry.tags), entry.marks) for entry in present):
                return entries  # as most do: nothing is to be asked for
            age = self._versions.age
            current = await self._current(present)
            if age != self._versions.age:  # what was known before the loss counts no longer
                current = await self._current(present)
        except StoreUnavailable:
            return [None] * len(keys)
        return [entry if entry is not None and self._is_current(entry, current) else None for entry in entries]

    def _own(self, entry: Entry | None, scope: str, key: str) -> Entry | None:
        if entry is None:
            return None
        names = names_of(scope, tuple(entry.tags))
        if entry.scope != scope or entry.key != key or len(entry.marks) != len(names):
            self._counts["foreign"] += 1
            return None
        if self._wall() >= entry.dead or self.recovery.forbids(names, (scope, key)):
            return None
        return entry

    async def _current(self, entries: Iterable[Entry]) -> dict[str, int]:
        """The current versions of all that the entries depend on; those that are asked for in one round trip."""
        current: dict[str, int] = {}
        ask: dict[str, None] = {}
        for entry in entries:
            for name, mark in zip(names_of(entry.scope, entry.tags), entry.marks, strict=True):
                version = self._versions.known(name)
                if version is None or mark > version:  # the writer may have heard earlier of an invalidation
                    ask[name] = None
                else:
                    current[name] = version
        return current | await self._ask(list(ask))

    def _is_current(self, entry: Entry, current: Mapping[str, int]) -> bool:
        names = names_of(entry.scope, entry.tags)
        newest = self._versions.newest
        if any(newest(name, current[name]) != mark for name, mark in zip(names, entry.marks, strict=True)):
            self._counts["invalidated"] += 1
            return False
        return not self.recovery.forbids(names, (entry.scope, entry.key))

    async def _ask(self, names: list[str]) -> dict[str, int]:
        if not names:
            return {}
        asked = self._versions.now
        versions = await self._guard.call(self._store.versions, names)
        untold = self._versions.learn(names, versions, asked=asked)
        if untold:
            self._untold(untold)
        return dict(zip(names, versions, strict=True))

    # --- writing ---------------------------------------------------------------------------------

    def _chain(self, place: Place, work: Callable[[asyncio.Task[bool] | None, object], Coroutine[Any, Any, bool]]) -> asyncio.Task[bool]:  # fmt: skip
        turn = self._turns[place] = object()
        task = asyncio.get_running_loop().create_task(work(self._writing.get(place), turn))
        self._writing[place] = task
        task.add_done_callback(lambda done: self._wrote(place, done, turn))
        return task

    def _wrote(self, place: Place, task: asyncio.Task[bool], turn: object) -> None:
        if self._turns.get(place) is turn:
            del self._turns[place], self._writing[place]
        if not task.cancelled() and task.exception() is not None:  # looked at, or the loop complains that nobody did
            self._counts["unpackable"] += 1

    async def _write(
        self, entry: Entry, before: asyncio.Task[bool] | None, turn: object, *, began: int, replaces: bool
    ) -> bool:
        place, names = (entry.scope, entry.key), names_of(entry.scope, entry.tags)
        written = False
        try:
            if not entry.marks:  # now, not when it is this write's turn: what is invalidated meanwhile must count
                marks = await self.marks(names)
                if marks is not None:
                    entry = msgspec.structs.replace(entry, marks=tuple(marks[name] for name in names))
            if before is not None:
                await asyncio.wait({before})
            if self._turns.get(place) is not turn:
                return True  # a newer one comes after it, and owes what this one does
            if entry.marks and not self._versions.moved(names, began, surely=True):
                await self._guard.call(self._store.set_many, [entry])
                written = True
                self._counts["l2_writes"] += 1
        except StoreUnavailable as error:
            if isinstance(error.__cause__, FrameError):
                raise error.__cause__ from None
            self._counts["unwritten"] += 1
        finally:
            if written:
                self._owed.discard(place)
            elif replaces or place in self._owed:
                self._owed.add(place)
                if self._turns.get(place) is turn:
                    await self._settle(place)
        return written

    async def _remove(self, place: Place, before: asyncio.Task[bool] | None, turn: object) -> bool:
        self._owed.add(place)
        if before is not None:
            await asyncio.wait({before})
        return True if self._turns.get(place) is not turn else await self._settle(place)

    async def _settle(self, place: Place) -> bool:
        """Remove what stands under a key and is wrong; say whether the store was told."""
        self._owed.discard(place)
        return await self.recovery.send(places=[place])

    async def _push(self, names: list[str], places: list[Place]) -> None:
        if names:
            asked = self._versions.now
            self._versions.learn(names, await self._guard.call(self._store.bump, names), asked=asked, mine=True)
        keys: dict[str, list[str]] = {}
        for scope, key in places:
            keys.setdefault(scope, []).append(key)
        for scope, below in keys.items():
            await self._guard.call(self._store.delete_many, below, scope=scope)
        for place in places:  # whoever reads it now may have found what was there before
            self.touched(place)


async def whatever_happens(*tasks: asyncio.Future[bool] | None) -> bool:
    """Whether all tasks succeed. They go on if the caller is cancelled."""
    begun = [task for task in tasks if task is not None]
    if begun:
        await asyncio.wait(begun)
    return all(task.result() for task in begun)
