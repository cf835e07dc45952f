"""Stage `fallback`: another model where every upstream of the one that was asked for failed."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

import msgspec

from sparecall.errors import EndpointsFailed
from sparecall.flow import Fallback
from sparecall.pipeline.endpoint import asking_of
from sparecall.pipeline.outcome import ONCE, FailedReply, answered, passes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Request
    from sparecall.pipeline.stage import Next


class Target(msgspec.Struct, frozen=True):
    """What is asked instead."""

    model: str | None = None
    """None: the model that was asked for."""
    upstream: str = ""
    """Empty for any that serves the model."""


class FallbackStage:
    """Asks for the targets of a model in their order, after the model itself. `targets` are by names of models, with ``*`` and ``?``: the first that fits counts.

    Where all failed, the reply or the error is that of the model that was asked for.
    """

    __slots__ = ("_chains",)
    __name__ = "fallback"

    def __init__(self, targets: Mapping[str, Sequence[Target]]) -> None:
        self._chains = {model: _chain(chain) for model, chain in targets.items()}

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        """Passes the request on, and where that fails with another model."""
        asking = asking_of(request)
        chain = self._chain_of(asking.model)
        if chain is None or request.cache_control.only_if_cached or request.bypass in ONCE:
            return await next(request)
        request = msgspec.structs.replace(request, asking=asking)
        try:
            return (await chain.run(request, next)).value
        except EndpointsFailed as failed:
            first, *_ = failed.errors.values()
            if isinstance(first, FailedReply):
                return first.reply
            raise first from None

    def _chain_of(self, model: str) -> Fallback[[Request, Next], Reply] | None:
        return next((chain for name, chain in self._chains.items() if fnmatch.fnmatchcase(model, name)), None)


def _chain(targets: Sequence[Target]) -> Fallback[[Request, Next], Reply]:
    calls: dict[str, Callable[[Request, Next], Awaitable[Reply]]] = {
        "": lambda request, below: answered(below(request))
    }
    for number, target in enumerate(targets):
        calls[str(number)] = _asking(target)
    return Fallback(calls, classify=passes)


def _asking(target: Target) -> Callable[[Request, Next], Awaitable[Reply]]:
    def ask(request: Request, below: Next) -> Awaitable[Reply]:
        asked = request.asking
        assert asked is not None  # noqa: S101 - for mypy; the stage has set it
        asking = msgspec.structs.replace(asked, model=target.model or asked.model, upstream=target.upstream)
        return answered(below(msgspec.structs.replace(request, asking=asking)))

    return ask
