"""The build says what it is, and tests can lower the processor's level."""

from __future__ import annotations

import pytest

import sparecall
from sparecall import _core, errors


def test_build_info_is_a_release_build() -> None:
    info = sparecall.build_info()
    assert info["profile"] == "release"
    assert info["version"] == sparecall.__version__
    assert info["cpu_level"] in {"scalar", "avx2", "avx512", "avx512vbmi"}


def test_cpu_level_is_in_force(cpu_level: str) -> None:
    assert sparecall.build_info()["cpu_level"] == cpu_level


def test_an_unknown_cpu_level_names_the_known_ones() -> None:
    with pytest.raises(errors.UnknownName, match="scalar, avx2, avx512, avx512vbmi"):
        _core._set_cpu_level("mmx")
