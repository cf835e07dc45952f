"""Every callable of the stub with calls that it takes and calls that are type errors; `test_stub.py` makes them."""

from __future__ import annotations

import math
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np

import stub_context
import stub_flow
import stub_outline
from sparecall import _core

if TYPE_CHECKING:
    from collections.abc import Callable

VECTOR = np.array([1.0, 2.0], np.float32)
FRAME = _core.frame_pack({"a": 1})
BODY = b'{"model":"m","messages":[{"role":"user","content":"a"}]}'


def cache() -> _core.BytesCache:
    return _core.BytesCache(10_000)


def index() -> _core.VectorIndex:
    return _core.VectorIndex(2)


def objects() -> _core.Cache[object, object]:
    return _core.Cache(100)


def registry() -> _core.MetricRegistry:
    return _core.MetricRegistry()


def decision() -> _core.SemanticDecision:
    return _core.SemanticDecision()


def profile() -> _core.SemanticProfile:
    return _core.SemanticProfile("How do I log in?")


def verdict() -> _core.SemanticVerdict:
    return decision().judge(profile(), profile(), 1.0)


def draft() -> _core.FrameDraft:
    found = _core._frame_draft("x" * 300_000, max_bytes=1_000_000)
    assert isinstance(found, _core.FrameDraft)
    return found


def waiting() -> _core.Queue[Any]:
    return _core.Queue(10, clock=lambda: 0.0)


def future() -> Any:
    return Future()


def work() -> _core.Work[None]:
    return _core._queue_pause(0.0, None)


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
    (
        "frame_pack",
        _core.frame_pack,
        [(({"a": [1, 2.5, None]},), {}), (("text",), {"max_bytes": 100})],
    ),
    (
        "frame_unpack",
        _core.frame_unpack,
        [
            ((FRAME,), {}),
            ((bytearray(FRAME),), {"copy": True}),
            ((memoryview(FRAME),), {"copy": False, "max_bytes": 100}),
        ],
    ),
    ("_frame_draft", _core._frame_draft, [((1,), {"max_bytes": 100})]),
    ("FrameDraft.seal", lambda: draft().seal(), [((), {})]),
    ("_frame_lengths", _core._frame_lengths, [((FRAME[:16],), {"max_bytes": 100})]),
    ("FrameReader", _core.FrameReader, [((), {}), ((), {"copy": True, "max_bytes": 100})]),
    (
        "FrameReader.feed",
        lambda data: _core.FrameReader().feed(data),
        [((FRAME,), {}), ((bytearray(FRAME[:5]),), {}), ((memoryview(FRAME),), {})],
    ),
    ("FrameReader.finish", lambda: _core.FrameReader().finish(), [((), {})]),
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
    ("SemanticProfile", _core.SemanticProfile, [(("text",), {}), (("",), {})]),
    ("SemanticProfile.to_bytes", lambda *a: profile().to_bytes(*a), [((), {})]),
    ("SemanticProfile.from_bytes", _core.SemanticProfile.from_bytes, [((profile().to_bytes(),), {})]),
    ("SemanticProfile.same", lambda *a: profile().same(*a), [((profile(),), {})]),
    (
        "SemanticDecision",
        _core.SemanticDecision,
        [((), {}), ((), {"max_error": 1, "audit_share": 0.5, "seed": 7, "embedder": "static"})],
    ),
    ("SemanticDecision.stored", lambda *a: decision().stored(*a), [((profile(),), {})]),
    (
        "SemanticDecision.judge",
        lambda *a, **k: decision().judge(*a, **k),
        [
            ((profile(), profile(), 0.9), {}),
            ((profile(), profile(), 1), {"second": 0.5, "density": 2, "age": 1.5, "scope": "s", "category": "c", "entry": 1, "max_error": 0.1}),
            ((profile(), profile(), 0.9), {"entry": None, "max_error": None}),
        ],
    ),
    (
        "SemanticDecision.learn",
        lambda *a, **k: decision().learn(*a, **k),
        [((verdict(),), {"correct": True}), ((verdict(),), {"correct": False, "weight": 0.5})],
    ),
    ("SemanticDecision.report", lambda *a: decision().report(*a), [((), {})]),
    ("SemanticDecision.to_bytes", lambda *a: decision().to_bytes(*a), [((), {})]),
    ("SemanticDecision.restore", lambda *a: decision().restore(*a), [((decision().to_bytes(),), {})]),
    ("semantic_error_interval", _core.semantic_error_interval, [((1, 20), {}), ((0, 0), {})]),
    ("_semantic_feature_names", _core._semantic_feature_names, [((), {})]),
    ("_semantic_features", _core._semantic_features, [(([("a", "b")], ["a"]), {})]),
    ("_semantic_stems", _core._semantic_stems, [(("logging in",), {})]),
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
    ("BytesCache.resize", lambda *a, **k: cache().resize(*a, **k), [((5,), {}), ((5,), {"limit": 5}), ((), {"max_bytes": 5})]),
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
    ("Cache.resize", lambda *a, **k: objects().resize(*a, **k), [((5,), {}), ((5,), {"limit": 5}), ((), {"max_weight": 5})]),
    ("Cache.clear", lambda *a: objects().clear(*a), [((), {})]),
    ("Cache.stats", lambda *a: objects().stats(*a), [((), {})]),
    ("Queue", _core.Queue, [((5,), {"clock": lambda: 0.0}), ((5,), {"overflow": "drop", "clock": lambda: 0.0})]),
    (
        "Queue.put",
        lambda *a, **k: waiting().put(*a, **k),
        [((None,), {}), ((5,), {"priority": "low", "tokens": 5, "deadline": 5, "timeout": 0.5}), ((5,), {"deadline": None, "timeout": None})],
    ),
    ("Queue.take", lambda *a: waiting().take(*a), [((), {})]),
    ("Queue.expired", lambda *a: waiting().expired(*a), [((), {})]),
    ("Queue._tell_of_items", lambda *a: waiting()._tell_of_items(*a), [((_core.Port(), future()), {})]),
    ("Queue._tell_of_room", lambda *a: waiting()._tell_of_room(*a), [((_core.Port(), future()), {})]),
    ("Queue._tell_no_more", lambda *a: waiting()._tell_no_more(*a), [((future(),), {})]),
    ("QueueTicket.cancel", lambda *a: waiting().put(1).cancel(*a), [((), {})]),
    ("queue_workers", _core.queue_workers, [((), {})]),
    ("_queue_after_fork", _core._queue_after_fork, [((), {})]),
    ("_queue_hold", _core._queue_hold, [((None,), {})]),
    ("_queue_let_go", _core._queue_let_go, [((), {})]),
    ("_queue_pause", _core._queue_pause, [((0.0, None), {}), ((1, "value"), {})]),
    ("Port", _core.Port, [((), {})]),
    ("Port.fileno", lambda *a: _core.Port().fileno(*a), [((), {})]),
    ("Port.drain", lambda *a: _core.Port().drain(*a), [((), {})]),
    ("Port.submit", lambda *a: _core.Port().submit(*a), [((work(), future(), "low"), {})]),
    ("Port.resolve", lambda *a: _core.Port().resolve(*a), [((future(), 5), {})]),
    ("Port.fail", lambda *a: _core.Port().fail(*a), [((future(), ValueError()), {})]),
    ("Port._resolve_natively", lambda *a: _core.Port()._resolve_natively(*a), [(([future()], None), {})]),
    ("WorkTicket.cancel", lambda *a: _core.Port().submit(work(), future(), "low").cancel(*a), [((), {})]),
    ("_digest_inspect_work", _core._digest_inspect_work, [((BODY, "s", "chat", 0, 1.0, 1), {})]),
    ("_tokens_count_work", _core._tokens_count_work, [(("text", "o200k_base"), {})]),
    ("_tokens_count_many_work", _core._tokens_count_many_work, [((["text"], "o200k_base"), {})]),
    ("SemanticProfile._work", _core.SemanticProfile._work, [(("text",), {})]),
    ("StaticEmbedder._embed_work", lambda *a: _core.StaticEmbedder()._embed_work(*a), [(("text",), {}), ((["a", "b"],), {})]),
    ("VectorIndex._search_or_work", lambda *a: index()._search_or_work(*a), [(([index().prepare(VECTOR)], 1, 0.5, "", True), {})]),
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
    "frame_pack": [((), {}), ((1, 100), {}), ((1,), {"max_bytes": 1.5}), ((1,), {"max_bytes": "1"})],
    "frame_unpack": [(("text",), {}), ((None,), {}), ((FRAME,), {"copy": 1}), ((FRAME,), {"max_bytes": 1.5})],
    "_frame_draft": [((1,), {}), ((1,), {"max_bytes": "1"}), ((), {"max_bytes": 1})],
    "FrameDraft.seal": [((1,), {})],
    "_frame_lengths": [((FRAME[:16],), {}), (("text",), {"max_bytes": 1}), ((FRAME[:16],), {"max_bytes": 1.5})],
    "FrameReader": [((1,), {}), ((), {"copy": 1}), ((), {"max_bytes": 1.5})],
    "FrameReader.feed": [(("text",), {}), ((), {}), ((5,), {})],
    "FrameReader.finish": [((1,), {})],
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
    "SemanticProfile": [((), {}), ((5,), {}), ((b"text",), {})],
    "SemanticProfile.to_bytes": [((1,), {})],
    "SemanticProfile.from_bytes": [((), {}), (("text",), {})],
    "SemanticProfile.same": [((), {}), (("text",), {})],
    "SemanticDecision": [((0.1,), {}), ((), {"max_error": "1"}), ((), {"seed": 1.5}), ((), {"embedder": 5})],
    "SemanticDecision.stored": [((), {}), (("text",), {})],
    "SemanticDecision.judge": [((profile(), profile()), {}), (("a", "b", 0.9), {}), ((profile(), profile(), 0.9), {"entry": "1"})],
    "SemanticDecision.learn": [((verdict(),), {}), ((None,), {"correct": True}), ((verdict(),), {"correct": 1})],
    "SemanticDecision.report": [((1,), {})],
    "SemanticDecision.to_bytes": [((1,), {})],
    "SemanticDecision.restore": [((), {}), (("text",), {})],
    "semantic_error_interval": [((1,), {}), (("1", 2), {})],
    "_semantic_feature_names": [((1,), {})],
    "_semantic_features": [((5, []), {}), (([(1, 2)], []), {})],
    "_semantic_stems": [((5,), {})],
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
    "BytesCache.resize": [((5, 5), {}), (("5",), {}), ((5,), {"limit": "5"})],
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
    "Cache.resize": [((5, 5), {}), (("5",), {}), ((5,), {"limit": "5"})],
    "Cache.clear": [((1,), {})],
    "Cache.stats": [((1,), {})],
    "Queue": [((5,), {}), (("5",), {"clock": lambda: 0.0}), ((5,), {"clock": None}), ((5,), {"overflow": 5, "clock": lambda: 0.0})],
    "Queue.put": [((), {}), ((1, "low"), {}), ((1,), {"priority": 5}), ((1,), {"tokens": 1.5}), ((1,), {"deadline": "1"}), ((1,), {"timeout": "1"})],
    "Queue.take": [((1,), {})],
    "Queue.expired": [((1,), {})],
    "Queue._tell_of_items": [((5, future()), {}), ((_core.Port(),), {})],
    "Queue._tell_of_room": [((5, future()), {}), ((_core.Port(),), {})],
    "Queue._tell_no_more": [((), {})],
    "QueueTicket.cancel": [((1,), {})],
    "queue_workers": [((1,), {})],
    "_queue_after_fork": [((1,), {})],
    "_queue_hold": [((), {})],
    "_queue_let_go": [((1,), {})],
    "_queue_pause": [(("1", None), {}), ((1.0,), {})],
    "Port": [((1,), {})],
    "Port.fileno": [((1,), {})],
    "Port.drain": [((1,), {})],
    "Port.submit": [((5, future(), "low"), {}), ((work(), future(), 5), {}), ((work(), future()), {})],
    "Port.resolve": [((future(),), {})],
    "Port.fail": [((future(),), {}), ((future(), 5), {}), ((future(), ValueError), {})],
    "Port._resolve_natively": [((5, None), {})],
    "WorkTicket.cancel": [((1,), {})],
    "_digest_inspect_work": [((BODY.decode(), "s", "chat", 0, 1.0, 1), {}), ((BODY, b"s", "chat", 0, 1.0, 1), {})],
    "_tokens_count_work": [((b"text", "o200k_base"), {}), (("text", 5), {})],
    "_tokens_count_many_work": [(("text", "o200k_base"), {}), (([5], "o200k_base"), {})],
    "SemanticProfile._work": [((b"text",), {})],
    "StaticEmbedder._embed_work": [((None,), {}), ((["a", 5],), {})],
    "VectorIndex._search_or_work": [((None, 1, 0.5, "", True), {})],
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
GOOD += [*stub_flow.GOOD, *stub_context.GOOD, *stub_outline.GOOD]
BAD |= stub_flow.BAD | stub_context.BAD | stub_outline.BAD
CALLS = {name: call for name, call, _ in GOOD}
