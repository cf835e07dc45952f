"""Fixtures every test may use: both event loops, Hypothesis profiles, the processor's levels, the optional real data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from sparecall import _core

if TYPE_CHECKING:
    from collections.abc import Iterator

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Every test marked `anyio` runs on both loops."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(params=["scalar", "avx2", "avx512"])
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
