"""The cache of a gateway in a file: checked and loaded at the start, saved at the end. What it cannot do, it says in the log."""

from __future__ import annotations

import contextlib
import glob
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sparecall.errors import ConfigError, SnapshotError

if TYPE_CHECKING:
    from sparecall.cache import BytesCache

log = logging.getLogger("sparecall.gateway")
# The first bytes of a file that `BytesCache.save` wrote.
_MAGIC = b"SPARECSH"


class Snapshot:
    """The file at `path`. Raises `ConfigError` where a save could only fail or would overwrite a file of another kind."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path
        if not Path(path).absolute().parent.is_dir():
            raise ConfigError(f"cache.snapshot is {path}, but its folder does not exist: make it or give another path")
        try:
            with Path(path).open("rb") as file:
                head = file.read(len(_MAGIC))
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(f"cache.snapshot is {path}, which cannot be read: {error.strerror or error}") from None
        if not _MAGIC.startswith(head):
            raise ConfigError(
                f"cache.snapshot is {path}, which is no snapshot of a cache: it would be overwritten at the end; "
                "give another path"
            )

    def load(self, cache: BytesCache) -> None:
        """Fills the cache, or leaves it empty where the file is missing or damaged."""
        _sweep(Path(self._path).absolute())
        try:
            count = cache.load(self._path)
        except FileNotFoundError:
            log.info("no snapshot at %s yet: starting with an empty cache", self._path)
        except (SnapshotError, OSError) as error:
            log.warning("starting with an empty cache: %s", error)
        else:
            log.info("%d answers loaded from %s", count, self._path)

    def save(self, cache: BytesCache) -> None:
        """Writes the file in one step: what was there before stays until the new one is whole."""
        try:
            cache.save(self._path)
        except OSError as error:
            log.error("the cache is lost, it cannot be saved: %s", error)  # noqa: TRY400 - the message says all


def _sweep(path: Path) -> None:
    """Removes what the saves of killed processes have left beside the file: the number in such a name is the process's."""
    if os.name != "posix":
        return
    head = f".{path.name}."
    for left in path.parent.glob(f"{glob.escape(head)}*.tmp"):
        number = left.name.removeprefix(head).partition(".")[0]
        with contextlib.suppress(OSError):
            if number.isdecimal() and not _runs(int(number)):
                left.unlink()


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
