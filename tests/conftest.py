"""Fixtures every test may use: both event loops, Hypothesis profiles, the processor's levels, the optional real data."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tiktoken
import tiktoken.load
from hypothesis import HealthCheck, settings

from redis_servers import SERVER, RedisServer
from sparecall import _core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("soak", deadline=None, max_examples=20_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Every test marked `anyio` runs on both loops."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(params=["scalar", "avx2", "avx512", "avx512vbmi"])
def cpu_level(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test once per instruction-set level that this processor has."""
    best = _core.build_info()["cpu_level"]
    if _core._set_cpu_level(request.param) != request.param:
        pytest.skip(f"this processor has no {request.param}")
    yield request.param
    _core._set_cpu_level(best)


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data, where this checkout has one beside it."""
    if not SHARED.is_dir():
        pytest.skip("the shared data folder is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def tiktoken_encoding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], tiktoken.Encoding]]:
    """tiktoken's encoding of a name, offline: it reads the file as our vocabulary gives it, and checks that file's SHA-256."""

    def refuse(path: str) -> bytes:
        raise AssertionError(f"tiktoken does not accept our vocabulary as {path}")

    cache = tmp_path_factory.mktemp("tiktoken")
    for name in _core.tokens_encodings():
        lines = [b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in _core._tokens_ranks(name).items()]
        url = f"https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
        (cache / hashlib.sha1(url.encode()).hexdigest()).write_bytes(b"".join(lines))  # noqa: S324
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
        patch.setattr(tiktoken.load, "read_file", refuse)
        yield tiktoken.get_encoding


@pytest.fixture(scope="session")
def redis_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A redis-server for the whole session; tests use `redis_server`, which empties it before each."""
    if SERVER is None:
        pytest.skip("redis-server is not installed")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def redis_server(redis_session: RedisServer) -> RedisServer:
    """The session's redis-server, empty, with nobody connected."""
    redis_session.admin.flushall()
    return redis_session
