"""The compiled core speaks for itself: help() is never empty, the stub knows every name, and argument types are as documented."""

from __future__ import annotations

import ast
import inspect
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import bert
import sparecall
from sparecall import _core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STUB = ast.parse((Path(sparecall.__file__).parent / "_core.pyi").read_text("utf-8"))
VECTOR = np.array([1.0, 2.0], np.float32)
BODY = b'{"model":"m","messages":[{"role":"user","content":"a"}]}'


def documented() -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Every function, class and method of the stub that ought to explain itself, by its dotted name."""
    for node in STUB.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and not member.name.startswith("__"):
                    yield f"{node.name}.{member.name}", member


NAMES = sorted({name for name, _ in documented()})


def constants(cls: str) -> set[str]:
    """What a class of the stub holds beside methods."""
    bodies = [node.body for node in STUB.body if isinstance(node, ast.ClassDef) and node.name == cls]
    fields = [member.target for body in bodies for member in body if isinstance(member, ast.AnnAssign)]
    return {field.id for field in fields if isinstance(field, ast.Name)}


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
            members = {member for member in vars(cls) if not member.startswith("_")}
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


def cache() -> _core.BytesCache:
    return _core.BytesCache(10_000)


def index() -> _core.VectorIndex:
    return _core.VectorIndex(2)


def objects() -> _core.Cache[object, object]:
    return _core.Cache(100)


def registry() -> _core.MetricRegistry:
    return _core.MetricRegistry()


def encoding() -> _core.TokenEncoding:
    return _core.tokens_get_encoding("cl100k_base")


SPECIAL: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("text",), {"allowed_special": "all", "disallowed_special": ()}),
    (("text",), {"allowed_special": {"<|endoftext|>"}, "disallowed_special": ["<|fim_prefix|>"]}),
]
NO_TOKENS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("a",), {}),
    ((5,), {}),
    ((["a"],), {}),
    (([1.5],), {}),
    ((None,), {}),
]
# A callable and every kind of argument its documentation names.
GOOD: list[tuple[str, Callable[..., object], list[tuple[tuple[Any, ...], dict[str, Any]]]]] = [
    ("build_info", _core.build_info, [((), {})]),
    ("_set_cpu_level", _core._set_cpu_level, [((_core.build_info()["cpu_level"],), {})]),
    (
        "digest_inspect",
        _core.digest_inspect,
        [
            ((BODY,), {"scope": "s"}),
            ((bytearray(BODY),), {"scope": "s"}),
            ((memoryview(BODY),), {"scope": "s"}),
            ((BODY,), {"scope": "s", "version": 1, "salt": b"x", "max_temperature": 1, "max_n": 2}),
            ((BODY,), {"scope": "s", "salt": None, "max_temperature": 0.5}),
        ],
    ),
    ("digest_compare", _core.digest_compare, [((BODY, BODY), {}), ((bytearray(BODY), memoryview(b"{}")), {})]),
    ("digest_scope_of_key", _core.digest_scope_of_key, [(("key",), {})]),
    ("tokens_count", _core.tokens_count, [(("text",), {}), (("text", "cl100k_base"), {}), (("text",), {"encoding": "o200k_base"})]),
    (
        "tokens_count_many",
        _core.tokens_count_many,
        [((["a"],), {}), ((("a",), "cl100k_base"), {}), ((iter("ab"),), {}), (({"a": 1},), {"encoding": "o200k_base"})],
    ),
    ("tokens_encodings", _core.tokens_encodings, [((), {})]),
    ("tokens_get_encoding", _core.tokens_get_encoding, [(("cl100k_base",), {}), ((), {"name": "cl100k_base"})]),
    ("TokenEncoding.count", lambda *a: encoding().count(*a), [(("text",), {})]),
    ("TokenEncoding.count_many", lambda *a: encoding().count_many(*a), [((["a"],), {}), ((iter("ab"),), {})]),
    ("TokenEncoding.encode_ordinary", lambda *a: encoding().encode_ordinary(*a), [(("text",), {})]),
    ("TokenEncoding.encode", lambda *a, **k: encoding().encode(*a, **k), [(("text",), {}), *SPECIAL]),
    ("TokenEncoding.encode_to_numpy", lambda *a, **k: encoding().encode_to_numpy(*a, **k), [(("text",), {}), *SPECIAL]),
    (
        "TokenEncoding.encode_ordinary_batch",
        lambda *a, **k: encoding().encode_ordinary_batch(*a, **k),
        [((["a"],), {}), ((("a",),), {"num_threads": 2}), ((iter("ab"),), {})],
    ),
    (
        "TokenEncoding.encode_batch",
        lambda *a, **k: encoding().encode_batch(*a, **k),
        [((["a"],), {"num_threads": 2}), *[((["a"],), options) for _, options in SPECIAL]],
    ),
    ("TokenEncoding.encode_single_token", lambda *a: encoding().encode_single_token(*a), [(("a",), {}), ((b"a",), {})]),
    ("TokenEncoding.decode", lambda *a, **k: encoding().decode(*a, **k), [(([1],), {}), (((1,), "ignore"), {}), ((range(3),), {"errors": "ignore"})]),
    ("TokenEncoding.decode_bytes", lambda *a: encoding().decode_bytes(*a), [(([1],), {}), (((1,),), {}), ((range(3),), {})]),
    ("TokenEncoding.decode_single_token_bytes", lambda *a: encoding().decode_single_token_bytes(*a), [((1,), {})]),
    ("TokenEncoding.decode_tokens_bytes", lambda *a: encoding().decode_tokens_bytes(*a), [(([1],), {}), (((1,),), {})]),
    ("TokenEncoding.decode_with_offsets", lambda *a: encoding().decode_with_offsets(*a), [(([1],), {}), (((1,),), {})]),
    (
        "TokenEncoding.decode_batch",
        lambda *a, **k: encoding().decode_batch(*a, **k),
        [(([[1]],), {}), ((((1,),),), {"errors": "ignore", "num_threads": 2})],
    ),
    ("TokenEncoding.decode_bytes_batch", lambda *a, **k: encoding().decode_bytes_batch(*a, **k), [(([[1]],), {}), (([],), {"num_threads": 2})]),
    ("TokenEncoding.token_byte_values", lambda *a: encoding().token_byte_values(*a), [((), {})]),
    ("TokenEncoding.is_special_token", lambda *a: encoding().is_special_token(*a), [((1,), {})]),
    (
        "tokens_truncate",
        _core.tokens_truncate,
        [(("text", 1), {}), (("text", 1, "cl100k_base"), {}), (("text", 10**30), {"encoding": "o200k_base", "keep": "both", "marker": "m"})],
    ),
    ("Meter", _core.Meter, [((), {}), (("cl100k_base",), {}), ((_core.tokens_get_encoding("o200k_base"),), {}), ((), {"encoding": "o200k_base"})]),
    ("Meter.append", lambda *a: _core.Meter().append(*a), [(("text",), {})]),
    ("Meter.reset", lambda *a: _core.Meter().reset(*a), [((), {})]),
    ("Meter.copy", lambda *a: _core.Meter().copy(*a), [((), {})]),
    ("Prefix", _core.Prefix, [(("text",), {}), (("text", "cl100k_base"), {}), (("text",), {"encoding": "o200k_base"})]),
    ("Prefix.count", lambda *a, **k: _core.Prefix("t").count(*a, **k), [((), {}), ((-1, None), {}), ((), {"start": 0, "stop": 5})]),
    ("_tokens_encode", _core._tokens_encode, [(("text", "o200k_base"), {})]),
    ("_tokens_ranks", _core._tokens_ranks, [(("cl100k_base",), {})]),
    (
        "BytesCache",
        _core.BytesCache,
        [
            ((0,), {}),
            ((1,), {"policy": "lru", "ttl": None, "clock": None}),
            ((1,), {"ttl": math.inf, "clock": lambda: 0.0}),
            ((1,), {"ttl": 1}),
        ],
    ),
    ("BytesCache.get", lambda *a, **k: cache().get(*a, **k), [(("k",), {}), ((b"k" * 16,), {}), ((b"k" * 32, 5), {}), (("k",), {"default": "d"})]),
    ("BytesCache.set", lambda *a, **k: cache().set(*a, **k), [(("k", b"v"), {}), ((b"k" * 32, b"v"), {"ttl": 1.5}), (("k", b""), {"ttl": None})]),
    ("BytesCache.delete", lambda *a: cache().delete(*a), [(("k",), {}), ((b"k" * 16,), {})]),
    ("BytesCache.get_many", lambda *a: cache().get_many(*a), [((["k", b"k" * 16],), {}), (((),), {}), ((iter(["k"]),), {})]),
    (
        "BytesCache.set_many",
        lambda *a, **k: cache().set_many(*a, **k),
        [(({"k": b"v"},), {}), (([("k", b"v")],), {"ttl": 1.0}), ((iter([(b"k" * 32, b"v")]),), {"ttl": None})],
    ),
    ("BytesCache.clear", lambda *a: cache().clear(*a), [((), {})]),
    ("BytesCache.stats", lambda *a: cache().stats(*a), [((), {})]),
    ("StaticEmbedder", _core.StaticEmbedder, [((), {})]),
    ("StaticEmbedder.embed", lambda *a: _core.StaticEmbedder().embed(*a), [(("text",), {}), ((["a", "b"],), {}), ((("a",),), {})]),
    ("VectorIndex", _core.VectorIndex, [((2,), {}), ((2,), {"clock": None}), ((2,), {"clock": lambda: 0.0})]),
    (
        "VectorIndex.add",
        lambda *a, **k: index().add(*a, **k),
        [((1, [1, 2.0]), {}), ((np.int64(1), np.ones(2)), {"namespace": "n", "expires_at": 5}), ((1, VECTOR), {"expires_at": None})],
    ),
    (
        "VectorIndex.add_many",
        lambda *a, **k: index().add_many(*a, **k),
        [(([1], [[1, 2]]), {}), ((np.array([1]), VECTOR[None]), {"namespace": "n"}), ((iter([1]), ((1.0, 2.0),)), {"expires_at": 5.0})],
    ),
    ("VectorIndex.remove", lambda *a: index().remove(*a), [((1,), {}), ((np.int64(1),), {})]),
    ("VectorIndex.remove_many", lambda *a: index().remove_many(*a), [(([1],), {}), ((np.array([1]),), {}), ((range(3),), {})]),
    ("VectorIndex.prepare", lambda *a: index().prepare(*a), [((VECTOR,), {}), (([1, 2],), {})]),
    (
        "VectorIndex.search",
        lambda *a, **k: index().search(*a, **k),
        [((VECTOR,), {}), ((index().prepare(VECTOR),), {"k": 3, "min_similarity": 1, "namespace": "n", "exact": False})],
    ),
    (
        "VectorIndex.search_many",
        lambda *a, **k: index().search_many(*a, **k),
        [((VECTOR[None],), {"k": 3}), (([[1, 2]],), {"exact": False}), (([index().prepare(VECTOR)],), {}), (([],), {})],
    ),
    ("VectorIndex.predict_seconds", lambda **k: index().predict_seconds(**k), [((), {}), ((), {"queries": 5, "k": 2, "min_similarity": 0.5, "namespace": "n", "exact": False})]),
    ("BytesCache.delete_many", lambda *a: cache().delete_many(*a), [((["k", b"k" * 16],), {}), (((),), {})]),
    ("BytesCache.invalidate_tag", lambda *a: cache().invalidate_tag(*a), [(("tag",), {})]),
    ("BytesCache.invalidate_prefix", lambda *a: cache().invalidate_prefix(*a), [(("a/b",), {})]),
    ("BytesCache.sweep", lambda *a, **k: cache().sweep(*a, **k), [((), {}), ((), {"limit": 5})]),
    (
        "Cache",
        _core.Cache,
        [
            ((0,), {}),
            ((1,), {"policy": "lru", "ttl": 1.5, "jitter": 0.5, "second_price": 0.1, "seed": 1, "clock": lambda: 0.0}),
            ((1,), {"ttl": None, "weigher": None, "seed": None, "clock": None}),
            ((1,), {"weigher": lambda _key, _value: 1}),
        ],
    ),
    ("Cache.get", lambda *a, **k: objects().get(*a, **k), [((1,), {}), ((None, 5), {}), ((("t", 1),), {"default": "d"})]),
    (
        "Cache.set",
        lambda *a, **k: objects().set(*a, **k),
        [((1, 2), {}), (("k", None), {"ttl": 1, "weight": 5, "cost": 0.5, "tags": ["t"]}), (("k", 1), {"cost": (1, 2.5)})],
    ),
    ("Cache.delete", lambda *a: objects().delete(*a), [((1,), {})]),
    ("Cache.get_many", lambda *a: objects().get_many(*a), [(([1, "a"],), {}), ((iter("ab"),), {})]),
    ("Cache.set_many", lambda *a, **k: objects().set_many(*a, **k), [(({1: 2},), {}), (([(1, 2)],), {"weight": 3, "tags": ()})]),
    ("Cache.delete_many", lambda *a: objects().delete_many(*a), [(([1],), {})]),
    ("Cache.invalidate_tag", lambda *a: objects().invalidate_tag(*a), [(("tag",), {})]),
    ("Cache.invalidate_prefix", lambda *a: objects().invalidate_prefix(*a), [(("a/b",), {})]),
    ("Cache.sweep", lambda *a, **k: objects().sweep(*a, **k), [((), {}), ((), {"limit": 5})]),
    ("Cache.clear", lambda *a: objects().clear(*a), [((), {})]),
    ("Cache.stats", lambda *a: objects().stats(*a), [((), {})]),
    ("MetricRegistry", _core.MetricRegistry, [((), {}), ((), {"max_series": 5})]),
    ("MetricRegistry.counter", lambda *a: registry().counter(*a), [(("c", "help"), {}), (("c", "help", ("a",)), {}), (("c", "help", ["a"]), {})]),
    ("MetricRegistry.gauge", lambda *a: registry().gauge(*a), [(("g", "help"), {}), (("g", "help", ["a"]), {})]),
    (
        "MetricRegistry.histogram",
        lambda *a, **k: registry().histogram(*a, **k),
        [(("h", "help"), {"buckets": [1.0, 2.0]}), (("h", "help", ("a",)), {"buckets": (1, 2)})],
    ),
    ("MetricRegistry.render", lambda *a: registry().render(*a), [((), {})]),
    ("MetricFamily.labels", lambda *a: registry().counter("c", "h", ["a"]).labels(*a), [(("x",), {})]),
    ("MetricCounter.add", lambda *a: registry().counter("c", "h").labels().add(*a), [((), {}), ((2,), {}), ((0.5,), {})]),
    ("MetricGauge.add", lambda *a: registry().gauge("g", "h").labels().add(*a), [((), {}), ((-2,), {}), ((0.5,), {})]),
    ("MetricGauge.set", lambda *a: registry().gauge("g", "h").labels().set(*a), [((2,), {}), ((0.5,), {})]),
    ("MetricHistogram.observe", lambda *a: registry().histogram("h", "h", buckets=[1]).labels().observe(*a), [((2,), {}), ((0.5,), {})]),
]  # fmt: skip

# Where a callable is given what its documentation does not allow.
BAD: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "build_info": [((1,), {})],
    "_set_cpu_level": [((1,), {})],
    "digest_inspect": [
        ((BODY.decode(),), {"scope": "s"}),
        ((BODY,), {}),
        ((BODY, "s"), {}),
        ((BODY,), {"scope": b"s"}),
        ((BODY,), {"scope": "s", "version": "1"}),
        ((BODY,), {"scope": "s", "salt": "x"}),
        ((BODY,), {"scope": "s", "max_temperature": "1"}),
        ((BODY,), {"scope": "s", "max_n": 1.5}),
    ],
    "digest_compare": [((BODY, "{}"), {}), ((None, BODY), {}), ((BODY,), {})],
    "digest_scope_of_key": [((b"key",), {}), ((None,), {})],
    "tokens_count": [((b"text",), {}), (("text", b"o200k_base"), {}), ((None,), {})],
    "tokens_count_many": [(("text",), {}), (([b"a"],), {}), ((5,), {}), ((["a"], 5), {})],
    "tokens_encodings": [((1,), {})],
    "tokens_get_encoding": [((b"cl100k_base",), {}), ((), {}), ((None,), {})],
    "TokenEncoding.count": [((b"text",), {}), ((), {})],
    "TokenEncoding.count_many": [(("text",), {}), (([b"a"],), {}), ((5,), {})],
    "TokenEncoding.encode_ordinary": [((b"text",), {}), (("text", set()), {})],
    "TokenEncoding.encode": [((b"text",), {}), (("text", "all"), {}), (("text",), {"allowed_special": "<|endoftext|>"}), (("text",), {"disallowed_special": 5})],
    "TokenEncoding.encode_to_numpy": [((b"text",), {}), (("text",), {"allowed_special": [5]})],
    "TokenEncoding.encode_ordinary_batch": [(("text",), {}), (([b"a"],), {}), ((["a"],), {"num_threads": "2"}), ((["a"], 2), {})],
    "TokenEncoding.encode_batch": [(("text",), {}), (([b"a"],), {}), ((["a"],), {"allowed_special": "some"})],
    "TokenEncoding.encode_single_token": [((5,), {}), ((bytearray(b"a"),), {})],
    "TokenEncoding.decode": [*NO_TOKENS, (([1], 5), {})],
    "TokenEncoding.decode_bytes": NO_TOKENS,
    "TokenEncoding.decode_single_token_bytes": [(("a",), {}), ((1.5,), {}), ((None,), {})],
    "TokenEncoding.decode_tokens_bytes": NO_TOKENS,
    "TokenEncoding.decode_with_offsets": NO_TOKENS,
    "TokenEncoding.decode_batch": [((5,), {}), (([1],), {}), (([[1]], "ignore"), {})],
    "TokenEncoding.decode_bytes_batch": [((5,), {}), (([1],), {})],
    "TokenEncoding.token_byte_values": [((1,), {})],
    "TokenEncoding.is_special_token": [(("a",), {}), ((1.5,), {})],
    "tokens_truncate": [((b"text", 1), {}), (("text", 1.5), {}), (("text",), {}), (("text", 1, "o200k_base", "tail"), {}), (("text", 1), {"marker": 5})],
    "Meter": [((5,), {})],
    "Meter.append": [((b"text",), {}), ((None,), {}), ((), {})],
    "Meter.reset": [((1,), {})],
    "Meter.copy": [((1,), {})],
    "Prefix": [((b"text",), {}), ((), {}), (("text", 5), {})],
    "Prefix.count": [(("1",), {}), ((1.5,), {}), ((0, 1, 1), {})],
    "_tokens_encode": [((b"text", "o200k_base"), {})],
    "_tokens_ranks": [((5,), {})],
    "BytesCache": [
        ((), {}),
        (("1",), {}),
        ((1.5,), {}),
        ((1, "lru"), {}),
        ((1,), {"policy": 5}),
        ((1,), {"ttl": "1"}),
        ((1,), {"clock": 5}),
    ],
    "BytesCache.get": [((5,), {}), ((None,), {}), ((bytearray(16),), {}), ((), {})],
    "BytesCache.set": [(("k", "v"), {}), (("k", bytearray(b"v")), {}), ((5, b"v"), {}), (("k", b"v"), {"ttl": "1"}), (("k", b"v", 1.0), {})],
    "BytesCache.delete": [((5,), {})],
    "BytesCache.get_many": [((5,), {}), (([5],), {})],
    "BytesCache.set_many": [((5,), {}), (([("k", 5)],), {}), (({"k": "v"},), {})],
    "BytesCache.clear": [((1,), {})],
    "BytesCache.stats": [((1,), {})],
    "StaticEmbedder": [((1,), {}), ((), {"dim": 256})],
    "StaticEmbedder.embed": [((), {}), ((None,), {}), ((["a", 5],), {}), ((b"a",), {})],
    "VectorIndex": [((), {}), (("2",), {}), ((2,), {"clock": 5}), ((2, None), {})],
    "VectorIndex.add": [((1, 5), {}), (("1", VECTOR), {}), ((1, "ab"), {}), ((1, VECTOR), {"namespace": 5}), ((1, VECTOR), {"expires_at": "5"}), ((1, VECTOR, "n"), {})],
    "VectorIndex.add_many": [((5, [[1, 2]]), {}), (([1.5], [[1, 2]]), {}), (([1], 5), {}), (([1], [["a", "b"]]), {})],
    "VectorIndex.remove": [(("1",), {}), ((1.5,), {})],
    "VectorIndex.remove_many": [((5,), {}), ((["1"],), {})],
    "VectorIndex.prepare": [((None,), {}), ((np.array([1, 2]),), {})],
    "VectorIndex.search": [((None,), {}), ((VECTOR,), {"k": 1.5}), ((VECTOR,), {"min_similarity": "1"}), ((VECTOR,), {"exact": 5}), ((VECTOR, 1), {})],
    "VectorIndex.search_many": [((None,), {}), (([index().prepare(VECTOR), 5],), {})],
    "VectorIndex.predict_seconds": [((), {"queries": "1"}), ((), {"k": "1"}), ((), {"namespace": 5}), ((), {"exact": 1})],
    "BytesCache.delete_many": [((5,), {}), (([5],), {})],
    "BytesCache.invalidate_tag": [((b"t",), {})],
    "BytesCache.invalidate_prefix": [((5,), {})],
    "BytesCache.sweep": [((5,), {}), ((), {"limit": "5"})],
    "Cache": [((), {}), (("1",), {}), ((1, "lru"), {}), ((1,), {"weigher": 5}), ((1,), {"clock": 5})],
    "Cache.get": [((), {})],
    "Cache.set": [((1,), {}), ((1, 2), {"weight": "1"}), ((1, 2), {"ttl": "1"}), ((1, 2), {"cost": "1"}), ((1, 2), {"tags": 5})],
    "Cache.delete": [((), {})],
    "Cache.get_many": [((5,), {})],
    "Cache.set_many": [((5,), {}), (({1: 2},), {"weight": 1.5})],
    "Cache.delete_many": [((5,), {})],
    "Cache.invalidate_tag": [((b"t",), {})],
    "Cache.invalidate_prefix": [((5,), {})],
    "Cache.sweep": [((5,), {}), ((), {"limit": "5"})],
    "Cache.clear": [((1,), {})],
    "Cache.stats": [((1,), {})],
    "MetricRegistry": [((5,), {}), ((), {"max_series": "5"})],
    "MetricRegistry.counter": [((5, "help"), {}), (("c",), {}), (("c", "help", 5), {}), (("c", "help", [5]), {})],
    "MetricRegistry.gauge": [((5, "help"), {}), (("g", None), {})],
    "MetricRegistry.histogram": [(("h", "help"), {}), (("h", "help"), {"buckets": 5}), (("h", "help"), {"buckets": ["1"]})],
    "MetricRegistry.render": [((1,), {})],
    "MetricFamily.labels": [((5,), {}), ((b"x",), {})],
    "MetricCounter.add": [(("1",), {}), ((None,), {})],
    "MetricGauge.add": [(("1",), {})],
    "MetricGauge.set": [((), {}), (("1",), {})],
    "MetricHistogram.observe": [((), {}), (("1",), {})],
}  # fmt: skip
CALLS = {name: call for name, call, _ in GOOD}


def test_every_callable_of_the_stub_is_called_here() -> None:
    properties = {name for name in NAMES if inspect.isdatadescriptor(native(name))}
    made_by_the_core = {
        "Inspection",
        "Difference",
        "CacheStats",
        "MetricFamily",
        "MetricCounter",
        "MetricGauge",
        "MetricHistogram",
        "TokenEncoding",
        "Matches",
        "VectorQuery",
    }
    with_files = {
        "BytesCache.save",
        "BytesCache.load",
        "Cache.save",
        "Cache.load",
        "VectorIndex.save",
        "VectorIndex.load",
        "tokens_load_encoding",
        "MiniLMEmbedder",
        "MiniLMEmbedder.embed",
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
        "MetricFamily",
        "MetricCounter",
        "MetricGauge",
        "MetricHistogram",
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
        "TokenEncoding": encoding(),
        "Meter": _core.Meter(),
        "Prefix": _core.Prefix("text"),
        "Matches": index().search(VECTOR),
        "VectorQuery": index().prepare(VECTOR),
        "VectorIndex": index(),
        "StaticEmbedder": _core.StaticEmbedder(),
        "MiniLMEmbedder": _core.MiniLMEmbedder(bert.write(tmp_path)),
        "MetricCounter": registry().counter("c", "h").labels(),
        "MetricGauge": registry().gauge("g", "h").labels(),
        "MetricHistogram": family.labels(),
    }
    for name in NAMES:
        owner, _, member = name.partition(".")
        if member and inspect.isdatadescriptor(native(name)):
            getattr(objects[owner], member)
            with pytest.raises(AttributeError):
                setattr(objects[owner], member, 1)
