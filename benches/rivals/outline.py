"""What the standard library's files define, by sparecall and by tree-sitter from Python, beside a bare parse; and one line edited.

All take turns on the same files; each pass over all of them is timed, the fastest of several counts.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

import tree_sitter
import tree_sitter_python

from sparecall import build_info
from sparecall.outline import SymbolIndex, outline

if TYPE_CHECKING:
    from collections.abc import Callable

PASSES = 5
LANGUAGE = tree_sitter.Language(tree_sitter_python.language())
QUERY = tree_sitter.Query(LANGUAGE, "[(function_definition) (class_definition)] @symbol")


def standard_library() -> list[bytes]:
    root = Path(sysconfig.get_paths()["stdlib"])
    skipped = {"site-packages", "dist-packages", "test", "lib2to3"}
    paths = [path for path in sorted(root.rglob("*.py")) if not skipped & set(path.relative_to(root).parts)]
    return [path.read_bytes() for path in paths[::4]]


def by_query(parser: tree_sitter.Parser, source: bytes) -> int:
    tree = parser.parse(source)
    found = tree_sitter.QueryCursor(QUERY).captures(tree.root_node).get("symbol", [])
    for node in found:
        name, body = node.child_by_field_name("name"), node.child_by_field_name("body")
        assert name is not None
        assert body is not None
        _ = (name.text, node.start_point, node.end_point, source[node.start_byte : body.start_byte])
    return len(found)


def fastest(work: dict[str, Callable[[], object]], passes: int = PASSES) -> dict[str, float]:
    best = dict.fromkeys(work, float("inf"))
    for _ in range(passes):
        for name, call in work.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def whole_files() -> None:
    sources = standard_library()
    parser = tree_sitter.Parser(LANGUAGE)
    size = sum(map(len, sources)) / 1e6
    times = fastest(
        {
            "tree-sitter, the parse alone": lambda: [parser.parse(source) for source in sources],
            "sparecall.outline": lambda: [outline(source, "python") for source in sources],
            "tree-sitter, a query and what it finds": lambda: [by_query(parser, source) for source in sources],
            "ast.parse, no symbols yet": lambda: [ast.parse(source) for source in sources],
        }
    )
    bare = times["tree-sitter, the parse alone"]
    print(
        f"## {len(sources)} files, each fourth of the standard library, {size:.1f} MB\n\n| | MB/s | of the bare parse |\n|---|---|---|"
    )
    for name, seconds in times.items():
        print(f"| {name} | {size / seconds:.1f} | {bare / seconds:.2f}x |")


def one_line() -> None:
    """A line in the middle of a file of 2,000 is edited, again and again."""
    functions = [
        f'def function_{i}(first, second=None):\n    """Does {i}."""\n    value = first + {i}\n    for each in second or ():\n'
        f"        value += each.size * {i}\n    return value\n\n"
        for i in range(286)
    ]
    before = "".join(functions)
    edits = [before.replace("value = first + 143\n", f"value = first + 143 + {i}\n") for i in range(2)]
    assert 1990 < before.count("\n") < 2010
    index = SymbolIndex()
    index.update("a.py", before)
    parser = tree_sitter.Parser(LANGUAGE)
    state = {"turn": 0}

    def update() -> None:
        state["turn"] ^= 1
        assert len(index.update("a.py", edits[state["turn"]]).modified) == 1

    index.update("a.py", edits[0])
    encoded = [edit.encode() for edit in edits]
    times = fastest(
        {
            "SymbolIndex.update": update,
            "tree-sitter, parsed and queried anew": lambda: by_query(parser, encoded[0]),
            "tree-sitter, the parse alone": lambda: parser.parse(encoded[1]),
        },
        200,
    )
    print("\n## One line of 2,000 edited\n\n| | ms |\n|---|---|")
    for name, seconds in times.items():
        print(f"| {name} | {seconds * 1e3:.2f} |")


if __name__ == "__main__":
    if build_info()["profile"] != "release":
        sys.exit("rivals need a release build")
    whole_files()
    one_line()
