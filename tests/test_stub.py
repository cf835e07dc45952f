"""The compiled core speaks for itself: help() is never empty, the stub knows every name, and argument types are as documented."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bert
import sparecall
import stub_cases
import stub_context
import stub_flow
import stub_outline
from sparecall import _core
from sparecall.flow import AdaptiveLimit
from stub_cases import (
    BAD,
    BODY,
    CALLS,
    GOOD,
    VECTOR,
    cache,
    decision,
    encoding,
    index,
    profile,
    registry,
    verdict,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What these keep to themselves is for their Python parts, whose tests go through it.
_PARTS = {"AdaptivePermit", "BreakerGate", "Lease", "LimitGate", "Permit", "RateGate"}
STUB = ast.parse((Path(sparecall.__file__).parent / "_core.pyi").read_text("utf-8"))


def documented() -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Every function, class and method of the stub that ought to explain itself, by its dotted name."""
    for node in STUB.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            for member in node.body:
                private = "_" if node.name in _PARTS else "__"
                if isinstance(member, ast.FunctionDef) and not member.name.startswith(private):
                    yield f"{node.name}.{member.name}", member


NAMES = sorted({name for name, _ in documented()})


def constants(cls: str) -> set[str]:
    """What a class of the stub holds beside methods."""
    bodies = [node.body for node in STUB.body if isinstance(node, ast.ClassDef) and node.name == cls]
    fields = [member.target for body in bodies for member in body if isinstance(member, ast.AnnAssign)]
    return {field.id for field in fields if isinstance(field, ast.Name) and not field.id.startswith("_")}


def native(name: str) -> Any:
    found: Any = _core
    for part in name.split("."):
        found = getattr(found, part)
    return found


def test_the_stub_and_the_module_have_the_same_names() -> None:
    here = {name for name in dir(_core) if not name.startswith("__")}
    assert here == {name for name in NAMES if "." not in name}
    for name in here:
        if inspect.isclass(cls := getattr(_core, name)):
            private = "_" if name in _PARTS else "__"
            members = {member for member in vars(cls) if not member.startswith(private)}
            methods = {each.partition(".")[2] for each in NAMES if each.startswith(f"{name}.")}
            assert members == methods | constants(name), name


@pytest.mark.parametrize("name", NAMES)
def test_help_says_something_and_so_does_the_stub(name: str) -> None:
    text = inspect.getdoc(native(name))
    assert text, f"help({name}) is empty"
    assert text.strip().endswith((".", ")", "`")), f"help({name}) does not end like a sentence: {text[-40:]!r}"
    # Of an overloaded method the last spelling has the text.
    stubs = [ast.get_docstring(node) for each, node in documented() if each == name]
    assert stubs[-1], f"{name} is not explained in the stub"


def test_every_callable_of_the_stub_is_called_here() -> None:
    properties = {name for name in NAMES if inspect.isdatadescriptor(native(name))}
    made_by_the_core = {
        "Inspection",
        "Difference",
        "CacheStats",
        "FrameDraft",
        "Lease",
        "MetricFamily",
        "Permit",
        "AdaptivePermit",
        "MetricCounter",
        "MetricGauge",
        "MetricHistogram",
        "TokenEncoding",
        "Matches",
        "FormerSymbol",
        "IndexedSymbol",
        "Outline",
        "MergeConflict",
        "Merged",
        "Skeleton",
        "Symbol",
        "SymbolDiff",
        "VectorQuery",
        "SemanticVerdict",
        "SemanticReport",
        "Work",
        "WorkTicket",
        "QueueTicket",
    }
    with_files = {
        "BytesCache.save",
        "BytesCache.load",
        "Cache.save",
        "Cache.load",
        "VectorIndex.save",
        "VectorIndex.load",
        "SymbolIndex.save",
        "SymbolIndex.load",
        "tokens_load_encoding",
        "MiniLMEmbedder",
        "MiniLMEmbedder.embed",
        "MiniLMEmbedder._embed_work",
        "MiniLMEmbedder.token_ids",
    }
    assert set(NAMES) - properties - made_by_the_core - with_files == set(CALLS) == set(BAD)


@pytest.mark.parametrize(
    ("call", "args", "options"),
    [
        pytest.param(call, args, options, id=f"{name}-{number}")
        for name, call, cases in GOOD
        for number, (args, options) in enumerate(cases)
    ],
)
def test_every_documented_type_is_taken(
    call: Callable[..., object], args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    call(*args, **options)


@pytest.mark.parametrize(
    ("call", "args", "options"),
    [
        pytest.param(CALLS[name], args, options, id=f"{name}-{number}")
        for name, cases in BAD.items()
        for number, (args, options) in enumerate(cases)
    ],
)
def test_any_other_type_is_a_type_error(
    call: Callable[..., object], args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    with pytest.raises(TypeError):
        call(*args, **options)


@pytest.mark.parametrize("as_path", [str, Path], ids=["str", "Path"])
def test_a_snapshot_s_path_is_text_or_a_path(tmp_path: Path, as_path: Callable[[str], Any]) -> None:
    path = as_path(str(tmp_path / "snapshot"))
    cache().save(path)
    assert cache().load(path) == 0


@pytest.mark.parametrize("method", ["save", "load"])
@pytest.mark.parametrize("path", [5, None, 1.5])
def test_anything_else_is_no_path(method: str, path: Any) -> None:
    with pytest.raises(TypeError):
        getattr(cache(), method)(path)


@pytest.mark.parametrize(
    "name",
    [
        "Inspection",
        "Difference",
        "CacheStats",
        "TokenEncoding",
        "Matches",
        "VectorQuery",
        "SemanticVerdict",
        "SemanticReport",
        "MetricFamily",
        "MetricCounter",
        "MetricGauge",
        "MetricHistogram",
        "FrameDraft",
        "Work",
        "WorkTicket",
        "QueueTicket",
    ],
)
def test_what_only_the_core_makes_cannot_be_made_by_hand(name: str) -> None:
    with pytest.raises(TypeError):
        native(name)()


def test_every_property_can_be_read_and_none_be_written(tmp_path: Path) -> None:
    difference = _core.digest_compare(BODY, b"{}")
    assert difference is not None
    family = registry().histogram("h", "h", buckets=[1])
    objects: dict[str, Any] = {
        "Inspection": _core.digest_inspect(BODY, scope="s"),
        "Difference": difference,
        "CacheStats": cache().stats(),
        "FrameReader": _core.FrameReader(),
        "ContextBoard": _core.ContextBoard(),
        "ContextDocument": stub_context.document(),
        "Expected": _core.Expected(),
        "FormerSymbol": stub_outline.former(),
        "Gcra": stub_flow.gcra(),
        "IndexedSymbol": stub_outline.symbol(),
        "LimitGate": AdaptiveLimit(),
        "Lease": stub_flow.lease(),
        "Outline": stub_outline.found(),
        "Skeleton": stub_outline.found().skeleton(),
        "Symbol": stub_outline.found().symbols[0],
        "SymbolDiff": stub_outline.index().remove("a.py"),
        "SymbolIndex": stub_outline.index(),
        "Window": stub_flow.window(),
        "TokenEncoding": encoding(),
        "Meter": _core.Meter(),
        "Prefix": _core.Prefix("text"),
        "Matches": index().search(VECTOR),
        "VectorQuery": index().prepare(VECTOR),
        "VectorIndex": index(),
        "SemanticProfile": profile(),
        "SemanticVerdict": verdict(),
        "SemanticReport": decision().report(),
        "StaticEmbedder": _core.StaticEmbedder(),
        "MiniLMEmbedder": _core.MiniLMEmbedder(bert.write(tmp_path)),
        "MetricCounter": registry().counter("c", "h").labels(),
        "MetricGauge": registry().gauge("g", "h").labels(),
        "MetricHistogram": family.labels(),
        "Queue": (waiting := stub_cases.waiting()),
        "QueueTicket": waiting.put(1),
        "Work": stub_cases.work(),
        **stub_outline.objects(),
    }
    for name in NAMES:
        owner, _, member = name.partition(".")
        if member and inspect.isdatadescriptor(native(name)):
            getattr(objects[owner], member)
            with pytest.raises(AttributeError):
                setattr(objects[owner], member, 1)
