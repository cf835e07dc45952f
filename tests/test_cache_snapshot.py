"""Both caches: files that keep order, lives, weights, costs and tags; damage, other threads, full and forbidden places."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from caches import BIG, CLASSES, FOREVER, POLICIES, Clock, balance, fill
from sparecall import errors
from sparecall.cache import BytesCache, Cache

if TYPE_CHECKING:
    from pathlib import Path

both = pytest.mark.parametrize("kind", CLASSES)
every_policy = pytest.mark.parametrize("policy", POLICIES)


def filled(kind: Any, clock: Clock, **options: Any) -> Any:
    cache = kind(3 if kind is Cache else 400, clock=clock, **{"policy": "lru", **options})
    cache.set("team/a", b"1" * 10, cost=0.5, tags=["tag", "Ω"])
    cache.set(bytes(range(16)), b"2" * 20, ttl=50)
    cache.set("é", b"", ttl=FOREVER, tags=["tag"])
    cache.get("team/a")
    return cache


@both
def test_a_snapshot_keeps_values_order_and_remaining_life(kind: Any, tmp_path: Path) -> None:
    clock = Clock()
    filled(kind, clock).save(tmp_path / "snapshot")
    clock.now += 20
    loaded = kind(3 if kind is Cache else 400, policy="lru", clock=clock)
    assert loaded.load(tmp_path / "snapshot") == 3
    assert loaded.get_many(["team/a", bytes(range(16)), "é"]) == [b"1" * 10, b"2" * 20, b""]
    clock.now += 30
    assert bytes(range(16)) not in loaded

    again = kind(3 if kind is Cache else 400, policy="lru", clock=clock)
    assert again.load(tmp_path / "snapshot") == 2
    while "é" in again:
        again.set(f"new {len(again)}", b"")
    assert "team/a" in again, "the least recently used went first"


@both
@every_policy
def test_a_snapshot_keeps_weights_costs_tags_and_paths(kind: Any, policy: str, tmp_path: Path) -> None:
    clock = Clock()
    cache = kind(BIG, policy=policy, clock=clock)
    cache.set("team/a", b"1", cost=0.5, tags=["tag", "Ω"])
    cache.set("team/b", b"2", tags=["tag"], **({"weight": 7} if kind is Cache else {}))
    cache.set("other", b"3", tags=["Ω"])
    cache.set("gone", b"4", tags=["gone"])
    cache.invalidate_tag("gone")
    cache.set("kept", b"5", tags=["gone"])
    cache.set("dead", b"6", ttl=1)
    clock.now += 2
    cache.save(tmp_path / "snapshot")
    loaded = kind(BIG, policy=policy, clock=clock)
    assert loaded.load(tmp_path / "snapshot") == 4
    cache.sweep()
    assert loaded.stats().weight == cache.stats().weight
    assert (loaded.stats().spent, loaded.stats().saved) == (0.0, 0.0)
    loaded.get("team/a")
    assert loaded.stats().saved == 0.5
    assert loaded.invalidate_tag("Ω") == 2
    loaded.invalidate_prefix("team/b")
    assert [key for key in ("team/a", "team/b", "other", "gone", "kept", "dead") if key in loaded] == ["kept"]
    assert loaded.invalidate_tag("gone") == 1


@both
@every_policy
def test_what_was_loaded_and_saved_again_makes_the_same_file(kind: Any, policy: str, tmp_path: Path) -> None:
    clock = Clock()
    filled(kind, clock, policy=policy).save(tmp_path / "first")
    loaded = kind(3 if kind is Cache else 400, policy=policy, clock=clock)
    loaded.load(tmp_path / "first")
    loaded.save(tmp_path / "second")
    first, second = ((tmp_path / name).read_bytes() for name in ("first", "second"))
    assert len(first) == len(second)
    assert policy != "lru" or first == second, "the order too"


@both
@every_policy
def test_a_smaller_cache_loads_what_fits(kind: Any, policy: str, tmp_path: Path) -> None:
    cache = kind(BIG, policy=policy)
    fill(cache, 1000)
    for number in range(900, 1000):
        cache.get(f"{number:04}")
    cache.save(tmp_path / "snapshot")
    loaded = kind(50 if kind is Cache else 50 * 72, policy=policy)
    loaded.load(tmp_path / "snapshot")
    balance(loaded.stats())
    assert len(loaded) == 50
    if policy == "lru":
        assert all(f"{number:04}" in loaded for number in range(950, 1000))


@both
def test_loading_adds_to_what_is_there_and_a_jitter_shortens_no_life_twice(kind: Any, tmp_path: Path) -> None:
    clock = Clock()
    cache = kind(BIG, ttl=100, clock=clock)
    fill(cache, 50)
    cache.save(tmp_path / "snapshot")
    loaded = kind(BIG, ttl=1, jitter=1.0, clock=clock)
    loaded.set("mine", b"kept", ttl=FOREVER)
    loaded.set("0001", b"older")
    assert loaded.load(tmp_path / "snapshot") == 50
    assert (len(loaded), loaded["0001"], loaded["mine"]) == (51, b"0001", b"kept")
    clock.now += 99.9
    assert loaded.get_many(f"{number:04}" for number in range(50)) == [f"{number:04}".encode() for number in range(50)]


@both
def test_every_snapshot_begins_with_the_magic_bytes(kind: Any, tmp_path: Path) -> None:
    kind(0).save(tmp_path / "snapshot")
    assert (tmp_path / "snapshot").read_bytes().startswith(BytesCache.SNAPSHOT_MAGIC)
    assert len(BytesCache.SNAPSHOT_MAGIC) == 8
    assert kind(0).load(tmp_path / "snapshot") == 0


@both
def test_a_clock_set_back_between_save_and_load_takes_no_life(kind: Any, tmp_path: Path) -> None:
    clock = Clock()
    filled(kind, clock).save(tmp_path / "snapshot")
    clock.now -= 60
    loaded = kind(400, clock=clock)
    loaded.load(tmp_path / "snapshot")
    clock.now += 49
    assert bytes(range(16)) in loaded
    clock.now += 1
    assert bytes(range(16)) not in loaded


@both
def test_every_damage_to_a_snapshot_is_seen_and_changes_nothing(kind: Any, tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "snapshot"
    filled(kind, clock).save(path)
    whole = path.read_bytes()
    cache = kind(400, clock=clock)
    cache.set("mine", b"kept")
    before = repr(cache.stats())
    damaged = [whole[:length] for length in range(len(whole))]
    damaged += [whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :] for at in range(len(whole))]
    damaged += [whole[:at] + whole[at + 8 : at + 16] + whole[at : at + 8] + whole[at + 16 :] for at in range(20, 60)]
    damaged += [whole + b"x", b"", b"\x80\x04N.", whole + whole]
    for content in damaged:
        path.write_bytes(content)
        if content == whole:
            continue
        with pytest.raises(errors.SnapshotError, match="the cache is unchanged"):
            cache.load(path)
    assert repr(cache.stats()) == before
    path.write_bytes(whole)
    assert cache.load(path) == 3


@both
def test_saving_replaces_the_file_whole_and_leaves_nothing_else(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    path.write_bytes(b"older")
    filled(kind, Clock()).save(str(path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["snapshot"]
    assert path.stat().st_mode & 0o077 == 0, "answers are for the owner's eyes"


@both
def test_file_trouble_is_an_os_error_that_names_the_file(kind: Any, tmp_path: Path) -> None:
    cache = kind(BIG)
    cache.set("key", b"value")
    with pytest.raises(FileNotFoundError, match="absent"):
        cache.load(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="folder"):
        cache.save(tmp_path / "folder" / "snapshot")
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError, match="taken"):
        cache.save(tmp_path / "taken")
    with pytest.raises(IsADirectoryError, match="taken"):
        cache.load(tmp_path / "taken")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="below"):
        cache.save(tmp_path / "file" / "below")
    with pytest.raises((OSError, ValueError), match=r"NUL|null"):
        cache.save(f"{tmp_path}/a\0b")
    for path in (5, None):
        with pytest.raises(TypeError):
            cache.save(path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "taken"]


FULL = """
import resource, signal, sys
from sparecall.cache import BytesCache, Cache
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
for cache in (BytesCache(1 << 30), Cache(1 << 30)):
    cache.set_many((str(number), bytes(1 << 16)) for number in range(64))
    try:
        cache.save(sys.argv[1])
    except OSError as error:
        assert "too large" in str(error), error
    else:
        sys.exit("it was saved")
    assert len(cache) == 64
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    path.write_bytes(b"older")
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [entry.name for entry in tmp_path.iterdir()] == ["snapshot"]
    assert path.read_bytes() == b"older"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_forbidden_place_is_a_permission_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        BytesCache(BIG).save(tmp_path / "snapshot")
    assert list(tmp_path.iterdir()) == []


@both
def test_a_cache_that_changes_while_it_is_saved_makes_a_whole_file(kind: Any, tmp_path: Path) -> None:
    cache = kind(BIG)
    done = threading.Event()

    def change(seed: int) -> None:
        step = 0
        while not done.is_set():
            step += 1
            keys = [f"{(step * 7 + seed + number) % 2000:04}" for number in range(50)]
            cache.set_many((key, key.encode()) for key in keys)
            if step % 5 == 0:
                cache.delete_many(keys)
            if step % 50 == 0:
                cache.clear()

    threads = [threading.Thread(target=change, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(15):
            fill(cache, 2000)
            cache.save(tmp_path / "snapshot")
            loaded = kind(BIG)
            loaded.load(tmp_path / "snapshot")
            keys = [f"{number:04}" for number in range(2000)]
            assert all(value in (None, key.encode()) for key, value in zip(keys, loaded.get_many(keys), strict=True))
    finally:
        done.set()
        sys.setswitchinterval(interval)
        for thread in threads:
            thread.join()
    balance(cache.stats())
