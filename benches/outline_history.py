"""A repository's history replayed commit by commit through `SymbolIndex`: `python -m benches.outline_history --repo PATH`.

For every file that a commit changed: which symbols are untouched, whether any that is said to be is not (by the text that a full parse of
the new file gives), whether results that were derived before and are kept equal those of an index that is filled anew, and what was
spared. Then what skeletons leave of files, by language, and whether every signature is still there: of the repository, or of the folders given.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sysconfig
import time
from collections import Counter, defaultdict
from pathlib import Path

from sparecall import errors
from sparecall.outline import Outline, Subject, SymbolIndex, languages, outline

ENDINGS = tuple(ending for endings in languages().values() for ending in endings)


def git(repo: Path, *args: str) -> bytes:
    return subprocess.run(["git", "-C", str(repo), *args], check=True, capture_output=True).stdout  # noqa: S607


def blob(repo: Path, commit: str, path: str) -> bytes | None:
    done = subprocess.run(["git", "-C", str(repo), "show", f"{commit}:{path}"], check=False, capture_output=True)  # noqa: S607
    return done.stdout if done.returncode == 0 else None


def derive(subject: Subject) -> Subject:
    """The costliest of functions: its result is all that it may depend on."""
    return subject


class Replay:
    """An index that follows a history, and what is counted on the way."""

    def __init__(self) -> None:
        self.index = SymbolIndex()
        self.derived = self.index.derived("subject", derive)
        self.sources: dict[str, bytes] = {}
        self.counts: Counter[str] = Counter()
        self.shares: list[float] = []
        self.times: list[float] = []

    def update(self, path: str, source: bytes) -> None:
        before = {
            (each.kind, each.name_path, text_of(self.sources[path], each.byte_range))
            for each in self.index.symbols(path)
        }
        start = time.perf_counter()
        try:
            diff = self.index.update(path, source)
        except errors.SparecallError:
            self.counts["refused"] += 1
            return
        seconds = time.perf_counter() - start
        self.sources[path] = source
        anew = SymbolIndex()
        anew.update(path, source)
        now = [(each.kind, each.name_path, each.byte_range, each.hash) for each in self.index.symbols(path)]
        self.counts["outlines unlike a full parse"] += now != [
            (each.kind, each.name_path, each.byte_range, each.hash) for each in anew.symbols(path)
        ]
        for each in diff.unchanged:
            text = text_of(source, each.byte_range)
            self.counts["false unchanged"] += (each.kind, each.name_path, text) not in before
        if before:
            self.times.append(seconds)
            own = [each for each in (*diff.unchanged, *diff.enclosing) if each.kind != "module"]
            moved = [each for _, each in diff.moved]
            changed = [*diff.added, *(each for _, each in diff.modified)]
            symbols = len(own) + len(moved) + sum(each.kind != "module" for each in changed)
            self.counts["edits"] += 1
            self.counts["symbols"] += symbols
            self.counts["untouched"] += len(own) + len(moved)
            self.counts["moved"] += len(moved)
            if symbols:
                self.shares.append((len(own) + len(moved)) / symbols)

    def remove(self, path: str) -> None:
        self.index.remove(path)
        self.sources.pop(path, None)

    def ask(self, paths: list[str]) -> None:
        for path in paths:
            for each in self.index.symbols(path):
                self.derived.get(each)

    def check(self) -> None:
        """Every kept result against an index that is filled anew."""
        anew = SymbolIndex()
        for path, source in self.sources.items():
            anew.update(path, source)
        fresh = anew.derived("subject", derive)
        for path in self.sources:
            for ours, theirs in zip(self.index.symbols(path), anew.symbols(path), strict=True):
                self.counts["results checked"] += 1
                self.counts["stale results"] += self.derived.get(ours) != fresh.get(theirs)


def text_of(source: bytes, byte_range: tuple[int, int]) -> bytes:
    return source[byte_range[0] : byte_range[1]]


def replay(repo: Path, last: int | None, every: int) -> None:
    commits = git(repo, "rev-list", "--first-parent", "--reverse", "HEAD").decode().split()
    commits = commits[-last:] if last else commits
    run = Replay()
    for number, commit in enumerate(commits):
        listed = git(
            repo,
            "diff-tree",
            "-r",
            "--root",
            "--no-commit-id",
            "--name-status",
            "--no-renames",
            "-m",
            "--first-parent",
            commit,
        )
        if number == 0:
            listed = b"".join(
                b"A\t" + name + b"\n" for name in git(repo, "ls-tree", "-r", "--name-only", commit).splitlines()
            )
        changes = [line.split("\t", 1) for line in listed.decode(errors="replace").splitlines()]
        changes = [change for change in changes if change[1].endswith(ENDINGS)]
        for status, path in changes:
            source = blob(repo, commit, path) if status != "D" else None
            if source is None:
                run.remove(path)
            elif source.isascii() or is_utf8(source):
                run.update(path, source)
        # An agent asks again for all that it knows.
        run.ask(list(run.sources))
        if number % every == 0 or number == len(commits) - 1:
            run.check()
    stats, counts = run.derived.stats(), run.counts
    print(
        f"{len(commits)} commits, {counts['edits']} edits of files, {len(run.index)} symbols at the end in {len(run.sources)} files\n"
    )
    print("| | |\n|---|---|")
    print(
        f"| symbols untouched by an edit of their file, median / all | {statistics.median(run.shares):.1%} / {counts['untouched'] / counts['symbols']:.1%} |"
    )
    print(f"| of these moved | {counts['moved']} |")
    print(f"| falsely said to be unchanged | {counts['false unchanged']} |")
    print(f"| outlines unlike those of a full parse | {counts['outlines unlike a full parse']} |")
    print(f"| stale among derived results checked | {counts['stale results']} of {counts['results checked']} |")
    print(
        f"| derived anew / asked for | {stats.computed} / {stats.computed + stats.kept} ({stats.spared:.2%} spared) |"
    )
    times = sorted(run.times)
    print(
        f"| update, median / p99 | {times[len(times) // 2] * 1e3:.2f} / {times[int(len(times) * 0.99)] * 1e3:.2f} ms |"
    )


def is_utf8(source: bytes) -> bool:
    try:
        source.decode()
    except UnicodeDecodeError:
        return False
    return not source.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"))


def signatures(found: Outline) -> list[tuple[str, str, str]]:
    """Of the symbols outside of bodies: those inside go with them."""
    kept = []
    for each in found.symbols:
        outer, inside = each.parent, False
        while outer is not None:
            inside |= outer.kind in {"function", "method"}
            outer = outer.parent
        if not inside and each.kind != "variable":
            kept.append((each.kind, each.name_path, " ".join(each.signature.split())))
    return kept


def skeletons(folders: list[Path]) -> None:
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if (
                not path.name.endswith(ENDINGS)
                or "site-packages" in path.parts
                or "target" in path.parts
                or not path.is_file()
            ):
                continue
            try:
                found = outline(path.read_bytes(), path=str(path))
            except errors.SparecallError:
                continue
            if found.has_errors:
                continue
            made = found.skeleton()
            again = outline(made.text, found.language)
            total = totals[found.language]
            total["files"] += 1
            total["tokens"] += found.tokens()
            total["kept"] += made.tokens()
            total["unparsed"] += again.has_errors
            left = Counter(signatures(again))
            wanted = Counter(signatures(found))
            total["signatures"] += sum(wanted.values())
            total["lost"] += sum((wanted - left).values())
    print(
        "\n| language | files | tokens | left | signatures | lost | skeletons that do not parse |\n|---|---|---|---|---|---|---|"
    )
    for language, total in sorted(totals.items()):
        share = total["kept"] / max(total["tokens"], 1)
        print(
            f"| {language} | {total['files']} | {total['tokens']:,} | {share:.1%} | {total['signatures']} | {total['lost']} | {total['unparsed']} |"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repo", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--last", type=int, help="replay only so many commits")
    parser.add_argument("--every", type=int, default=25, help="check all derived results after each so many commits")
    parser.add_argument("--skeletons", type=Path, nargs="*", default=[Path(sysconfig.get_paths()["stdlib"])])
    given = parser.parse_args()
    replay(given.repo, given.last, given.every)
    skeletons([given.repo, *given.skeletons])
