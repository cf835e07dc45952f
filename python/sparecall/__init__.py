"""sparecall: the cheapest model call is the one spared.

Import the parts by name (``from sparecall import digest, tokens``; ``from sparecall.cache import BytesCache``),
or open the whole pipeline with ``sparecall.open("sparecall.toml")``.
"""

from __future__ import annotations

import warnings as _warnings
from typing import TYPE_CHECKING as _TYPE_CHECKING

from sparecall._core import build_info

if _TYPE_CHECKING:
    from sparecall.pipeline import open  # noqa: A004 - a public name of the design

__all__ = ["build_info", "open"]
__version__: str = build_info()["version"]

if build_info()["profile"] != "release":
    _warnings.warn(
        "sparecall was built without --release and is many times slower than it should be", RuntimeWarning, stacklevel=2
    )


def __getattr__(name: str) -> object:
    # Who wants only a primitive does not wait for aiohttp to load.
    if name == "open":
        from sparecall import pipeline

        return pipeline.open
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
