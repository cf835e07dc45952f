"""Frames: what goes in comes out, whatever is not a frame is refused, and whoever reads an error learns the place only."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import uuid
from collections import Counter, OrderedDict
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

import lz4.block
import msgpack
import msgspec
import numpy as np
import pytest

from frames import CONVERSATION, LZ4, framed, payload_of, refused
from sparecall.errors import FrameError, InvalidArgument
from sparecall.frame import pack, unpack

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        "",
        "é",
        "日本語",
        "😀" * 300,
        b"",
        b"\x00\xff" * 40_000,
        [],
        {},
        [[]],
        {"": {}},
        0.0,
        -0.0,
        1e308,
        math.inf,
        -math.inf,
        {1: 2, None: 3, 1.5: 4, b"k": 5, False: 6, "s": 7} | {2**80: 8},
        "x" * 31,
        "x" * 32,
        "x" * 255,
        "x" * 256,
        "x" * 65_535,
        "x" * 65_536,
        list(range(70_000)),
        {str(n): n for n in range(70_000)},
        CONVERSATION,
    ],
)
def test_what_goes_in_comes_out(value: object) -> None:
    found = unpack(pack(value))
    assert found == value
    assert repr(found) == repr(value)  # the sign of zeros, and bool for bool


def test_integers_of_any_size() -> None:
    edges = {sign * (1 << bits) + step for bits in range(130) for sign in (1, -1) for step in (-1, 0, 1)}
    edges |= {1 << 1000, -(1 << 1000), 10**4000}
    for number in edges:
        found = unpack(pack([number]))
        assert found == [number]


def test_the_payload_is_what_msgpack_and_lz4_read() -> None:
    frame = pack(CONVERSATION)
    assert frame[3] & LZ4
    assert msgpack.unpackb(payload_of(frame)) == CONVERSATION
    short = pack({"a": [1, 2.5, "b"]})
    assert not short[3] & LZ4
    assert msgpack.unpackb(payload_of(short)) == {"a": [1, 2.5, "b"]}


def test_frames_made_by_msgpack_and_lz4_are_read() -> None:
    raw = msgpack.packb(CONVERSATION)
    assert unpack(framed(raw)) == CONVERSATION
    block = lz4.block.compress(raw, store_size=False)
    assert unpack(framed(block, flags=LZ4, raw=len(raw))) == CONVERSATION


def test_payloads_are_as_short_as_those_of_msgspec() -> None:
    for value in (CONVERSATION, list(range(-70_000, 70_000, 7)), [2**n for n in range(64)]):
        assert payload_of(pack(value)) == msgspec.msgpack.encode(value)


def test_the_msgpack_test_suite(shared_data: Path) -> None:
    suite = json.loads((shared_data / "msgpack" / "msgpack-test-suite.json").read_text("utf-8"))
    checked = 0
    for case in (case for cases in suite.values() for case in cases):
        forms = [bytes.fromhex(form.replace("-", "")) for form in case.pop("msgpack")]
        ((kind, expected), *_) = sorted(case.items(), key=lambda item: item[0] != "bignum")
        match kind:
            case "ext":
                assert all(refused(framed(form)) for form in forms)
                continue
            case "bignum":
                expected = int(expected)
            case "binary":
                expected = bytes.fromhex(expected.replace("-", ""))
            case "timestamp":
                seconds, nanoseconds = expected
                if not -62_135_596_800 <= seconds < 253_402_300_800:
                    assert all(refused(framed(form)) for form in forms)
                    continue
                expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
                    seconds=seconds, microseconds=nanoseconds // 1000
                )
        for form in forms:
            assert unpack(framed(form)) == expected, form.hex()
            checked += 1
        if kind != "timestamp" or nanoseconds % 1000 == 0:
            assert payload_of(pack(expected)) in forms
    assert checked > 90


def test_moments() -> None:
    ahead = timezone(timedelta(hours=5, minutes=30, seconds=1, microseconds=7))
    for moment in (
        datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=ahead),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2000, 2, 29, 12, tzinfo=timezone(timedelta(hours=-11))),
    ):
        found = unpack(pack(moment))
        assert found == moment
        assert isinstance(found, datetime)
        assert found.tzinfo is UTC
        assert msgpack.unpackb(payload_of(pack(moment)), timestamp=3) == moment


class Role(enum.Enum):
    USER = "user"


class Shade(enum.StrEnum):
    DARK = "dark"


class Inner(msgspec.Struct, rename="camel", tag="inner", tag_field="kind"):
    max_tokens: int
    absent: int | msgspec.UnsetType = msgspec.UNSET


class Pair(msgspec.Struct, array_like=True):
    left: int
    right: str


@dataclasses.dataclass(slots=True)
class Point:
    x: float
    tags: list[str]
    inner: Inner
    shared: ClassVar[int] = 5


def test_records_and_the_rest_become_plain_data() -> None:
    point = Point(1.5, ["a"], Inner(7))
    assert unpack(pack(point)) == {"x": 1.5, "tags": ["a"], "inner": {"kind": "inner", "maxTokens": 7}}
    assert msgspec.convert(unpack(pack(Inner(7))), Inner) == Inner(7)
    assert msgspec.convert(unpack(pack(Pair(1, "b"))), Pair) == Pair(1, "b")
    some_id = uuid.uuid4()
    given = [(1, (2,)), {3}, frozenset({4}), Role.USER, Shade.DARK, some_id, Decimal("1.50"), bytearray(b"x")]
    assert unpack(pack(given)) == [[1, [2]], [3], [4], "user", "dark", str(some_id), "1.50", b"x"]
    assert unpack(pack([memoryview(b"abcdef")[1:3], memoryview(b"abcdef")[::2]])) == [b"bc", b"ace"]
    assert unpack(pack([np.float32(0.5), np.int64(-3), np.uint8(3), np.bool_(True), np.float64(2.5)])) == [
        0.5,
        -3,
        3,
        True,
        2.5,
    ]
    ordered = OrderedDict(a=1, b=2)
    ordered.move_to_end("a")
    assert list(unpack(pack(ordered))) == ["b", "a"]  # type: ignore[call-overload]
    assert unpack(pack(Counter("aab"))) == {"a": 2, "b": 1}


def test_the_limits_are_arguments() -> None:
    assert unpack(pack("x" * 90, max_bytes=92), max_bytes=92) == "x" * 90
    with pytest.raises(FrameError, match="92 bytes, above the limit of 91"):
        unpack(pack("x" * 90), max_bytes=91)
    with pytest.raises(FrameError, match="above the limit of 91"):
        pack("x" * 90, max_bytes=91)
    for bad in (0, -1):
        with pytest.raises(InvalidArgument, match="max_bytes"):
            pack(1, max_bytes=bad)
    with pytest.raises(TypeError):
        unpack("text")  # type: ignore[arg-type]
