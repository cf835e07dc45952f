"""What every wire says of its answers: a summary of a complete one, how a stream ended, and the form in which answers are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Protocol

import msgspec

if TYPE_CHECKING:
    from sparecall.pipeline.log import LogEvent
    from sparecall.prices import Prices

# Exact in a float, and far above what any model reads: more is no count but an error.
TokenCount = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Summary(msgspec.Struct, frozen=True, array_like=True):
    """What the pipeline wants to know of a complete answer without decoding it again."""

    model: str
    prompt_tokens: int
    """All tokens the model read, those from the provider's cache included."""
    completion_tokens: int
    storable: bool
    """Whether the whole answer finished, and for a reason that may be served again."""
    cached_tokens: int = 0
    """Those of the prompt that the provider read from its own cache, at its own price for them."""

    def cost(self, prices: Prices) -> float | None:
        """Dollars that the answer cost; None where the model has no known price or the provider did not count."""
        if not self.prompt_tokens:  # no answer costs nothing
            return None
        return prices.cost(self.model, self.prompt_tokens, self.completion_tokens, cached_tokens=self.cached_tokens)


class Trimmed(msgspec.Struct, frozen=True, array_like=True):
    """What became of a context on its way to the model, in tokens of the whole request."""

    before: int
    after: int
    lossless: bool = True
    """Whether the model read all that was said, if in other words."""
    why: str = ""
    """Why the request went as it came: ``cannot_fit`` or ``unreadable``; empty where it is within its budget."""
    saved: dict[str, int] = {}
    """Tokens by `sparecall.context.Removed.change`."""
    prefix: str = ""
    """`sparecall.context.Prefix.why`, where the prefix is kept."""
    dollars: float | None = None
    """What that saved under the provider's prefix cache, less than 0 where an epoch costs more than it saves at first; None where
    it is not known: no price of the model, or each request cut for itself before a provider that has such a cache."""
    seconds: float = 0.0
    """What it took."""
    handles: tuple[str, ...] = ()
    """Of what is not there any more, so that it can be fetched: those of the most tokens, at most 32."""


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """A complete answer, as stored. `digest` and `scope` stand inside and are checked on every read."""

    digest: bytes
    scope: str
    stored_at: float
    """Seconds since the epoch."""
    served_by: str
    summary: Summary
    body: bytes
    """The whole answer as the JSON of its wire."""
    optimized: Trimmed | None = None
    """Of an answer to a context that lost something."""


class Ending(msgspec.Struct, frozen=True):
    """How a stream ended: its whole answer as JSON, or None where the stream does not amount to one."""

    body: bytes | None
    summary: Summary | None


NO_ENDING = Ending(None, None)


class Assembler(Protocol):
    """Builds the complete answer from the events of a stream, one at a time, each once."""

    complete: bool
    """Whether the event has come that ends a stream in order."""

    def add(self, data: bytes) -> LogEvent | None:
        """Takes the data of one event in, and gives what is kept of it: None for a mark that only ends the stream.

        An event that cannot be part of an answer makes the whole unfit, not the stream. Raises nothing.
        """

    def finish(self) -> Ending:
        """The answer, once the stream is `complete`, if its events amount to one. Raises nothing."""
