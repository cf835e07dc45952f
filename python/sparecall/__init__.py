"""sparecall: the cheapest model call is the one spared.

Import the parts by name (``from sparecall import digest, tokens``; ``from sparecall.cache import BytesCache``),
or open the whole pipeline with ``sparecall.open("sparecall.toml")``.
"""

from __future__ import annotations

import warnings as _warnings

from sparecall._core import build_info

__all__ = ["build_info"]
__version__: str = build_info()["version"]

if build_info()["profile"] != "release":
    _warnings.warn(
        "sparecall was built without --release and is many times slower than it should be", RuntimeWarning, stacklevel=2
    )
