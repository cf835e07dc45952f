"""The caches of a gateway in files: checked and loaded at the start, saved on a timer and at the end.

What it cannot do, it says in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sparecall.cache import BytesCache
from sparecall.errors import ConfigError, SnapshotError, SparecallError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sparecall.pipeline import Semantic
    from sparecall.semantic import Report, SemanticCache

log = logging.getLogger("sparecall.gateway")
# What a save of a process that was killed has left beside the file goes once it is older than any save takes.
_LEFT_AFTER = 3600.0


class Snapshot:
    """The file at `path`. Raises `ConfigError` where a save could only fail or would overwrite a file of another kind."""

    __slots__ = ("_path", "_saving")

    def __init__(self, path: str) -> None:
        self._path = path
        self._saving = threading.Lock()
        if not Path(path).absolute().parent.is_dir():
            raise ConfigError(f"cache.snapshot is {path}, but its folder does not exist: make it or give another path")
        try:
            with Path(path).open("rb") as file:
                head = file.read(len(BytesCache.SNAPSHOT_MAGIC))
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(f"cache.snapshot is {path}, which cannot be read: {error.strerror or error}") from None
        if not BytesCache.SNAPSHOT_MAGIC.startswith(head):
            raise ConfigError(
                f"cache.snapshot is {path}, which is no snapshot of a cache: it would be overwritten at the end; "
                "give another path"
            )

    def load(self, cache: BytesCache) -> None:
        """Fills the cache, or leaves it empty where the file is missing or damaged."""
        self._clean()
        try:
            count = cache.load(self._path)
        except FileNotFoundError:
            log.info("no snapshot at %s yet: starting with an empty cache", self._path)
        except (SnapshotError, OSError) as error:
            log.warning("starting with an empty cache: %s", error)
        else:
            log.info("%d answers loaded from %s", count, self._path)

    @contextlib.asynccontextmanager
    async def kept(
        self, cache: BytesCache, *, every: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> AsyncIterator[None]:
        """Loads the cache, saves it every so many seconds where it has changed (0: never), and saves it at the end."""
        self.load(cache)
        async with _saved(lambda: self.save(cache), lambda: cache.stats().sets, every=every, sleep=sleep):
            yield

    def save(self, cache: BytesCache) -> None:
        """Writes the file in one step: what was there before stays until the new one is whole. From any thread, one after the other."""
        with self._saving:
            try:
                cache.save(self._path)
            except OSError as error:
                log.error("the cache cannot be saved: %s", error)  # noqa: TRY400 - the message says all

    def _clean(self) -> None:
        """Removes what saves that were killed have left."""
        path = Path(self._path).absolute()
        with contextlib.suppress(OSError):  # what cannot be seen or removed does no harm
            for left in path.parent.iterdir():
                ours = left.name.startswith(f".{path.name}.") and left.suffix == ".tmp"
                if ours and time.time() - left.stat().st_mtime > _LEFT_AFTER:
                    left.unlink()


class SemanticSnapshot:
    """The same for a semantic cache, whose files are in the folder ``PATH.semantic`` beside the other's."""

    __slots__ = ("_folder", "_saving")

    def __init__(self, path: str) -> None:
        self._folder = Path(f"{path}.semantic")
        self._saving = threading.Lock()
        if self._folder.exists() and not self._folder.is_dir():
            raise ConfigError(f"cache.snapshot is {path}, but {self._folder}, where [semantic] is kept, is no folder")

    def load(self, cache: SemanticCache) -> None:
        """Fills the cache, or leaves it empty where the files are missing or damaged."""
        try:
            count = cache.load(self._folder)
        except FileNotFoundError:
            log.info("no snapshot in %s yet: starting with an empty semantic cache", self._folder)
        except (SparecallError, OSError) as error:
            log.warning("starting with an empty semantic cache: %s", error)
        else:
            log.info("%d answers by meaning loaded from %s", count, self._folder)

    @contextlib.asynccontextmanager
    async def kept(
        self, stage: Semantic, *, every: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> AsyncIterator[None]:
        """As `Snapshot.kept`; what answers have still to teach is waited for at the end."""
        self.load(stage.cache)
        async with _saved(
            lambda: self.save(stage.cache), lambda: _learnt(stage.cache.report()), every=every, sleep=sleep
        ):
            try:
                yield
            finally:
                await stage.settled()

    def save(self, cache: SemanticCache) -> None:
        """Writes the files; those that were there before stay until the new ones are whole. From any thread, one after the other."""
        with self._saving:
            try:
                self._folder.mkdir(mode=0o700, exist_ok=True)  # answers in the clear: its owner's alone
                cache.save(self._folder)
            except OSError as error:
                log.error("the semantic cache cannot be saved: %s", error)  # noqa: TRY400 - the message says all


def _learnt(report: Report) -> tuple[int, int]:
    return report.lookups, sum(decision.verdicts for decision in report.decisions.values())


@contextlib.asynccontextmanager
async def _saved(
    save: Callable[[], None],
    state: Callable[[], object],
    *,
    every: float,
    sleep: Callable[[float], Awaitable[None]],
) -> AsyncIterator[None]:
    """Calls `save` every so many seconds where `state` has changed (0: never), and at the end: in a thread, the loop may be one that others use too."""
    timer = asyncio.create_task(_save_on_time(save, state, every, sleep)) if every else None
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
        await asyncio.to_thread(save)


async def _save_on_time(
    save: Callable[[], None], state: Callable[[], object], every: float, sleep: Callable[[float], Awaitable[None]]
) -> None:
    saved = state()
    while True:
        await sleep(every)
        now = state()
        if now != saved:
            await asyncio.to_thread(save)
            saved = now
