"""The design's table of layers, held: data flows down it, results flow back, no module reaches up. And files stay small."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "python" / "sparecall"
# Top to bottom; a module may import from its own layer and from those below. A new word finds its place here first.
LAYERS = (
    {"cli", "demo", "exchange", "explain", "gateway", "httpx", "simulate"},
    {"metrics"},
    {"pipeline"},
    {"config"},
    {"batch", "cached", "context", "flight", "flow", "remote", "semantic", "store"},
    {"cache", "digest", "embed", "frame", "index", "outline", "prices", "queue", "sse", "tokens"},
    {"errors"},
    {"_core"},
)
HEIGHT = {word: len(LAYERS) - depth for depth, words in enumerate(LAYERS) for word in words}
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def word_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_words(path: Path) -> set[str]:
    """The words of the package that a file imports, wherever in it the import stands, for typing too."""
    words = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"{path.name}:{node.lineno}: imports are absolute")
        if isinstance(node, ast.ImportFrom) and node.module == "sparecall":
            words |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("sparecall."):
            words.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            words |= {name.name.split(".")[1] for name in node.names if name.name.startswith("sparecall.")}
    return words & set(HEIGHT)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_imports_from_above(path: Path) -> None:
    own = word_of(path)
    assert own in HEIGHT, f"{own} has no layer: give it one in tests/test_layers.py"
    above = {word for word in imported_words(path) if HEIGHT[word] > HEIGHT[own]}
    assert not above, f"{path.name} is in the layer of {own} and reaches up to {above}"


@pytest.mark.parametrize("word", sorted(set(map(word_of, SOURCES))))
def test_the_metrics_are_the_surface_s_own(word: str) -> None:
    if word in LAYERS[0] | LAYERS[1]:
        return
    files = [path for path in SOURCES if word_of(path) == word]
    assert not any("metrics" in imported_words(path) for path in files)


def test_the_simulated_provider_is_never_used_by_the_gateway() -> None:
    for path in SOURCES:
        if word_of(path) in {"gateway", "pipeline", "config"}:
            assert "simulate" not in imported_words(path), path


def test_the_core_knows_no_python_no_threads_and_no_clock() -> None:
    forbidden = re.compile(r"\b(pyo3|numpy|std::thread|Instant::now|SystemTime::now|tokio)\b")
    sources = [path for crate in ("core", "embed", "outline") for path in (ROOT / "rust" / crate / "src").rglob("*.rs")]
    for path in sources:
        code = "\n".join(line.split("//")[0] for line in path.read_text("utf-8").splitlines())
        found = forbidden.search(code)
        assert found is None, f"{path.relative_to(ROOT)} uses {found[0] if found else ''}"


@pytest.mark.parametrize(
    ("folder", "suffix", "limit"), [("python", ".py", 400), ("tests", ".py", 500), ("rust", ".rs", 500)]
)
def test_files_stay_small_enough_to_own(folder: str, suffix: str, limit: int) -> None:
    lengths = {
        path: len(path.read_text("utf-8").splitlines())
        for path in (ROOT / folder).rglob(f"*{suffix}")
        if "target" not in path.parts
    }
    assert lengths
    assert {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > limit} == {}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


def test_every_rust_file_says_what_it_is_for() -> None:
    for path in (ROOT / "rust").glob("*/src/**/*.rs"):
        assert path.read_text("utf-8").startswith(("//!", "#![")), path


def test_unsafe_code_lives_where_a_file_allows_it_at_its_top() -> None:
    for path in (ROOT / "rust").glob("*/src/**/*.rs"):
        text = path.read_text("utf-8")
        if re.search(r"\bunsafe\s*(\{|fn|impl)", text):
            assert "#![allow(unsafe_code" in text, path
            assert "SAFETY" in text, path


def test_nothing_in_the_repository_names_a_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=False, capture_output=True, text=True)  # noqa: S607
    if listed.returncode:
        pytest.skip("not a git clone")
    machine = re.compile(r"/(?:work|root|home)/\w")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".rs", ".pyi", ""} and path.is_file() and path != Path(__file__):
            text = path.read_text("utf-8", errors="ignore")
            assert machine.search(text) is None, name
