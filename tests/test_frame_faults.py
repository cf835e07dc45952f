"""Frames and hostile input: bytes that lie, objects that change under the writer's hands, errors that quote nothing."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import struct
import sys
import threading
import zlib
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any

import lz4.block
import msgpack
import msgspec
import numpy as np
import pytest

from frames import ARRAYS, CONVERSATION, LZ4, framed, refused
from sparecall.errors import FrameError
from sparecall.frame import FrameReader, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "sk-secret-of-a-user"


def unpackable(value: object) -> str:
    """Why an object is refused; fails where it is not, or where anything is quoted."""
    with pytest.raises(FrameError) as caught:
        pack(value)
    message = str(caught.value)
    assert SECRET not in message
    return message


def test_every_flipped_bit_is_refused() -> None:
    for value in ({"short": 1}, CONVERSATION):
        frame = pack(value)
        bits = range(len(frame) * 8) if len(frame) < 100 else [*range(600), *range(600, len(frame) * 8, 7)]
        for bit in bits:
            flipped = bytearray(frame)
            flipped[bit // 8] ^= 1 << bit % 8
            assert refused(flipped), bit


def test_a_frame_cut_short_or_with_more_behind_it() -> None:
    frame = pack(CONVERSATION)
    for length in range(len(frame)):
        assert "cut short" in refused(frame[:length])
    assert "1 bytes follow" in refused(frame + b"x")
    assert refused(frame + frame)


def test_what_is_no_frame() -> None:
    assert "do not begin with its magic" in refused(b'{"json": "of sixteen bytes"}')
    assert "do not begin with its magic" in refused(lz4.block.compress(bytes(range(100))))
    assert "version 2, and this reads version 1" in refused(framed(b"\xc0", version=2))
    assert "version 0" in refused(framed(b"\xc0", version=0))
    assert "flags" in refused(framed(b"\xc0", flags=4))


def test_bombs() -> None:
    assert "255 to 1" in refused(framed(b"\0" * 50, flags=LZ4, raw=60_000_000))
    assert "above the limit of 67108864" in refused(framed(b"\0" * 50, flags=LZ4, raw=2**32 - 1))
    for bomb in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdd\x00\x00\x01\x00" * 60 + b"\xc0" * 256):
        assert "says it holds more than there is" in refused(framed(bomb))
    for bomb in (b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01"):
        assert "cut short" in refused(framed(bomb))
    assert "128 levels" in refused(framed(b"\x91" * 100_000 + b"\x90"))
    lists = b"\xdd" + struct.pack(">I", 10_000_000) + b"\x90" * 10_000_000
    assert "more than 8454144 values" in refused(framed(lists))
    block = lz4.block.compress(lists, store_size=False)
    assert len(block) < 50_000
    assert "more than 8454144 values" in refused(framed(block, flags=LZ4, raw=len(lists)))


def test_payloads_that_only_python_objects_find_out() -> None:
    assert "key twice" in refused(framed(b"\x82\xa1a\x01\xa1a\x02"))
    assert "key twice" in refused(framed(b"\x82\x01\x01\xcb\x3f\xf0\0\0\0\0\0\0\x02"))
    for key in (b"\x90", b"\x80", b"\xc7\x06\x01\x03<f4\x00\x00"):
        assert "key is a container" in refused(framed(b"\x81" + key + b"\x01"))
    for text in (b"\xa2\xc3\x28", b"\xa3\xed\xa0\x80", b"\x81\xa1\xff\x01"):
        assert "UTF-8" in refused(framed(text))
    assert "bytes after the object" in refused(framed(b"\xc0\xc0"))


def extension(dtype: bytes, shape: tuple[int, ...], numbers: bytes, padding: int = 0) -> bytes:
    dimensions = b"".join(struct.pack("<Q", dimension) for dimension in shape)
    body = bytes([len(dtype)]) + dtype + bytes([len(shape)]) + dimensions + bytes([padding]) + b"\0" * padding + numbers
    packed: bytes = msgpack.packb(msgpack.ExtType(1, body))
    return packed


def test_arrays_that_lie() -> None:
    assert "dtype" in refused(framed(extension(b"|O", (1,), b"\0" * 8)))
    assert "shape" in refused(framed(extension(b"<f4", (2,), b"\0" * 4)))
    assert "too many" in refused(framed(extension(b"<f4", (1 << 62, 1 << 62), b"")))
    assert "dimensions" in refused(framed(extension(b"|u1", (1,) * 65, b"\0")))
    assert "too many" in refused(framed(extension(b"<f8", (1 << 40, 0, 1 << 20), b"")))
    assert "too many" in refused(framed(extension(b"|u1", (0, 1 << 63), b"")))
    assert refused(framed(extension(b"<f4", (), b"")))


def test_frames_of_others_whose_numbers_are_not_aligned() -> None:
    for padding in range(8):
        found = unpack(framed(extension(b"<f8", (3,), struct.pack("<3d", 1, 2, 3), padding), flags=2))
        assert isinstance(found, np.ndarray)
        assert found.tolist() == [1, 2, 3]
        assert found.flags.aligned
        assert not found.flags.writeable


def test_paths_name_the_place_and_never_the_content() -> None:
    deep = {"messages": [1, 2, 3, {"content": object()}]}
    assert unpackable(deep).startswith("cannot pack $.messages[3].content: an object of type object")
    assert "$.a[0]{1}:" in unpackable({"a": [{"x": 1, SECRET: object()}]})
    assert "${0}:" in unpackable({(SECRET,): 1})
    assert "surrogate" in unpackable([SECRET + "\ud800"])
    assert "${0}: text" in unpackable({SECRET + "\udfff": 1})
    assert "$[1][0]:" in unpackable((1, {frozenset({b"a", object()})} and [object()]))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (datetime(2026, 1, 1), "time zone"),
        (datetime(1, 1, 1, tzinfo=UTC).replace(tzinfo=timezone(timedelta(hours=5))), "years 1 to 9999"),
        (date(2026, 1, 1), "type date"),
        (time(1), "type time"),
        (timedelta(1), "type timedelta"),
        (1j, "type complex"),
        (range(3), "type range"),
        (lambda: 1, "type function"),
        (int, "type type"),
        (np.array([object()]), "dtype object"),
        (np.array(["a"]), "dtype <U1"),
        (np.zeros(2, ">f4"), "dtype >f4"),
        (np.zeros(2, [("a", "<f4")]), "dtype \\[\\('a'"),
        (np.zeros(2, "M8[s]"), "dtype datetime64"),
        (np.ma.masked_array([1, 2], mask=[0, 1]), "type MaskedArray"),
        (np.longdouble(1), "type longdouble"),
        (np.datetime64("2026-01-01"), "type datetime64"),
        ({(1, 2): 3}, "key of type tuple"),
        ({frozenset(): 3}, "key of type frozenset"),
    ],
)  # fmt: skip
def test_what_no_frame_can_hold(value: object, why: str) -> None:
    with pytest.raises(FrameError, match=why):
        pack([value])


def test_objects_that_contain_themselves() -> None:
    items: list[Any] = []
    items.append(items)
    table: dict[str, Any] = {}
    table["again"] = [table]
    for value in (items, table, (items,)):
        message = unpackable(value)
        assert "128 levels" in message
        assert len(message) < 500
    deep: list[Any] = []
    for _ in range(127):
        deep = [deep]
    assert unpack(pack(deep)) == deep
    assert "128 levels" in unpackable([deep])


class Acts:
    """A dataclass's field that does something when it is read."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def __get__(self, instance: object, owner: type) -> object:
        return self.act() if instance is not None else self


def acting(act: Callable[[], object]) -> object:
    """An object that runs `act` while it is packed."""
    made = dataclasses.make_dataclass("Acting", [("field", object)], init=False)
    made.field = Acts(act)
    return made()


def test_code_that_raises_is_a_frame_error_with_its_cause() -> None:
    def fail() -> object:
        raise ValueError(SECRET)

    with pytest.raises(FrameError, match=r"\$\.a\[1\]\.field: reading it raised ValueError") as caught:
        pack({"a": [0, acting(fail)]})
    assert SECRET not in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)

    def interrupt() -> object:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(acting(interrupt))
    assert unpack(pack([1])) == [1]


def test_dicts_and_lists_that_change_while_they_are_packed() -> None:
    def changed(kind: str, change: Callable[[Any], object]) -> None:
        held: Any = {n: n for n in range(50)} if kind == "dict" else list(range(50))

        def act() -> object:
            change(held)
            gc.collect()
            return None

        held[3] = acting(act)
        with pytest.raises(FrameError, match=f"the {kind} changed while it was packed"):
            pack({"x": held})

    changed("dict", lambda held: held.clear())
    changed("dict", lambda held: held.pop(49))
    changed("dict", lambda held: held.update({1000 + n: n for n in range(1000)}))
    changed("list", lambda held: held.clear())
    changed("list", lambda held: held.pop())
    changed("list", lambda held: held.append(1))


def test_a_dict_that_changes_and_keeps_its_length_is_well_formed_or_refused() -> None:
    held: dict[Any, Any] = {n: n for n in range(50)}

    def swap() -> object:
        for n in range(25):
            del held[n + 20]
            held[f"new {n}"] = "value"
        return None

    held[3] = acting(swap)
    try:
        frame = pack(held)
    except FrameError:
        return
    unpack(frame)


def test_subclasses_with_ideas_of_their_own() -> None:
    class Items(dict[str, int]):
        def __init__(self, items: object) -> None:
            super().__init__(a=1)
            self.found = items

        def items(self) -> Any:
            return self.found

    assert unpack(pack(Items([("x", 5)]))) == {"x": 5}
    for odd in (5, [5], [(1,)], [(1, 2, 3)], [[1, 2]], None):
        unpackable({"a": Items(odd)})
    endless = iter(lambda: ("same", 1), None)
    with pytest.raises(FrameError, match="limit"):
        pack(Items(endless), max_bytes=1_000)

    class Endless(set[int]):
        def __iter__(self) -> Any:
            return itertools.count()

    with pytest.raises(FrameError, match="limit"):
        pack(Endless(), max_bytes=1_000)

    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            raise RuntimeError

        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            raise RuntimeError

    class Number(int):
        def __index__(self) -> int:
            raise RuntimeError

        def bit_length(self) -> int:
            return 5

        def to_bytes(self, *_: object, **__: object) -> bytes:  # type: ignore[override]
            return b"junk"

    assert unpack(pack([Text("a"), Number(5), Number(2**70)])) == ["a", 5, 2**70]
    assert unpack(pack({Text("a"): Number(-1)})) == {"a": -1}


def test_time_zones_with_ideas_of_their_own() -> None:
    class Zone(tzinfo):
        def __init__(self, offset: object) -> None:
            self.offset = offset

        def utcoffset(self, _: datetime | None) -> Any:
            if isinstance(self.offset, Exception):
                raise self.offset
            return self.offset

    assert "time zone" in unpackable(datetime(2026, 1, 1, tzinfo=Zone(None)))
    for odd in (5, timedelta(days=3), ValueError(SECRET)):
        assert "raised" in unpackable([datetime(2026, 1, 1, tzinfo=Zone(odd))])


def test_classes_that_lie_about_their_fields() -> None:
    for fields in (None, 5, {}, {"a": 5}, {5: None}):
        liar = type("Liar", (), {"__dataclass_fields__": fields})
        if fields == {}:
            assert unpack(pack(liar())) == {}
        else:
            unpackable([liar()])
    missing = dataclasses.make_dataclass("Missing", [("field", int)])(1)
    del missing.field
    assert "$.field: reading it raised AttributeError" in unpackable(missing)

    class Unset(msgspec.Struct):
        field: int

    unset = Unset(1)
    del unset.field
    assert "raised AttributeError" in unpackable(unset)


def test_packing_within_packing_and_in_many_threads() -> None:
    inner: list[bytes] = []

    def act() -> object:
        inner.append(pack(CONVERSATION))
        return unpack(inner[-1])

    assert unpack(pack({"x" * 100: [acting(act)], "b": 2})) == {"x" * 100: [{"field": CONVERSATION}], "b": 2}
    assert unpack(inner[0]) == CONVERSATION
    long = {"text": [f"{n} and some text that is long enough" for n in range(30_000)]}
    failed: list[object] = []

    def work() -> None:
        failed.extend(1 for _ in range(4) if unpack(pack(long)) != long)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_arrays_pin_what_they_stand_on_and_nothing_else_does() -> None:
    frame = pack({"vector": np.arange(4, dtype=np.float32), "text": "t"})
    before = sys.getrefcount(frame)
    found: Any = unpack(frame)
    vector = found["vector"]
    assert np.shares_memory(vector, np.frombuffer(frame, np.uint8))
    assert not vector.flags.writeable
    assert vector.flags.aligned
    del found
    gc.collect()
    assert sys.getrefcount(frame) == before + 1
    del vector
    assert sys.getrefcount(frame) == before
    own: Any = unpack(frame, copy=True)
    assert sys.getrefcount(frame) == before
    own["vector"][0] = 5
    text = pack("only text")
    before = sys.getrefcount(text)
    kept = unpack(text)
    assert (sys.getrefcount(text), kept) == (before, "only text")


def test_arrays_of_a_compressed_frame_share_what_was_decompressed() -> None:
    given = {"text": "again and again, " * 500, "vectors": [np.arange(n, dtype=np.float64) for n in range(5)]}
    frame = pack(given)
    assert frame[3] == LZ4 | ARRAYS
    found: Any = unpack(frame)
    owners = {id(vector.base) for vector in found["vectors"]}
    assert len(owners) == 1
    for vector, expected in zip(found["vectors"], given["vectors"], strict=True):
        np.testing.assert_array_equal(vector, expected)
        assert (vector.flags.aligned, vector.flags.writeable) == (True, False)


@pytest.mark.parametrize("dtype", ["?", "b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "e", "f", "d", "F", "D"])
def test_every_dtype_and_shape(dtype: str) -> None:
    for shape in ((), (0,), (3,), (2, 0, 4), (2, 3, 4)):
        array = np.ones(shape, dtype)
        for given in (array, array.T, np.asfortranarray(array), np.broadcast_to(array, (2, *shape))):
            for copy in (False, True):
                found: Any = unpack(pack([given, "x"]), copy=copy)[0]  # type: ignore[index]
                np.testing.assert_array_equal(found, given)
                assert found.dtype == given.dtype
                assert found.flags.aligned
                assert found.flags.writeable is copy


def test_memory_that_can_change_is_copied_first() -> None:
    frame = pack(np.arange(4.0))
    for given in (bytearray(frame), memoryview(bytearray(frame)), np.frombuffer(bytearray(frame), np.uint8)):
        found: Any = unpack(given)
        memoryview(given).cast("B")[:] = bytes(len(frame))
        assert found.tolist() == [0, 1, 2, 3]
    view = memoryview(bytes(16) + frame)[16:]
    found = unpack(view)
    assert np.shares_memory(found, np.frombuffer(view, np.uint8))
    released = memoryview(frame)
    released.release()
    with pytest.raises((TypeError, ValueError)):
        unpack(released)
    assert refused(memoryview(frame)[::2])


def test_a_reader_gives_what_was_whole_and_then_stays_refused() -> None:
    good = pack({"n": 1})
    reader = FrameReader()
    assert reader.feed(good + good + b"x" * 16 + good) == [{"n": 1}, {"n": 1}]
    for _ in range(2):
        with pytest.raises(FrameError):
            reader.feed(good)
    with pytest.raises(FrameError):
        reader.finish()
    reader = FrameReader()
    bad = framed(b"\xc1")
    with pytest.raises(FrameError, match="does not use"):
        reader.feed(bad + good)
    with pytest.raises(FrameError, match="met a bad frame before"):
        reader.feed(good)
    reader = FrameReader(max_bytes=100)
    with pytest.raises(FrameError, match="above the limit of 100"):
        reader.feed(pack("x" * 200)[:16])
    reader = FrameReader()
    assert reader.feed(good[:19]) == []
    assert (reader.pending, repr(reader)) == (19, "FrameReader(pending=19, max_bytes=67108864)")
    with pytest.raises(FrameError, match="cut short"):
        reader.finish()
    assert reader.feed(good[19:]) == [{"n": 1}]
    reader.finish()


def test_arrays_of_a_reader_stand_on_memory_of_their_own() -> None:
    frame = pack(np.arange(3.0))
    for copy in (False, True):
        (found,) = FrameReader(copy=copy).feed(frame)
        assert isinstance(found, np.ndarray)
        assert found.flags.writeable is copy
        assert not np.shares_memory(found, np.frombuffer(frame, np.uint8))


def test_a_right_checksum_does_not_make_a_header_right() -> None:
    head = struct.pack("<2sBBII", b"\xc1S", 1, 0, 5, 1)
    assert "lengths differ" in refused(head + struct.pack("<I", zlib.crc32(head + b"\xc0")) + b"\xc0")
