"""The compiled core. Import the faces (``sparecall.digest``, ``sparecall.tokens``, ``sparecall.cache``), not this module."""

from typing import TypedDict

# --- build ---------------------------------------------------------------------------------------

class _BuildInfo(TypedDict):
    profile: str
    version: str
    target: str
    cpu_level: str

def build_info() -> _BuildInfo:
    """How this module was built and what it found: ``profile`` (``release`` or ``debug``), ``version``, ``target``, ``cpu_level``."""

def _set_cpu_level(name: str) -> str:
    """For tests: dispatch kernels on ``scalar``, ``avx2`` or ``avx512``, or on the highest this processor has where that is lower.

    Returns the level now in force. Raises `sparecall.errors.UnknownName` for another name.
    """

# --- digest --------------------------------------------------------------------------------------

# --- tokens --------------------------------------------------------------------------------------

# --- cache ---------------------------------------------------------------------------------------

# --- metrics -------------------------------------------------------------------------------------
