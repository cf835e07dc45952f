"""`BytesCache`: values held as LZ4 blocks."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest

from caches import BIG, POLICIES, balance
from sparecall.cache import BytesCache

if TYPE_CHECKING:
    from pathlib import Path

TEXT = b"an answer that says the same again and again. " * 100
NOISE = random.Random(1).randbytes(5000)


@pytest.mark.parametrize("policy", POLICIES)
def test_long_values_take_less_room_and_come_back_equal(policy: str) -> None:
    cache = BytesCache(BIG, policy=policy, compress_above=1000)
    assert cache.set("key", TEXT)
    assert (cache["key"], cache.get("key"), cache.get_many(["key"])) == (TEXT, TEXT, [TEXT])
    assert cache["key"] is not cache["key"]
    assert 67 < cache.stats().weight < 67 + len(TEXT) / 8


def test_short_values_and_those_that_do_not_shrink_stay_as_they_are() -> None:
    cache = BytesCache(BIG, compress_above=len(TEXT))
    for value in (TEXT, NOISE, b""):
        cache.set("key", value)
        assert cache["key"] is value
        assert cache.stats().weight == 67 + len(value)
    cache.set("key", TEXT + b"x")
    assert cache.stats().weight < len(TEXT) / 8


@pytest.mark.parametrize("above", [0, 1, 2**63])
def test_every_length_comes_back_equal(above: int) -> None:
    cache = BytesCache(1 << 26, compress_above=above)
    for length in [*range(40), 255, 256, 257, 65535, 65536, 65537, 1 << 18, (1 << 18) + 1, 5_000_000]:
        for value in (bytes(length), (b"ab" * length)[:length], NOISE[:length]):
            assert cache.set("key", value)
            assert cache["key"] == value
            balance(cache.stats())


def test_the_bound_is_of_what_is_held() -> None:
    cache = BytesCache(4000, compress_above=100, policy="lru")
    for number in range(20):
        assert cache.set(f"{number:02}", TEXT)
    assert len(cache) * len(TEXT) > 4 * 4000
    assert cache.set("noise", NOISE) is False
    balance(cache.stats())


def test_values_stay_compressed_in_a_file_whatever_cache_loads_them(tmp_path: Path) -> None:
    cache = BytesCache(BIG, compress_above=100)
    cache.set_many({"text": TEXT, "noise": NOISE, "empty": b""}, tags=["tag"])
    cache.save(tmp_path / "snapshot")
    assert (tmp_path / "snapshot").stat().st_size < len(NOISE) + len(TEXT) / 4
    for above in (None, 100):
        loaded = BytesCache(BIG, compress_above=above)
        assert loaded.load(tmp_path / "snapshot") == 3
        assert loaded.get_many(["text", "noise", "empty"]) == [TEXT, NOISE, b""]
        assert loaded.stats().weight == cache.stats().weight
        loaded.save(tmp_path / "again")
        assert (tmp_path / "again").stat().st_size == (tmp_path / "snapshot").stat().st_size


def test_threads_read_and_write_large_values_while_others_decompress() -> None:
    cache = BytesCache(1 << 22, compress_above=1000)
    values = [bytes([number]) * 600_000 for number in range(4)]
    wrong: list[object] = []

    def hammer(seed: int) -> None:
        for step in range(60):
            number = (seed + step) % 4
            cache.set(f"{number}", values[number])
            found = cache.get(f"{(number + 1) % 4}")
            if found not in (None, values[(number + 1) % 4]):
                wrong.append((number, len(found or b"")))

    threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    balance(cache.stats())
