"""Any object comes back, any payload is read as msgpack reads it or refused, and no bytes do anything worse."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgpack
import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from frames import CONVERSATION, framed, payload_of
from sparecall.errors import FrameError
from sparecall.frame import FrameReader, pack, unpack

offsets = st.integers(-86_399, 86_399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
# A day from both ends, so that UTC has the moment, too.
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=offsets)
keys = st.text(max_size=40) | st.integers() | st.binary(max_size=10) | st.none() | st.floats(allow_nan=False)
common = st.none() | st.booleans() | st.floats(allow_nan=False) | st.text() | st.binary()
narrow = st.integers(-(2**63), 2**64 - 1)
leaves = common | narrow | st.integers() | moments


def trees(leaf: st.SearchStrategy[Any], key: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(leaf, lambda inner: st.lists(inner) | st.dictionaries(key, inner), max_leaves=40)


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types all the way down; NaN equals itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(a, b) and same(x, y) for (a, x), (b, y) in zip(one.items(), other.items(), strict=True)
        )
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or (one, math.copysign(1, one)) == (
            other,
            math.copysign(1, other),
        )
    return bool(one == other)


@given(trees(leaves, keys))
def test_any_object_comes_back(value: Any) -> None:
    frame = pack(value)
    assert same(unpack(frame), value)
    assert same(unpack(memoryview(frame), copy=True), value)
    assert pack(unpack(frame)) == frame


@given(trees(common | narrow, st.text()))
def test_payloads_are_those_of_msgspec(value: Any) -> None:
    assert payload_of(pack(value)) == msgspec.msgpack.encode(value)


@given(st.lists(st.tuples(st.text(max_size=30), st.integers(1, 200)), min_size=1, max_size=20))
def test_repetitive_texts_are_blocks_that_lz4_reads(parts: list[tuple[str, int]]) -> None:
    value = [text * count for text, count in parts]
    frame = pack(value)
    assert msgpack.unpackb(payload_of(frame)) == value
    assert unpack(frame) == value


def reference(payload: bytes) -> Any:
    return msgpack.unpackb(payload, strict_map_key=False, timestamp=3, use_list=True)


def read(frame: bytes) -> tuple[bool, Any]:
    """Whether the frame was taken, and what was in it. Nothing but a `FrameError` may come of any bytes."""
    try:
        return True, unpack(frame)
    except FrameError:
        return False, None


@given(st.binary(max_size=60))
def test_any_payload_is_read_as_msgpack_reads_it_or_refused(payload: bytes) -> None:
    taken, value = read(framed(payload))
    if taken and not has_extension(value):
        assert same(value, reference(payload))


def has_extension(value: Any) -> bool:
    """Whether there is anything in it that msgpack gives in another form."""
    if isinstance(value, dict):
        return any(map(has_extension, value)) or any(map(has_extension, value.values()))
    if isinstance(value, list):
        return any(map(has_extension, value))
    return isinstance(value, (np.ndarray, datetime)) or (isinstance(value, int) and value.bit_length() > 64)


@given(trees(leaves, keys), st.data())
def test_changed_payloads_are_read_as_msgpack_reads_them_or_refused(value: Any, data: st.DataObject) -> None:
    payload = bytearray(payload_of(pack(value)))
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    taken, found = read(framed(bytes(payload)))
    if taken and not has_extension(found):
        assert same(found, reference(bytes(payload)))


FRAME = pack(CONVERSATION)


@given(st.lists(st.tuples(st.integers(0, len(FRAME) - 1), st.integers(1, 255)), min_size=1, max_size=4))
def test_no_changed_frame_is_taken(changes: list[tuple[int, int]]) -> None:
    changed = bytearray(FRAME)
    for place, bits in changes:
        changed[place] ^= bits
    assert bytes(changed) == FRAME or not read(bytes(changed))[0]


@given(st.lists(trees(leaves, keys), max_size=6), st.lists(st.integers(0, 10_000), max_size=10))
def test_a_stream_in_any_pieces(values: list[Any], cuts: list[int]) -> None:
    frames = [pack(value) for value in values]
    stream = b"".join(frames)
    ends = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    reader = FrameReader()
    found: list[Any] = []
    for start, end in itertools.pairwise(ends):
        found += reader.feed(stream[start:end])
        assert reader.pending < max(map(len, frames))
    reader.finish()
    assert same(found, values)


DTYPES = st.sampled_from(
    ["?", "i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16"]
)


@given(arrays.arrays(DTYPES, arrays.array_shapes(min_dims=0, min_side=0)), st.text(max_size=40), st.booleans())
def test_any_array_comes_back_aligned(array: Any, before: str, copy: bool) -> None:
    _, found = unpack(pack([before, array]), copy=copy)  # type: ignore[misc]
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    assert (found.flags.aligned, found.flags.writeable) == (True, copy)


def test_the_moments_compare_as_moments() -> None:
    moment = datetime(2026, 6, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert same(unpack(pack(moment)), moment.astimezone(UTC))
