"""Merges beside ``git merge-file``: those of a repository's own history, and made-up edits of its sources by two sides.

``python -m benches.outline_merge --repo PATH [--made N] [--seed S]``. A merge is *exact* (what was committed, or what both edits together
make of the source), *clean* but another text, or a *conflict*. Of clean ones those that do not parse are counted as well.
"""

from __future__ import annotations

import argparse
import ast
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sparecall.outline import languages, merge, outline

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDINGS = {ending: name for name, endings in languages().items() for ending in endings}


@dataclass(frozen=True, slots=True)
class Case:
    """Three versions, and what is known to be right."""

    kind: str
    language: str
    base: str
    ours: str
    theirs: str
    right: str


def git(repo: Path, *arguments: str) -> str | None:
    """What a command prints, or None where it fails or prints no text."""
    done = subprocess.run(["git", "-C", str(repo), *arguments], capture_output=True, check=False)  # noqa: S607
    try:
        return done.stdout.decode() if done.returncode == 0 else None
    except UnicodeDecodeError:
        return None


def history(repo: Path) -> Iterator[Case]:
    """The files that both sides of a merge of two changed."""
    for line in (git(repo, "log", "--merges", "--format=%H %P") or "").splitlines():
        commit, *parents = line.split()
        if len(parents) != 2:
            continue
        base = (git(repo, "merge-base", *parents) or "").strip()
        changed = [set((git(repo, "diff", "--name-only", base, side) or "").splitlines()) for side in parents]
        for path in sorted(set.intersection(*changed)):
            language = ENDINGS.get(Path(path).suffix)
            texts = (
                [git(repo, "show", f"{version}:{path}") for version in (base, *parents, commit)] if language else [None]
            )
            if language and None not in texts:
                yield Case("history", language, *[text or "" for text in texts])


def functions(source: str) -> list[tuple[int, int]]:
    """The lines of each function at the top and of each method, decorators included: from 0, the end excluded."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef):
            for child in node.body:
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and child.end_lineno:
                    first = min([child.lineno, *(decorator.lineno for decorator in child.decorator_list)])
                    if child.end_lineno - first > 2:
                        found.append((first - 1, child.end_lineno))
    return found


def with_line(lines: list[str], at: int, text: str) -> list[str]:
    """The lines with one more, indented as the one before which it stands."""
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    return [*lines[:at], f"{indent}{text}\n", *lines[at:]]


def made(source: str, draw: random.Random) -> Iterator[Case]:
    """Edits by two sides that a person would know how to put together, and edits that contradict each other."""
    lines = source.splitlines(keepends=True)
    spans = functions(source)
    if len(spans) < 2 or not source.endswith("\n"):
        return

    def case(kind: str, ours: list[str], theirs: list[str], right: list[str] | None) -> Case:
        return Case(kind, "python", source, "".join(ours), "".join(theirs), "".join(right or ()))

    (one, one_end), (two, two_end) = sorted(draw.sample(spans, 2))
    if one_end <= two:
        later = with_line(lines, two_end - 1, "changed_two = 2")
        yield case(
            "two functions",
            with_line(lines, one_end - 1, "changed_one = 1"),
            later,
            with_line(later, one_end - 1, "changed_one = 1"),
        )
        moved = [*lines[:one], *lines[one_end:two_end], "\n", *lines[one:one_end], *lines[two_end:]]
        if (lines[one][0] == lines[two][0] and lines[one_end:two] == []) or not lines[one].startswith(" "):
            edited = with_line(lines, one_end - 1, "changed_one = 1")
            body = edited[one : one_end + 1]
            yield case(
                "moved, and changed",
                moved,
                edited,
                [*lines[:one], *lines[one_end:two_end], "\n", *body, *lines[two_end:]],
            )
    top = [f"\n\ndef added_{name}():\n    return {name!r}\n" for name in "ab"]
    yield case("both add at the end", [*lines, top[0]], [*lines, top[1]], [*lines, *top])
    imports = [at for at, line in enumerate(lines) if line.startswith("import ")]
    if imports:
        at = imports[0]
        new = ["import aaa_one\n", "import aaa_two\n"]
        yield case(
            "both add an import",
            [*lines[:at], new[0], *lines[at:]],
            [*lines[:at], new[1], *lines[at:]],
            [*lines[:at], *new, *lines[at:]],
        )
    names = [
        at
        for at, line in enumerate(lines)
        if line.startswith("from ") and " import " in line and line.rstrip()[-1] not in "(\\*"
    ]
    if names and "#" not in lines[names[0]]:
        at, line = names[0], lines[names[0]].rstrip("\n")
        sides = [[*lines[:at], f"{line}, {new}\n", *lines[at + 1 :]] for new in ("zzz_one", "zzz_two")]
        yield case("both import a name", *sides, [*lines[:at], f"{line}, zzz_one, zzz_two\n", *lines[at + 1 :]])
    yield case(
        "one line, two ways", with_line(lines, one_end - 1, "x = 1"), with_line(lines, one_end - 1, "x = 2"), None
    )
    yield case("changed, and taken out", with_line(lines, one_end - 1, "x = 1"), [*lines[:one], *lines[one_end:]], None)
    if one_end <= two:
        twice = [f"{top[0]}\n\n", top[0].replace("'a'", "'b'")]
        first_top = next((span for span in sorted(spans) if not lines[span[0]].startswith(" ")), None)
        if first_top:
            place = first_top[0]
            yield case(
                "one name twice", [*lines[:place], twice[0].lstrip("\n"), *lines[place:]], [*lines, twice[1]], None
            )


def by_git(folder: Path, case: Case) -> str | None:
    """What ``git merge-file`` makes of it; None for a conflict."""
    for name in ("base", "ours", "theirs"):
        (folder / name).write_bytes(getattr(case, name).encode())
    command = ["git", "merge-file", "-p", "ours", "base", "theirs"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return done.stdout.decode() if done.returncode == 0 else None


def verdict(text: str | None, case: Case) -> str:
    """How the merge compares with what is right."""
    if text is None:
        return "conflict"
    return "exact" if text == case.right else "clean"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repo", type=Path, default=Path())
    parser.add_argument("--made", type=int, default=60, help="sources to make edits of")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    draw = random.Random(chosen.seed)
    cases = list(history(chosen.repo))
    library = sorted(path for path in Path(ast.__file__).parent.glob("*.py") if 3_000 < path.stat().st_size < 60_000)
    for path in draw.sample(library, min(chosen.made, len(library))):
        cases += made(path.read_text("utf-8"), draw)
    counts: Counter[tuple[str, str, str]] = Counter()
    broken: Counter[str] = Counter()
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            start = time.perf_counter()
            merged = merge(case.base, case.ours, case.theirs, case.language).text
            seconds.append(time.perf_counter() - start)
            for name, text in {"sparecall": merged, "git": by_git(Path(folder), case)}.items():
                counts[case.kind, name, verdict(text, case)] += 1
                sides = (case.ours, case.theirs)
                if text is not None and outline(text, case.language).has_errors:
                    broken[name] += not any(outline(side, case.language).has_errors for side in sides)
    out = sys.stdout
    out.write(f"{'edits':24} {'merged by':10} {'exact':>6} {'clean':>6} {'conflict':>9}\n")
    for kind in dict.fromkeys(case.kind for case in cases):
        for name in ("sparecall", "git"):
            row = [counts[kind, name, result] for result in ("exact", "clean", "conflict")]
            out.write(f"{kind:24} {name:10} {row[0]:6} {row[1]:6} {row[2]:9}\n")
    seconds.sort()
    out.write(
        f"clean, but does not parse although both sides do: sparecall {broken['sparecall']}, git {broken['git']}\n"
    )
    out.write(f"milliseconds a merge: median {seconds[len(seconds) // 2] * 1e3:.1f}, most {seconds[-1] * 1e3:.1f}\n")


if __name__ == "__main__":
    main()
