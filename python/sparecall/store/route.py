"""How long a value lives and what its callers are spared: the rules of a route, and a table of them by use case."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from sparecall.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The rules by which one kind of value is kept. All times are seconds. Raises `InvalidArgument` for a value outside its range."""

    ttl: float = HOUR
    """The life of a fresh value. 0: not kept; `inf`: no end."""
    max_ttl: float | None = None
    """Each refresh whose factory says "not modified" doubles the life, up to this. None: lives do not grow."""
    jitter: float = 0.0
    """The share of each life, 0 to 1, by which chance may shorten it, so that values made together do not end together."""
    stale: float = 0.0
    """For so long after its life a value may still be served, but only while its factory fails or runs late."""
    throttle: float = 30.0
    """After a failed or late refresh the stale value is served for so long before the factory is tried again."""
    soft_timeout: float | None = None
    """Where a stale value stands by, callers wait so long for the factory; it then finishes in the background."""
    hard_timeout: float | None = None
    """Callers wait at most so long for the factory, then get the stale value or `FactoryTimeout`."""
    background: bool = True
    """Whether a factory that has run into `hard_timeout` may finish in the background; else it is cancelled."""
    background_timeout: float = 600.0
    """A factory in the background is cancelled after so long."""
    eager: float | None = None
    """The share of its life, 0 to 1, after which the next read refreshes a value in the background. None: never."""
    beta: float = 0.0
    """XFetch: refresh a little before the end, earlier the longer a value took to make; 1 is the paper's, 0 never."""
    negative_ttl: float | None = None
    """The life of a None that a factory returned. None: it is not kept, and the next call asks the factory again."""
    lease: float = 0.0
    """For so long one process may make a value while the others wait for it. 0: each process makes its own."""
    cdn: bool = False
    """Whether answers of this route in a public scope may be kept by a CDN."""

    def __post_init__(self) -> None:
        for name in ("ttl", "stale", "throttle", "beta", "lease"):
            check_seconds(name, getattr(self, name))
        for name in ("soft_timeout", "hard_timeout", "negative_ttl", "max_ttl"):
            if getattr(self, name) is not None:
                check_seconds(name, getattr(self, name))
        for name in ("jitter", "eager"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InvalidArgument(f"{name} is {value}; it is a share from 0 to 1")
        if math.isinf(self.lease) or math.isinf(self.beta):
            raise InvalidArgument(f"lease is {self.lease} and beta is {self.beta}; both must end")
        if not 0 < self.background_timeout < math.inf:
            raise InvalidArgument(f"background_timeout is {self.background_timeout}; give seconds above 0, below inf")
        if self.max_ttl is not None and self.max_ttl < self.ttl:
            raise InvalidArgument(f"max_ttl is {self.max_ttl}, less than ttl, {self.ttl}; give at least that")


def check_seconds(name: str, value: float) -> float:
    """The same seconds, or `InvalidArgument` where they are negative, NaN or no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidArgument(f"{name} is a {type(value).__name__}; give seconds as a number")
    if not value >= 0:
        raise InvalidArgument(f"{name} is {value}; give seconds of at least 0")
    return float(value)


def check_scope(scope: str) -> None:
    """Raise `InvalidArgument` unless the scope is a text of 1 to 1,024 characters and at most 32 parts."""
    if not isinstance(scope, str) or not scope:
        raise InvalidArgument(
            f"scope is {'empty' if scope == '' else f'a {type(scope).__name__}'}; name whose data it is"
        )
    if len(scope) > 1024 or scope.count("/") >= 32:
        raise InvalidArgument(
            f"scope has {len(scope)} characters; at most 1,024 and 32 parts between slashes are allowed"
        )


ROUTES: Mapping[str, Route] = MappingProxyType(
    {
        "default": Route(),
        # Curated answers: few, asked often, changed by an event.
        "faq": Route(ttl=DAY, stale=DAY, jitter=0.1, eager=0.9, soft_timeout=2.0),
        # Prices, stock, weather: 5 minutes, up to 15 while the source says that nothing changed.
        "realtime": Route(ttl=5 * MINUTE, max_ttl=15 * MINUTE, stale=5 * MINUTE, jitter=0.1, throttle=10.0, beta=1.0),
        # One user's questions: seldom asked again after the session.
        "user": Route(ttl=HOUR, max_ttl=6 * HOUR, stale=HOUR, jitter=0.1),
        # Documents and what was derived from them: changed by an event, read for days.
        "knowledge": Route(ttl=7 * DAY, stale=DAY, jitter=0.1, eager=0.9, soft_timeout=2.0),
        # Analyses of code: the code moves while one works on it.
        "code": Route(ttl=2 * HOUR, max_ttl=4 * HOUR, stale=HOUR, jitter=0.1, beta=1.0),
    }
)
"""A life for each use case, to be taken as it is or replaced: ``TieredCache(routes={**ROUTES, "faq": Route(ttl=3600)})``."""
