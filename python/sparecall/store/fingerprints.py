"""Digests of what a derived value is made from: plain data, and files as they are. Reads files; run it in a thread."""

from __future__ import annotations

import dataclasses
import hashlib
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from sparecall.errors import InvalidArgument

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

# A file written so lately may be written again within the resolution of its times, and look the same.
_UNSURE = 2_000_000_000
_DEEPEST = 100


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    """A file, by its content; one that is not there is another content."""

    path: str | os.PathLike[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Glob:
    """The files that a pattern finds, by their names and, unless told otherwise, their contents. As `pathlib.Path.glob`."""

    pattern: str
    contents: bool = True


def digest_of(value: Any) -> str:
    """128 bits as hex that stand for plain data; types count (1, 1.0, True and "1" differ), the order of a dict or set does not.

    Plain data: None, bool, int, float, str, bytes, lists, tuples, sets and dicts of these, dataclasses, msgspec Structs. Raises
    `InvalidArgument` for anything else, which names the place, and for what is nested deeper than 100.
    """
    return hashlib.blake2b(_encoded(value, "inputs", _DEEPEST), digest_size=16).hexdigest()


def _encoded(value: Any, where: str, left: int) -> bytes:
    """Never the same for two values that differ: each part says its type and how long it is."""
    if left == 0:
        raise InvalidArgument(f"{where} is nested deeper than {_DEEPEST}; flatten it, or pass a digest")
    kind = type(value)
    if value is None or kind in (bool, int, float):
        return _part(kind.__name__, repr(value).encode())
    if kind is str:
        return _part("str", value.encode("utf-8", "surrogatepass"))
    if kind is bytes:
        return _part("bytes", value)
    if kind in (list, tuple):
        return _part("list", b"".join(_encoded(item, f"{where}[{n}]", left - 1) for n, item in enumerate(value)))
    if kind in (set, frozenset):
        return _part("set", b"".join(sorted(_encoded(item, f"{where}{{}}", left - 1) for item in value)))
    if kind is dict:
        pairs = sorted(
            _encoded(key, f"a key of {where}", left - 1) + _encoded(item, f"{where}[{key!r:.40}]", left - 1)
            for key, item in value.items()
        )
        return _part("dict", b"".join(pairs))
    if isinstance(value, msgspec.Struct) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        names = (
            kind.__struct_fields__ if isinstance(value, msgspec.Struct) else [f.name for f in dataclasses.fields(value)]
        )
        fields = {name: getattr(value, name) for name in names}
        return _part(f"{kind.__module__}.{kind.__qualname__}", _encoded(fields, where, left - 1))
    raise InvalidArgument(f"{where} is a {kind.__name__}, which is no plain data; pass what identifies it")


def _part(kind: str, data: bytes) -> bytes:
    return b"%s %d:%s" % (kind.encode(), len(data), data)


class Fingerprints:
    """What files hold, relative to `root`, so that processes with another root agree. For several threads.

    A file whose times, size and inode are as they were is not read again, unless it was written in the last two seconds before it was
    read. At most `remembered` files are remembered; a glob that finds more than `most` raises `InvalidArgument`.
    """

    __slots__ = ("_clock", "_known", "_most", "_remembered", "_root", "read")

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        remembered: int = 50_000,
        most: int = 10_000,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._root, self._remembered, self._most, self._clock = Path(root), remembered, most, clock
        self._known: dict[Path, tuple[tuple[int, ...], str]] = {}
        self.read = 0
        """How often a file was read."""

    def of(self, dependencies: Iterable[File | Glob]) -> str:
        """128 bits as hex that stand for all of them. O(files), and the bytes of those that changed. Raises ``OSError``."""
        parts: list[object] = []
        for one in dependencies:
            if isinstance(one, File):
                parts.append(["file", self._name(Path(one.path)), self._content(Path(one.path))])
            else:
                parts.append(["glob", one.pattern, one.contents, self._listing(one)])
        return digest_of(parts)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix() if path.is_relative_to(self._root) else path.as_posix()

    def _listing(self, glob: Glob) -> list[list[str | None]]:
        found: list[Path] = []
        for path in self._root.glob(glob.pattern):
            if path.is_file():
                found.append(path)
                if len(found) > self._most:
                    raise InvalidArgument(f"the glob {glob.pattern!r} finds more than {self._most} files; narrow it")
        return [[self._name(path), self._content(path) if glob.contents else None] for path in sorted(found)]

    def _content(self, path: Path) -> str | None:
        path = self._root / path
        try:
            seen = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(seen.st_mode):
            raise InvalidArgument(f"{path.name!r} is no regular file; give a Glob for what is in a folder")
        state = (seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino, seen.st_dev)
        known = self._known.get(path)
        if known is not None and known[0] == state:
            return known[1]
        now = self._clock()
        self.read += 1
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        except FileNotFoundError:
            return None
        if now - max(seen.st_mtime_ns, seen.st_ctime_ns) > _UNSURE:
            if len(self._known) >= self._remembered:
                self._known.clear()
            self._known[path] = (state, content)
        return content
