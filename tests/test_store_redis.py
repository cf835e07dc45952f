"""RedisStore against a real redis-server: entries, versions, leases, streams, junk, and what it never tells."""

from __future__ import annotations

import asyncio
import logging
import math
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fault_proxy import FaultProxy
from redis_servers import RedisServer, free_port
from sparecall.errors import InvalidArgument, StoreUnavailable
from sparecall.store import RedisStore
from stores import Heard, entry, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio
OPENSSL = shutil.which("openssl")
PROMPT = "my secret question about the merger " * 20


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    async with RedisStore(redis_server.url(), timeout=2.0, connect_timeout=2.0) as store:
        yield store


async def test_batches_are_one_round_trip(redis_server: RedisServer) -> None:
    async with (
        FaultProxy(redis_server.port) as proxy,
        RedisStore(f"redis://127.0.0.1:{proxy.port}/0", timeout=2.0, connect_timeout=2.0) as store,
    ):
        await store.versions(["all"])
        many = [entry(str(n)) for n in range(64)]
        names = [each.key for each in many]
        for call in (
            lambda: store.set_many(many),
            lambda: store.get_many(names, scope="team"),
            lambda: store.versions(names),
            lambda: store.bump(names),
            lambda: store.delete_many(names, scope="team"),
        ):
            before = proxy.sends
            await call()
            assert proxy.sends == before + 1
        assert proxy.connections == 1


async def test_junk_under_a_key_is_a_counted_miss_and_is_written_over(
    redis_server: RedisServer, store: RedisStore
) -> None:
    admin = redis_server.admin
    await store.set_many([entry("good"), entry("other", "another key's value")])
    both = {key: admin.get(key) for key in admin.scan_iter("sparecall:entry:*")}
    await store.delete_many(["other"], scope="team")
    (good,) = admin.scan_iter("sparecall:entry:*")
    (other,) = both.keys() - {good}
    whole = both[good]
    flipped = bytes([whole[0] ^ 1]) + whole[1:]
    junk: list[bytes] = [
        b"",
        b"junk",
        whole[:-1],
        whole + b"\0",
        flipped,
        whole[:40] + bytes([whole[40] ^ 4]) + whole[41:],
        both[other],
    ]
    for count, data in enumerate(junk, 1):
        admin.set(good, data)
        assert await store.get_many(["good"], scope="team") == [None]
        assert store.stats().junk == count
    admin.delete(good)
    admin.lpush(good, "of another type")
    assert await store.get_many(["good"], scope="team") == [None]
    await store.set_many([entry("good", "again")])
    (found,) = await store.get_many(["good"], scope="team")
    assert found is not None
    assert found.value == "again"


async def test_keys_and_errors_and_logs_give_nothing_away(
    tmp_path: Path, redis_server: RedisServer, store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await store.set_many([entry(PROMPT, PROMPT, scope=PROMPT)])
    await store.bump([PROMPT])
    await store.append(PROMPT, PROMPT.encode(), keep=10)
    await store.acquire(PROMPT, seconds=10)
    keys = list(redis_server.admin.scan_iter("*"))
    assert len(keys) == 4
    assert all(len(key) < 64 and b"secret" not in key for key in keys)
    assert all(b"secret" not in field for field in redis_server.admin.hgetall("sparecall:versions"))
    guarded = RedisServer(tmp_path, "--requirepass", "right-password")
    try:
        for url in (
            f"redis://:wrong-password@127.0.0.1:{guarded.port}",
            f"redis://some-user:wrong-password@127.0.0.1:{guarded.port}",
        ):
            async with RedisStore(url) as refused:
                with pytest.raises(
                    StoreUnavailable, match=r"user or the password.*WRONGPASS|AuthenticationError"
                ) as caught:
                    await refused.get_many([PROMPT], scope="team")
                assert refused.state == "open"
                for text in (repr(refused), repr(caught.value), str(caught.value), caplog.text):
                    assert "wrong-password" not in text
                    assert "secret" not in text
        async with RedisStore(
            f"redis://:right-password@127.0.0.1:{guarded.port}", timeout=2.0, connect_timeout=2.0
        ) as welcome:
            assert await welcome.get_many(["key"], scope="team") == [None]
            assert "right" not in repr(welcome)
    finally:
        guarded.stop()


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://user:word@host", {}),
        ("host:6379", {}),
        ("redis://user:word@host:many", {}),
        ("redis://user:word@host?odd=1", {}),
        ("redis://user:word@host?socket_timeout=3", {}),
        ("redis://user:word@host", {"timeout": 0.0}),
        ("redis://user:word@host", {"timeout": math.nan}),
        ("redis://user:word@host", {"connections": 0}),
        ("redis://user:word@host", {"coherence": "magic"}),
        ("redis://user:word@host", {"interval": math.inf}),
    ],
)
async def test_what_cannot_be_meant_is_refused_and_not_quoted(url: str, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        RedisStore(url, **options)
    assert "word" not in str(caught.value).replace("password", "")


async def test_after_a_flush_or_an_eviction_all_versions_are_new(store: RedisStore, redis_server: RedisServer) -> None:
    marked = set(await store.versions(["a", "b"])) | set(await store.bump(["a"]))
    for forget in (redis_server.admin.flushall, lambda: redis_server.admin.delete("sparecall:versions")):
        forget()
        new = await store.versions(["a", "b"])
        assert min(new) > max(marked)
        marked |= {*new}
        forget()
        (bumped,) = await store.bump(["a"])
        assert bumped > max(marked)
        after = await store.versions(["a", "b"])
        assert after[0] == bumped
        assert max(marked) < after[1] < bumped
        marked |= {*after}


async def test_a_server_whose_clock_went_back_still_gives_greater_versions(
    store: RedisStore, redis_server: RedisServer
) -> None:
    """The clock cannot be moved here: versions are, into the future."""
    await store.versions(["a"])
    future = int(time.time() * 1e6) + 10**12
    redis_server.admin.hset("sparecall:versions", mapping={"last": future})
    (bumped,) = await store.bump(["a"])
    assert bumped == future + 1
    redis_server.admin.flushall()
    assert await store.versions(["a", "b"]) == (future + 2, future + 2)


async def test_entries_leave_the_server_by_themselves_and_strangers_records_are_left_out(
    store: RedisStore, redis_server: RedisServer
) -> None:
    await store.set_many([entry("short", life=1.0), entry("ever", life=math.inf)])
    lives = [redis_server.admin.pttl(key) for key in redis_server.admin.scan_iter("sparecall:entry:*")]
    assert len(lives) == 2
    assert all(0 < life <= 30 * 86_400_000 for life in lives)
    position = await store.append("news", b"ours", keep=10)
    (name,) = redis_server.admin.scan_iter("sparecall:stream:*")
    redis_server.admin.xadd(name, {"foreign": "field"})
    assert await store.read("news", after="", limit=100) == [(position, b"ours")]


async def test_a_user_with_the_documented_permissions_can_do_everything(redis_server: RedisServer) -> None:
    page = (Path(__file__).parent.parent / "docs" / "store.md").read_text("utf-8")
    listed = (
        page[page.index("A user with an ACL needs `") : page.index("SUBSCRIBE MULTI EXEC PING HELLO`")]
        .split("`")[1]
        .split()
    )
    rules = [
        f"+{command.lower()}" for command in [*listed, "subscribe", "multi", "exec", "ping", "hello", "client|tracking"]
    ]
    redis_server.admin.execute_command(
        "ACL", "SETUSER", "app", "on", ">pass", "~sparecall:*", "&sparecall:*", "-@all", *rules
    )
    heard = Heard()
    try:
        async with RedisStore(
            redis_server.url().replace("//", "//app:pass@"), timeout=5.0, connect_timeout=5.0
        ) as store:
            store.listen(heard)
            await until(lambda: store.coherent)
            await store.set_many([entry("key", marks=await store.versions(["tag"]))])
            assert await store.get_many(["key"], scope="team") != [None]
            await store.delete_many(["key"], scope="team")
            await store.bump(["tag"])
            lease = await store.acquire("work", seconds=5)
            assert lease is not None
            await store.release(lease)
            assert await store.read("news", after="", limit=1) == []
            assert len(await store.append("news", b"record", keep=5)) > 0
            assert store.stats().unavailable == store.stats().refused == 0
    finally:
        redis_server.admin.execute_command("ACL", "DELUSER", "app")


async def test_without_redis_py_the_error_says_what_to_install() -> None:
    code = """
import sys
sys.modules["redis"] = None
from sparecall.store import SqliteStore
try:
    from sparecall.store import RedisStore
except ImportError as error:
    print(error)
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert "sparecall[redis]" in output.decode()


async def works(url: str) -> None:
    heard = Heard()
    async with RedisStore(url, timeout=5.0, connect_timeout=5.0) as store:
        store.listen(heard)
        await until(lambda: store.coherent)
        await store.set_many([entry("key")])
        assert await store.get_many(["key"], scope="team") != [None]
        (version,) = await store.bump(["tag"])
        await until(lambda: ("changed", "tag", version) in heard.all)
        assert "key.pem" not in repr(store)


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "--unixsocket", str(tmp_path / "s"))
    try:
        await works(f"unix://{tmp_path / 's'}?db=1")
    finally:
        server.stop()


def certified(folder: Path) -> tuple[Path, Path]:
    """A key and a certificate of localhost that nobody vouches for."""
    assert OPENSSL is not None
    key, certificate = folder / "key.pem", folder / "cert.pem"
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    where = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([OPENSSL, *made, *name, *where], check=True, capture_output=True)
    return key, certificate


@pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")
async def test_over_tls(tmp_path: Path) -> None:
    key, certificate = certified(tmp_path)
    port = free_port()
    files = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate)]
    server = RedisServer(tmp_path, "--tls-port", str(port), "--tls-auth-clients", "no", *files)
    try:
        await works(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}")
        async with RedisStore(f"rediss://127.0.0.1:{port}/0", connect_timeout=5.0) as distrustful:
            with pytest.raises(StoreUnavailable):
                await distrustful.get_many(["key"], scope="team")
    finally:
        server.stop()
