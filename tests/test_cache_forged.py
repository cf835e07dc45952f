"""Both caches: files whose checksum is right and whose contents no cache would have written."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest

from blake3_reference import blake3
from caches import BIG, FOREVER, Clock
from sparecall import errors
from sparecall.cache import BytesCache, Cache

if TYPE_CHECKING:
    from pathlib import Path

NEVER = 2**64 - 1
BYTES, OBJECTS = 0, 1
DIGEST, NARROW, WIDE, WIDEST = 0, 1, 2, 4
PLAIN, LZ4 = 0, 1
INT, TEXT = b"\x03", b"\x0a"
FIVE = INT + struct.pack("<q", 5)


def record(
    key: bytes = b"key", value: bytes = b"value", *, kind: int = NARROW, value_kind: int = PLAIN, memory: int = 0,
    weight: int = 1, cost: float = 0.0, seconds: float = 0.0, remaining: int = NEVER, tags: tuple[tuple[int, bytes], ...] = (),
    tag_count: int | None = None,
) -> bytes:  # fmt: skip
    """A record as the notes on the format have it."""
    count = len(tags) if tag_count is None else tag_count
    head = struct.pack(
        "<BBBBIQQQddQ", 1, kind, value_kind, memory, count, len(key), len(value), weight, cost, seconds, remaining
    )
    return head + key + value + b"".join(struct.pack("<BQ", tag, len(name)) + name for tag, name in tags)


def snapshot(form: int, *records: bytes, version: int = 2, count: int | None = None, end: bytes = b"\0") -> bytes:
    head = BytesCache.SNAPSHOT_MAGIC + struct.pack("<IBQ", version, form, int(100e9))
    tail = end + struct.pack("<Q", len(records) if count is None else count)
    body = head + b"".join(records) + tail
    return body + blake3(body)


def length_of(items: int) -> bytes:
    return struct.pack("<Q", items)


def text(content: str) -> bytes:
    return TEXT + bytes([NARROW]) + length_of(len(content)) + content.encode("latin-1")


def test_a_file_written_by_the_notes_on_the_format_is_the_one_a_cache_writes(tmp_path: Path) -> None:
    clock = Clock()
    cache = BytesCache(BIG, policy="lru", clock=clock)
    cache.set("key", b"value", ttl=2, cost=(0.5, 1.5), tags=["tag", "Ω"])
    cache.set(bytes(16), b"")
    cache.save(tmp_path / "saved")
    first = record(
        weight=64 + 8 + 2 * 32 + 5, cost=0.5, seconds=1.5, remaining=2 * 10**9, tags=((1, b"tag"), (2, b"\xa9\x03"))
    )
    second = record(bytes(16), b"", kind=DIGEST, weight=80)
    assert (tmp_path / "saved").read_bytes() == snapshot(BYTES, first, second)

    objects: Cache[Any, Any] = Cache(BIG, policy="lru", clock=clock)
    objects.set("key", 5, weight=7)
    objects.save(tmp_path / "saved")
    assert (tmp_path / "saved").read_bytes() == snapshot(OBJECTS, record(text("key"), FIVE, kind=DIGEST, weight=7))


GOOD = record(b"good", b"1")
FORGED_BYTES = {
    "a digest of another length": record(b"key", kind=DIGEST),
    "half a wide character": record(b"abc", kind=WIDE),
    "a third of the widest": record(b"abcdef", kind=WIDEST),
    "a character above all": record(b"\xff\xff\xff\x7f", kind=WIDEST),
    "an unknown kind of key": record(kind=3),
    "an unknown kind of value": record(value_kind=2),
    "a block without its length": record(value=b"1234567", value_kind=LZ4),
    "a block of nonsense": record(value=length_of(20) + b"\xff\xff\xff", value_kind=LZ4),
    "a block that is shorter than it says": record(value=length_of(20) + b"\x10a", value_kind=LZ4),
    "a block that is longer than it says": record(value=length_of(0) + b"\x10a", value_kind=LZ4),
    "a block of more than memory": record(value=length_of(2**62) + b"\x10a", value_kind=LZ4),
    "a negative cost": record(cost=-1.0),
    "a cost that is no number": record(cost=float("nan")),
    "an endless cost": record(cost=FOREVER),
    "a wait of negative length": record(seconds=-1.0),
    "a wait of no length": record(seconds=float("nan")),
    "a tag that is a digest": record(tags=((DIGEST, bytes(16)),)),
    "half a tag": record(tags=((WIDE, b"abc"),)),
    "more tags than there are": record(tag_count=2**32 - 1),
    "fewer tags than there are": record(tags=((NARROW, b"tag"),), tag_count=0),
    "a key longer than the file": GOOD.replace(length_of(4), length_of(2**63), 1),
    "a record that ends early": GOOD[:-1],
}
FORGED_OBJECTS = {
    "nothing as a key": record(b"", FIVE),
    "nothing as a value": record(FIVE, b""),
    "an unknown class": record(FIVE, b"\x63"),
    "half a number": record(FIVE, FIVE[:-1]),
    "two values": record(FIVE, FIVE + FIVE),
    "a text of no kind": record(FIVE, TEXT + b"\x00" + length_of(0)),
    "a text longer than the file": record(FIVE, TEXT + b"\x01" + length_of(2**63)),
    "a character above all": record(FIVE, TEXT + b"\x04" + length_of(4) + b"\xff\xff\xff\x7f"),
    "a list longer than the file": record(FIVE, b"\x08" + length_of(2**62)),
    "a dict of half a pair": record(FIVE, b"\x09" + length_of(1) + FIVE),
    "a dict under a list": record(FIVE, b"\x09" + length_of(1) + b"\x08" + length_of(0) + FIVE),
    "a list as a key": record(b"\x08" + length_of(0), FIVE),
    "a tuple of lists as a key": record(b"\x07" + length_of(1) + b"\x08" + length_of(0), FIVE),
    "an unknown kind of value": record(FIVE, FIVE, value_kind=2),
    "a negative cost": record(FIVE, FIVE, cost=-1.0),
}


def refuses(path: Path, content: bytes, cache: Any) -> None:
    cache.set("mine", b"kept")
    before = repr(cache.stats())
    path.write_bytes(content)
    with pytest.raises(errors.SnapshotError, match="the cache is unchanged"):
        cache.load(path)
    assert repr(cache.stats()) == before


@pytest.mark.parametrize("forged", FORGED_BYTES.values(), ids=FORGED_BYTES.keys())
def test_a_forged_record_of_bytes_is_refused_and_nothing_before_it_stored(forged: bytes, tmp_path: Path) -> None:
    refuses(tmp_path / "forged", snapshot(BYTES, GOOD, forged), BytesCache(BIG))


@pytest.mark.parametrize("forged", FORGED_OBJECTS.values(), ids=FORGED_OBJECTS.keys())
def test_a_forged_record_of_objects_is_refused_and_nothing_before_it_stored(forged: bytes, tmp_path: Path) -> None:
    refuses(tmp_path / "forged", snapshot(OBJECTS, record(text("good"), FIVE), forged), Cache[Any, Any](BIG))


@pytest.mark.parametrize("form", [BYTES, OBJECTS])
@pytest.mark.parametrize(
    "content",
    [
        {"version": 1}, {"version": 3}, {"count": 0}, {"count": 2}, {"count": NEVER}, {"end": b""}, {"end": b"\0\0"},
        {"end": b"\2"}, {"end": b"\1"},
    ],
    ids=repr,
)  # fmt: skip
def test_a_file_of_another_version_or_count_is_refused(form: int, content: Any, tmp_path: Path) -> None:
    cache: Any = BytesCache(BIG) if form == BYTES else Cache[Any, Any](BIG)
    good = GOOD if form == BYTES else record(text("good"), FIVE)
    (tmp_path / "good").write_bytes(snapshot(form, good))
    assert cache.load(tmp_path / "good") == 1
    refuses(tmp_path / "forged", snapshot(form, good, **content), cache)


def test_a_file_of_the_other_kind_of_cache_is_refused_by_its_name(tmp_path: Path) -> None:
    for form, cache in ((OBJECTS, BytesCache(BIG)), (BYTES, Cache[Any, Any](BIG)), (2, BytesCache(BIG))):
        (tmp_path / "other").write_bytes(snapshot(form))
        with pytest.raises(errors.SnapshotError, match=r"the other kind of cache \(Cache or BytesCache\)"):
            cache.load(tmp_path / "other")


def test_data_nested_too_deep_is_refused(tmp_path: Path) -> None:
    cache: Cache[Any, Any] = Cache(BIG)
    nested = [snapshot(OBJECTS, record(b"\0", (b"\x08" + length_of(1)) * depth + b"\0")) for depth in (99, 100)]
    (tmp_path / "deep").write_bytes(nested[0])
    assert cache.load(tmp_path / "deep") == 1
    refuses(tmp_path / "forged", nested[1], cache)


def test_any_memory_and_weight_are_taken_as_they_are_and_the_bound_holds(tmp_path: Path) -> None:
    records = [record(text(f"{n}"), FIVE, memory=n, weight=NEVER if n == 9 else n * 20) for n in range(10)]
    for policy in ("lru", "adaptive", "cost"):
        cache: Cache[Any, Any] = Cache(300, policy=policy)
        (tmp_path / "odd").write_bytes(
            snapshot(OBJECTS, *records[5:]) if policy == "lru" else snapshot(OBJECTS, *records)
        )
        assert cache.load(tmp_path / "odd") <= 9
        assert cache.stats().refused == 1
        assert 0 < cache.stats().weight <= 300


def test_a_text_in_a_wider_form_than_it_needs_is_the_same_key(tmp_path: Path) -> None:
    cache = BytesCache(BIG)
    wide = record("key".encode("utf-16-le"), b"", kind=WIDE, tags=((WIDEST, "tag".encode("utf-32-le")),))
    (tmp_path / "wide").write_bytes(snapshot(BYTES, wide))
    assert cache.load(tmp_path / "wide") == 1
    assert "key" in cache
    assert cache.invalidate_tag("tag") == 1
