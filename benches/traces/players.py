"""Who plays: sparecall's policies, the oracles, and what other libraries are installed."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from sparecall.cache import Cache

from .oracles import GDSF, LRU, S3FIFO, Sieve
from .wtinylfu import WTinyLFU

if TYPE_CHECKING:
    from collections.abc import Callable

    from .trace import Trace

    # Whether an access was a hit; the key is in the cache after it.
    Access = Callable[[int, int, float], bool]

ORACLES: dict[str, Any] = {"lru": LRU, "sieve": Sieve, "s3fifo": S3FIFO, "w-tinylfu": WTinyLFU}
OURS = ("adaptive", "cost")
RIVALS = tuple(
    name for name, module in (("moka-py", "moka_py"), ("theine", "theine")) if importlib.util.find_spec(module)
)
COLUMNS = (*ORACLES, "gdsf", *OURS, *RIVALS)


def ours(policy: str, size: int) -> Access:
    cache: Any = Cache(size, policy=policy)
    get, store = cache.get, cache.set

    def access(key: int, weight: int, cost: float) -> bool:
        if get(key) is not None:
            return True
        if weight <= size:
            store(key, True, weight=weight, cost=cost)
        return False

    return access


def moka(size: int) -> Access:
    import moka_py

    cache = moka_py.Moka(size, weigher=lambda _, weight: weight)
    get, store = cache.get, cache.set

    def access(key: int, weight: int, cost: float) -> bool:
        if get(key) is not None:
            return True
        store(key, weight)
        return False

    return access


def theine(size: int) -> Access:
    from theine import Cache as Theine

    cache = Theine(size, nolock=True)
    get, store = cache.get, cache.set

    def access(key: int, weight: int, cost: float) -> bool:
        if get(key)[1]:
            return True
        store(key, True)
        return False

    return access


def player(name: str, trace: Trace, size: int) -> Access | None:
    """Make an empty cache. None: this one cannot play this trace."""
    if name in OURS:
        return ours(name, size)
    if name == "moka-py":
        return moka(size)
    if name == "theine":
        return theine(size) if trace.second != "weight" else None
    oracle = GDSF if name == "gdsf" else ORACLES[name]
    access: Access = oracle(size, trace.mean_weight).access
    return access


def play(name: str, trace: Trace, size: int) -> tuple[float, float] | None:
    """Percent of the accesses that hit, and percent of the costs that they saved."""
    access = player(name, trace, size)
    if access is None:
        return None
    hits, saved = 0, 0.0
    for key, weight, cost in zip(trace.keys, trace.weights, trace.costs, strict=True):
        if access(key, weight, cost):
            hits += 1
            saved += cost
    return 100 * hits / len(trace.keys), 100 * saved / sum(trace.costs)
