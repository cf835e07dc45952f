"""Large-codebase navigation: how soon a code base can be asked, how well and how fast it answers, and what an edit costs.

``python -m benches.outline_navigation [--packages] [--questions N]``. Cold index of the standard library (``--packages``: installed packages too). Questions
are first lines of docstrings, asked of an index in which no docstring stands: the symbol it was taken from should come back. Beside it: words alone, vectors alone,
and how many of the question's words stand in the text, as one would search with ripgrep. Docstrings are cut out of Python, so other files are left out of the questions.
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import resource
import sys
import sysconfig
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sparecall.embed import StaticEmbedder
from sparecall.outline import SymbolSearch, languages, outline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ENDINGS = {ending for endings in languages().values() for ending in endings}
LEAST_WORDS = 4
RANKS = 50


def files(*, packages: bool) -> dict[str, bytes]:
    """The sources of the standard library, tests left out; installed packages as well."""
    found = {}
    for root in {Path(sysconfig.get_path("stdlib")), *([Path(sysconfig.get_path("purelib"))] if packages else [])}:
        for path in sorted(path for path in root.rglob("*") if path.suffix in ENDINGS and path.is_file()):
            parts = path.relative_to(root).parts
            skipped = {"site-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"} & set(parts)
            if not skipped and path.stat().st_size < 2_000_000:
                found["/".join(parts)] = path.read_bytes()
    return found


def without_docstrings(source: str) -> tuple[str, dict[str, str]]:
    """The source with its functions' and classes' docstrings blanked, and the first line of each by name path."""
    lines = source.splitlines(keepends=True)
    first: dict[str, str] = {}

    def visit(body: Iterable[ast.stmt], prefix: str) -> None:
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            doc, said = ast.get_docstring(node), node.body[0]
            if doc and said.end_lineno and said.lineno > node.lineno and ";" not in lines[said.end_lineno - 1]:
                first[prefix + node.name] = doc.strip().partition("\n")[0]
                for at in range(said.lineno - 1, said.end_lineno):
                    lines[at] = "\n"
                indent = " " * said.col_offset
                lines[said.lineno - 1] = f"{indent}...\n"
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")

    visit(ast.parse(source).body, "")
    return "".join(lines), first


def asked(sources: dict[str, bytes], number: int) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """Python without docstrings, and questions with the path and name path that each should find."""
    bare: dict[str, str] = {}
    questions: list[tuple[str, str, str]] = []
    for path, source in sources.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                bare[path], first = without_docstrings(source.decode())
        except (SyntaxError, ValueError, RecursionError):
            continue
        questions += [(line, path, name) for name, line in first.items() if len(line.split()) >= LEAST_WORDS]
    often = Counter(line for line, _, _ in questions)
    questions = [question for question in questions if often[question[0]] == 1]
    random.Random(0).shuffle(questions)
    return bare, questions[:number]


def quality(name: str, find: Callable[[str], list[tuple[str, str]]], questions: list[tuple[str, str, str]]) -> None:
    """Print how well and how fast questions are answered."""
    ranks, seconds = [], []
    for question, path, wanted in questions:
        start = time.perf_counter()
        found = find(question)
        seconds.append(time.perf_counter() - start)
        ranks.append(found.index((path, wanted)) + 1 if (path, wanted) in found else 0)
    reciprocal = sum(1 / rank for rank in ranks if rank) / len(ranks)
    shares = [sum(0 < rank <= most for rank in ranks) / len(ranks) for most in (1, 10)]
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    sys.stdout.write(f"{name:24} {reciprocal:6.3f} {shares[0]:8.1%} {shares[1]:10.1%} {p50:8.2f} {p99:8.2f}\n")


def rivals(bare: dict[str, str]) -> dict[str, Callable[[str], list[tuple[str, str]]]]:
    """Vectors alone, and the count of words that stand in a symbol's text."""
    symbols = [(path, symbol) for path, source in bare.items() for symbol in outline(source, "python").symbols]
    places = [(path, symbol.name_path) for path, symbol in symbols]
    embedder = StaticEmbedder()
    texts = [re.sub(r"[\W_]+", " ", f"{path} {symbol.name_path} {symbol.signature}") for path, symbol in symbols]
    vectors = np.vstack([embedder.embed(texts[at : at + 4096]) for at in range(0, len(texts), 4096)])
    lower = [symbol.text.lower() for _, symbol in symbols]

    def best(scores: np.ndarray) -> list[tuple[str, str]]:
        return [places[at] for at in np.argsort(-scores, kind="stable")[:RANKS]]

    def by_vector(question: str) -> list[tuple[str, str]]:
        return best(vectors @ embedder.embed([question])[0])

    def by_count(question: str) -> list[tuple[str, str]]:
        words = {word for word in re.findall(r"\w+", question.lower()) if len(word) > 2}
        return best(np.array([sum(word in text for word in words) for text in lower], np.float32))

    return {"vectors alone": by_vector, "words that stand in it": by_count}


def filled(sources: dict[str, bytes] | dict[str, str], *, words_only: bool = False) -> SymbolSearch:
    """An index of all that can be read."""
    search = SymbolSearch(words_only=words_only)
    for path, source in sources.items():
        search.update(path, source)
    return search


def resident() -> float:
    """The most megabytes this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", action="store_true")
    parser.add_argument("--questions", type=int, default=500)
    chosen = parser.parse_args()
    out = sys.stdout
    sources = files(packages=chosen.packages)
    before, start = resident(), time.perf_counter()
    search = filled(sources)
    seconds = time.perf_counter() - start
    size = sum(map(len, sources.values())) / 1e6
    out.write(
        f"cold index: {len(sources)} files, {size:.1f} MB, {len(search)} symbols in {seconds:.1f} s, {resident() - before:.0f} MB\n"
    )
    edits = []
    for path in list(sources)[::10]:
        text = sources[path].decode(errors="replace")
        at = text.find("    return ")
        if at > 0:
            start = time.perf_counter()
            search.update(path, f"{text[:at]}    edited = 1\n{text[at:]}")
            edits.append(time.perf_counter() - start)
    p50, p99 = np.percentile(edits, [50, 99]) * 1e3
    out.write(f"warm update after a line's edit: p50 {p50:.2f} ms, p99 {p99:.2f} ms ({len(edits)} files)\n")
    bare, questions = asked(
        {path: source for path, source in sources.items() if path.endswith(".py")}, chosen.questions
    )
    out.write(f"{len(questions)} questions, docstrings left out of the index\n")
    out.write(f"{'':24} {'MRR':>6} {'first':>8} {'first ten':>10} {'p50 ms':>8} {'p99 ms':>8}\n")
    for name, words_only in {"SymbolSearch": False, "words alone (BM25)": True}.items():
        index = filled(bare, words_only=words_only)
        quality(
            name,
            lambda question, index=index: [(one.path, one.name_path) for one in index.search(question, k=RANKS)],
            questions,
        )  # type: ignore[misc]
    for name, find in rivals(bare).items():
        quality(name, find, questions)


if __name__ == "__main__":
    main()
