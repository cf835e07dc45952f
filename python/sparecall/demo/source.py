"""The text the agents work on: modules of the user's own Python standard library, and their functions as `ast` finds them."""

from __future__ import annotations

import ast
import sysconfig
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sparecall.errors import SparecallError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

# A file of this many characters is one an agent reads whole.
_CHARACTERS = range(1_500, 30_000)
_LEAST_FUNCTIONS = 3
_LEAST_LINES = 4
# Not modules of the library: what was installed beside them, generated tables, and tests that may be absent.
_SKIPPED_FOLDERS = frozenset({"site-packages", "dist-packages", "__pycache__", "test", "tests", "encodings", "lib2to3"})


@dataclass(frozen=True, slots=True)
class Function:
    """A function or method of a module; `name` is dotted, `source` its text."""

    name: str
    source: str


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the library; `path` is relative to the library, with forward slashes."""

    path: str
    text: str
    functions: tuple[Function, ...]

    def __repr__(self) -> str:
        return f"<Module {self.path}, {len(self.text)} characters, {len(self.functions)} functions>"


def library() -> Path:
    """The folder of the running Python's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def modules(count: int, draw: Random, *, root: Path | None = None) -> list[Module]:
    """Up to `count` modules, drawn from all that are fit to be read whole: the same for the same library and `draw`.

    Reads nothing outside the folder, not even where a link in it leads. Raises `SparecallError` where it has no sources.
    """
    root = (library() if root is None else root).resolve()
    paths = sorted(_paths(root))
    draw.shuffle(paths)
    chosen: list[Module] = []
    for path in paths:
        if len(chosen) == count:
            break
        module = _read(root, path)
        if module is not None:
            chosen.append(module)
    if not chosen:
        raise SparecallError(f"{root} has no Python sources to work on; run the demo with a Python that ships them")
    return chosen


def _paths(root: Path) -> Iterator[Path]:
    for path in (*root.glob("*.py"), *root.glob("*/*.py")):
        if not _SKIPPED_FOLDERS.intersection(path.relative_to(root).parts) and path.resolve().is_relative_to(root):
            yield path


def _read(root: Path, path: Path) -> Module | None:
    """The module, or None where it cannot be read or has too little to ask about."""
    try:
        text = path.read_text("utf-8")
        if len(text) not in _CHARACTERS:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape in a file is no concern of the user's
            tree = ast.parse(text)
    except (OSError, ValueError, SyntaxError, RecursionError):
        return None
    relative = path.relative_to(root)
    dotted = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
    found = tuple(_functions(tree.body, dotted, text.splitlines()))
    return Module(relative.as_posix(), text, found) if len(found) >= _LEAST_FUNCTIONS else None


def _functions(body: list[ast.stmt], prefix: str, lines: list[str]) -> Iterator[Function]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{prefix}.{node.name}", lines)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            source = lines[node.lineno - 1 : node.end_lineno]
            if len(source) >= _LEAST_LINES:
                yield Function(f"{prefix}.{node.name}", "\n".join(source))
