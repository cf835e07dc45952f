"""L3, a CDN in front: the headers by which it keeps public answers, and a purger that makes it forget them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from sparecall.errors import InvalidArgument, StoreUnavailable
from sparecall.store.protocol import version_names
from sparecall.store.purging import BATCH
from sparecall.store.route import check_scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import aiohttp

    from sparecall.store.route import Route

PUBLIC = "public"
"""The scope whose answers, and those of the scopes below it, a CDN may keep."""
_MOST_BYTES = 16_384  # of a Surrogate-Key header, by Fastly's limit
_HARMLESS = re.compile(r"[!-$&-~]+")  # what may stand in a surrogate key as it is; not %, which spells the rest


class Purger(Protocol):
    """A CDN that can be told to forget."""

    async def purge(self, names: Sequence[str]) -> None:
        """Forget whatever was answered with one of these surrogate keys, at most 256. Raises where it could not be told."""


def surrogate_keys(names: Iterable[str]) -> list[str]:
    """Names as a CDN takes them: without white space, other than ASCII spelled by ``%``."""
    return [name if _HARMLESS.fullmatch(name) else quote(name, safe=":/") for name in names]


def cdn_headers(route: Route, *, scope: str, tags: Iterable[str] = (), age: float = 0.0) -> dict[str, str]:
    """The headers of an answer that is `age` seconds old: kept by a CDN where the route and the scope allow it, else by nobody.

    `Surrogate-Key` names what the answer depends on, as `TieredCache.invalidate` will: its tags, each prefix of its scope, and all.
    An answer that depends on more than a header holds is not kept. Raises `InvalidArgument` for a bad scope.
    """
    check_scope(scope)
    keys = " ".join(surrogate_keys(version_names(scope, tuple(tags))))
    left = int(route.ttl - age) if route.ttl - age < 31_536_000 else 31_536_000
    is_public = scope == PUBLIC or scope.startswith(PUBLIC + "/")
    if not (route.cdn and is_public and left > 0 and len(keys) <= _MOST_BYTES):
        return {"Cache-Control": "private, no-store"}
    stale = int(min(route.stale, 31_536_000))
    allowed = f", stale-while-revalidate={stale}, stale-if-error={stale}" if stale else ""
    return {"Cache-Control": f"public, max-age=0, s-maxage={left}{allowed}", "Surrogate-Key": keys}


class HttpPurger:
    """Purges by one POST for each 256 keys, as Fastly's ``/service/{id}/purge`` takes them: in a ``Surrogate-Key`` header.

    ``session``: an `aiohttp.ClientSession`, which stays its maker's; ``url``: where to post; ``headers``: such as ``Fastly-Key``.
    ``soft``: what is purged becomes stale and may be served while it is fetched anew.
    """

    __slots__ = ("_headers", "_session", "_timeout", "_url")

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        soft: bool = False,
        timeout: float = 5.0,
    ) -> None:
        if not timeout > 0:
            raise InvalidArgument(f"timeout is {timeout}; give more than 0 seconds")
        self._session, self._url, self._timeout = session, url, timeout
        self._headers = {**(headers or {}), **({"Fastly-Soft-Purge": "1"} if soft else {})}

    def __repr__(self) -> str:
        return "<HttpPurger>"  # neither address nor headers: they hold a token

    async def purge(self, names: Sequence[str]) -> None:
        """Do what `Purger.purge` says, for any number of names. Raises `StoreUnavailable`."""
        import aiohttp

        keys = surrogate_keys(names)
        limit: Any = aiohttp.ClientTimeout(total=self._timeout)
        for start in range(0, len(keys), BATCH):
            headers = {**self._headers, "Surrogate-Key": " ".join(keys[start : start + BATCH])}
            try:
                async with self._session.post(self._url, headers=headers, timeout=limit) as answer:
                    status = answer.status
            except (aiohttp.ClientError, TimeoutError) as error:
                raise StoreUnavailable(f"the CDN could not be told to purge: {type(error).__name__}") from error
            if status >= 300:
                raise StoreUnavailable(f"the CDN refused to purge: HTTP {status}")
