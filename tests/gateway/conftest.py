"""Room for a thousand connections at once, and stores that are waited for."""

from __future__ import annotations

import functools
import resource
from typing import TYPE_CHECKING

import pytest

from sparecall.store import RedisStore, SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def many_files() -> Iterator[None]:
    """Raises the limit of open files to what this user may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 8192:
        pytest.skip(f"needs 8192 open files, the limit here is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192 if hard == resource.RLIM_INFINITY else hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(autouse=True)
def patient_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store's answer counts however long the machine halts: by default a gateway waits for 50 ms, then makes the call."""
    monkeypatch.setattr("sparecall.pipeline.shared.SqliteStore", functools.partial(SqliteStore, timeout=10.0))
    patient = functools.partial(RedisStore, timeout=10.0, connect_timeout=10.0)
    monkeypatch.setattr("sparecall.store.RedisStore", patient, raising=False)
