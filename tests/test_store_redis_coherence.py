"""What one process changes the others hear, by messages or by Redis's tracking; and what they may have missed, they are told."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from fault_proxy import FaultProxy
from redis_servers import RedisServer
from sparecall.errors import StoreUnavailable
from sparecall.store import RedisStore
from stores import Heard, entry, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio
MODES = pytest.mark.parametrize("mode", ["pubsub", "tracking"])


def made(url: str, mode: Any = "pubsub", **options: Any) -> tuple[RedisStore, Heard]:
    heard = Heard()
    store = RedisStore(
        url,
        coherence=mode,
        **{"timeout": 2.0, "connect_timeout": 2.0, "interval": 0.5, "random": lambda: 0.05} | options,
    )
    store.listen(heard)
    return store, heard


@MODES
async def test_writes_deletes_and_bumps_are_heard_elsewhere(redis_server: RedisServer, mode: str) -> None:
    writer, own = made(redis_server.url(), mode)
    reader, heard = made(redis_server.url(), mode)
    async with writer, reader:
        await until(lambda: writer.coherent and reader.coherent)
        assert heard.all == own.all == [("lost",)]
        heard.all.clear()
        own.all.clear()
        await writer.set_many([entry("one"), entry("two"), entry("three", scope="other")])
        await until(lambda: len(heard.all) >= 2)
        assert set(heard.all) == {("dropped", "team", "one", "two"), ("dropped", "other", "three")}
        heard.all.clear()
        await reader.get_many(["one"], scope="team")
        await writer.delete_many(["one"], scope="team")
        (version,) = await writer.bump(["tag"])
        await until(lambda: ("changed", "tag", version) in heard.all)
        assert ("dropped", "team", "one") in heard.all
        await until(lambda: ("changed", "tag", version) in own.all)  # every listener, the bumper's own too
        if mode == "pubsub":
            assert own.all == [("changed", "tag", version)], "one's own writes are no news"
        assert reader.stats().lost == writer.stats().lost == 1


async def test_tracking_tells_of_strangers_writes_and_of_expiry(redis_server: RedisServer) -> None:
    store, heard = made(redis_server.url(), "tracking")
    async with store:
        await until(lambda: store.coherent)
        await store.set_many([entry("written over"), entry("short", life=0.02)])
        await store.get_many(["written over", "short"], scope="team")
        await until(lambda: ("dropped", "team", "written over") in heard.all or len(heard.all) > 1)
        await store.get_many(["written over", "short"], scope="team")
        heard.all.clear()
        await asyncio.sleep(0.03)
        for key in redis_server.admin.scan_iter("sparecall:entry:*"):  # looked at, what is over expires
            redis_server.admin.set(key, "junk")
        await until(lambda: ("dropped", "team", "written over") in heard.all)


@MODES
async def test_a_flush_is_heard_at_once(redis_server: RedisServer, mode: str) -> None:
    store, heard = made(redis_server.url(), mode, interval=60.0)
    async with store:
        await until(lambda: store.coherent)
        (before,) = await store.versions(["all"])
        heard.all.clear()
        redis_server.admin.flushall()
        await until(lambda: heard.all)
        assert heard.all[0] == ("lost",)
        assert (await store.versions(["all"]))[0] > before


async def test_lost_versions_are_noticed_by_the_next_check(redis_server: RedisServer) -> None:
    store, heard = made(redis_server.url(), interval=0.05)
    async with store:
        await until(lambda: store.coherent)
        heard.all.clear()
        redis_server.admin.delete("sparecall:versions")
        await until(lambda: heard.all)
        assert heard.all == [("lost",)]


@MODES
async def test_a_connection_that_is_lost_is_told_and_made_anew(
    redis_server: RedisServer, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store, heard = made(redis_server.url(), mode)
    async with store:
        await until(lambda: store.coherent)
        heard.all.clear()
        redis_server.admin.client_kill_filter(_type="pubsub")
        await until(lambda: heard.all)
        assert heard.all == [("lost",)]
        await until(lambda: store.coherent)
        assert heard.all == [("lost",), ("lost",)], "what was changed in between was missed"
        async with RedisStore(redis_server.url(), timeout=2.0, connect_timeout=2.0) as other:
            (version,) = await other.bump(["tag"])
        await until(lambda: ("changed", "tag", version) in heard.all)
    lines = [record.getMessage().split(": ", 1)[1] for record in caplog.records if record.name == "sparecall.store"]
    assert lines == [
        "changes made elsewhere are heard",
        "changes made elsewhere are not heard (ConnectionError)",
        "changes made elsewhere are heard",
    ]


@MODES
async def test_a_connection_that_dies_in_silence_is_noticed_within_the_bound(
    redis_server: RedisServer, mode: str
) -> None:
    async with FaultProxy(redis_server.port) as proxy:
        store, heard = made(f"redis://127.0.0.1:{proxy.port}/0", mode, interval=0.1, connect_timeout=0.1)
        assert store.staleness == 0.2
        async with store:
            await until(lambda: store.coherent)
            await asyncio.sleep(0.25)  # checks that are answered change nothing
            assert heard.all == [("lost",)]
            proxy.black_hole = True
            await until(lambda: not store.coherent)
            assert heard.all == [("lost",), ("lost",)]
            proxy.black_hole = False
            proxy.reset()
            await until(lambda: store.coherent)
            assert len(heard.all) == 3


async def test_a_restart_with_old_data_begins_new_versions(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    store, heard = made(server.url(), timeout=5.0)
    try:
        async with store:
            await until(lambda: store.coherent)
            await store.set_many([entry("key", marks=await store.versions(["tag"]))])
            server.admin.save()
            (bumped,) = await store.bump(["tag"])
            heard.all.clear()
            server.kill()
            server.start()  # with the entry, without the bump
            await until(lambda: heard.all.count(("lost",)) >= 2 and store.coherent)
            (found,) = await store.get_many(["key"], scope="team")
            versions = await store.versions(["tag"])
            assert found is not None
            assert found.marks != versions
            assert versions[0] > bumped
    finally:
        server.stop()


async def test_a_replica_is_not_used_and_a_promoted_one_begins_new_versions(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    redis_server.admin.config_set("repl-diskless-sync-delay", 0)
    replica = RedisServer(tmp_path, "--replicaof", f"127.0.0.1 {redis_server.port}")
    try:
        async with FaultProxy(redis_server.port) as proxy:
            store, heard = made(f"redis://127.0.0.1:{proxy.port}/0")
            async with store:
                await store.set_many([entry("key", marks=await store.versions(["tag"]))])
                await until(lambda: replica.admin.dbsize() == 2)
                replica.admin.execute_command("REPLICAOF", "NO", "ONE")  # from here on it is older than its primary
                replica.admin.execute_command("REPLICAOF", "127.0.0.1", "1")
                (bumped,) = await store.bump(["tag"])
                await until(lambda: store.coherent)
                proxy.target = replica.port
                proxy.reset()
                await until(lambda: not store.coherent)
                for _ in range(6):
                    with pytest.raises(StoreUnavailable):
                        await store.get_many(["key"], scope="team")
                heard.all.clear()
                replica.admin.execute_command("REPLICAOF", "NO", "ONE")
                await until(lambda: store.coherent)
                assert ("lost",) in heard.all

                async def back() -> bool:
                    try:
                        return bool(await store.get_many(["key"], scope="team"))
                    except StoreUnavailable:
                        return False

                while not await back():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                (found,) = await store.get_many(["key"], scope="team")
                versions = await store.versions(["tag"])
                assert found is not None, "the older server has the entry, and had its version"
                assert versions[0] > bumped
                assert found.marks != versions
    finally:
        replica.stop()


async def test_a_primary_that_becomes_a_replica_is_left_within_the_bound(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    server = RedisServer(tmp_path)
    store, _ = made(server.url(), interval=0.05)
    try:
        async with store:
            await until(lambda: store.coherent)
            await store.set_many([entry("key")])
            server.admin.execute_command("REPLICAOF", "127.0.0.1", str(redis_server.port))
            await until(lambda: not store.coherent)
            with pytest.raises(StoreUnavailable):
                await store.get_many(["key"], scope="team")
    finally:
        server.stop()


class Overtaken:
    """A link whose next `times` replies are held until what `change` did was heard."""

    def __init__(self, link: Any, change: Callable[[], Awaitable[None]]) -> None:
        self.link, self.change, self.times = link, change, 0

    async def call(self, *commands: Any) -> list[Any]:
        replies: list[Any] = await self.link.call(*commands)
        if self.times:
            self.times -= 1
            await self.change()
        return replies

    def __getattr__(self, name: str) -> Any:
        return getattr(self.link, name)


async def test_a_value_that_changed_while_it_was_on_its_way_is_not_given(redis_server: RedisServer) -> None:
    """The message overtakes the reply: who heard it before keeping the value would keep it for good."""
    writer, _ = made(redis_server.url())
    reader, heard = made(redis_server.url())
    async with writer, reader:
        await until(lambda: reader.coherent)
        await writer.set_many([entry("key", "old"), entry("other")])
        await until(lambda: len(heard.all) == 2)

        async def change() -> None:
            count = len(heard.all)
            await writer.set_many([entry("key", "new")])
            await until(lambda: len(heard.all) > count)

        link: Any = Overtaken(reader._link, change)
        reader._link = link
        link.times = 1
        (found,) = await reader.get_many(["key"], scope="team")
        assert found is not None
        assert found.value == "new"
        link.times = 2
        assert await reader.get_many(["key"], scope="team") == [None]
        link.times = 1
        (other,) = await reader.get_many(["other"], scope="team")
        assert other is not None, "what is written under other keys does not matter"
        assert link.times == 0


async def test_junk_on_the_channel_makes_all_copies_doubtful(redis_server: RedisServer) -> None:
    store, heard = made(redis_server.url())
    async with store:
        await until(lambda: store.coherent)
        for count, junk in enumerate((b"", b"junk", b"1 junk", b"x \x93\xa1a\xc0\x90"), 1):
            redis_server.admin.publish("sparecall:changes:0", junk)
            await until(lambda count=count: len(heard.all) == 1 + count)
        assert heard.all == [("lost",)] * 5
        assert store.stats().junk == 4
        assert store.coherent


async def test_databases_and_prefixes_are_worlds_of_their_own(redis_server: RedisServer) -> None:
    store, heard = made(redis_server.url(0))
    async with store:
        await until(lambda: store.coherent)
        for other in (
            RedisStore(redis_server.url(1), timeout=2.0, connect_timeout=2.0),
            RedisStore(redis_server.url(0), prefix="other:", timeout=2.0, connect_timeout=2.0),
        ):
            async with other:
                await other.set_many([entry("key")])
                await other.bump(["tag"])
        await store.bump(["last"])
        await until(lambda: len(heard.all) > 1)
        assert [each[0:2] for each in heard.all] == [("lost",), ("changed", "last")]
        assert await store.get_many(["key"], scope="team") == [None]


async def test_the_keys_known_by_digest_are_bounded(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparecall.store.redis._TRACKED", 10)
    store, heard = made(redis_server.url(), "tracking")
    async with store:
        await until(lambda: store.coherent)
        heard.all.clear()
        await store.get_many([f"key {n}" for n in range(15)], scope="team")
        assert heard.all == [("dropped", "team", *[f"key {n}" for n in range(5)])], (
            "forgotten only once nobody keeps a copy"
        )
