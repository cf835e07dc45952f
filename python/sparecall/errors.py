"""Every exception sparecall raises: one base, narrow children, each saying what, the value, the limit and the next step."""

from __future__ import annotations


class SparecallError(Exception):
    """Base of all errors of this package."""

    __slots__ = ()


class InvalidDocument(SparecallError, ValueError):
    """Bytes that are not the document they should be, such as a request body that is not JSON.

    ``offset`` is the byte where that shows; the message never quotes the document.
    """

    __slots__ = ("offset",)

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message, offset)
        self.offset = offset

    def __str__(self) -> str:
        return str(self.args[0])


class InvalidArgument(SparecallError, ValueError):
    """An argument outside its range."""

    __slots__ = ()


class UnknownName(SparecallError, LookupError):
    """A name outside a closed list, which the message gives."""

    __slots__ = ()

    def __str__(self) -> str:
        return str(self.args[0])


class ConfigError(SparecallError, ValueError):
    """A configuration that cannot be used; the message names the key."""

    __slots__ = ()


class UpstreamError(SparecallError):
    """The provider could not be reached, or broke off its answer.

    ``code`` is a stable word for it: ``unreachable``, ``timeout``, ``broken`` or ``incomplete``. An answer the provider
    gave, whatever its status, is a reply and no error.
    """

    __slots__ = ("code",)

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class SnapshotError(SparecallError, ValueError):
    """A saved cache that cannot be loaded: damaged, cut short, or of another version. The cache is unchanged."""

    __slots__ = ()


class IndexFileError(SparecallError, ValueError):
    """A saved index that cannot be loaded: damaged, cut short, or of another version. Nothing was loaded."""

    __slots__ = ()


class TokenizerFileError(SparecallError, ValueError):
    """A tokenizer's file that cannot be loaded: damaged, beyond a limit, or of a kind that is not supported. Nothing was loaded."""

    __slots__ = ()


class ModelFileError(SparecallError, ValueError):
    """A model's file that cannot be loaded: damaged, beyond a limit, or of a kind that is not supported. Nothing was loaded."""

    __slots__ = ()


class EmbedderError(SparecallError):
    """A remote embedder gave no vectors, or none that can be used.

    ``code`` is a stable word for it: ``unreachable``, ``timeout``, ``broken`` (the answer is not what it should be) or
    ``refused``; then ``status`` is the HTTP status, which is None otherwise. Quotes neither texts nor the key.
    """

    __slots__ = ("code", "status")

    def __init__(self, message: str, *, code: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class BatchError(SparecallError):
    """A batch that gave a waiting item no result of its own, or a batcher that takes none.

    ``code`` is a stable word for it: ``result`` (what the batch function returned does not fit its items), ``timeout``, ``cancelled``
    (the function was, though callers waited), ``closed`` (the batcher is) or ``loop`` (the batcher belongs to another event loop).
    """

    __slots__ = ("code",)

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class Overloaded(SparecallError):
    """Work that was refused because it could not be done in time, or because too much waits.

    ``code`` is ``deadline`` (it would be, or is, too late), ``full``, ``dropped`` (for work of a higher class) or ``memory`` (there is too
    little left); ``retry_after`` is when to try again, in seconds, computed from what waits and how long it takes.
    """

    __slots__ = ("code", "retry_after")

    def __init__(self, message: str, *, code: str, retry_after: float) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after


class InternalError(SparecallError, RuntimeError):
    """A bug in sparecall itself. The object that raised it stays usable."""

    __slots__ = ()


class FrameError(SparecallError, ValueError):
    """Bytes that are not a frame, or an object that no frame can hold. The message names the place, never the content."""

    __slots__ = ()


class StoreUnavailable(SparecallError):
    """A shared store that could not be asked: not reachable, too slow, or left alone for a while after such failures."""

    __slots__ = ()


class FactoryTimeout(SparecallError, TimeoutError):
    """A value that was not made in the time its route allows, with no stale one to serve instead."""

    __slots__ = ()


class CallTimeout(SparecallError, TimeoutError):
    """A call that took longer than it may, and was ended.

    ``code`` is a stable word for it: ``answer`` (the whole), ``first_item`` or ``idle`` (of a stream), for which the endpoint is to blame; or
    ``deadline``, where the caller's own left it less time than such calls take. ``seconds`` is how long was waited.
    """

    __slots__ = ("code", "seconds")

    def __init__(self, message: str, *, code: str, seconds: float) -> None:
        super().__init__(message)
        self.code = code
        self.seconds = seconds


class BreakerOpen(SparecallError):
    """A call that was not made: its endpoint failed lately and is left alone. ``retry_after``: seconds until it may be tried again."""

    __slots__ = ("retry_after",)

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LimitExceeded(SparecallError):
    """A call that was not made: it does not fit in a limit. ``retry_after``: seconds until it may, None where it never will."""

    __slots__ = ("retry_after",)

    def __init__(self, message: str, *, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(SparecallError, TimeoutError):
    """A request without an answer at its deadline."""

    __slots__ = ()


class NoEndpoint(SparecallError):
    """A call that was not made: no endpoint of the models it may go to takes calls now. ``retry_after``: seconds until one may."""

    __slots__ = ("retry_after",)

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EndpointsFailed(SparecallError):
    """A call that every endpoint failed. ``errors``: by the endpoint's name, in the order they were asked."""

    __slots__ = ("errors",)

    def __init__(self, message: str, errors: dict[str, Exception]) -> None:
        super().__init__(message)
        self.errors = errors


class InvalidConversation(SparecallError, ValueError):
    """Messages that their provider would refuse. ``index`` is the message's, None where it is none in particular; never quotes a text."""

    __slots__ = ("index",)

    def __init__(self, message: str, *, index: int | None) -> None:
        super().__init__(message)
        self.index = index


class UnknownHandle(SparecallError, LookupError):
    """A handle under which nothing is kept: never put, of another scope, or left out since for want of room."""

    __slots__ = ()

    def __str__(self) -> str:
        return str(self.args[0])


class CannotFit(SparecallError, ValueError):
    """What must stay of a conversation is more than its budget. ``least`` is how many tokens that takes, ``budget`` how many there are."""

    __slots__ = ("budget", "least")

    def __init__(self, message: str, *, least: int, budget: int) -> None:
        super().__init__(message)
        self.least, self.budget = least, budget
