"""Transports for the official SDKs: their HTTP clients ask a pipeline in this process, and no gateway over a socket."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Self

from sparecall import config as configuration
from sparecall import pipeline as pipelines
from sparecall.errors import InvalidArgument, UpstreamError
from sparecall.httpx.answer import Live, Outcome, OutOfPatience, answer
from sparecall.httpx.library import AsyncBaseTransport, AsyncByteStream, BaseTransport, SyncByteStream, library_of
from sparecall.httpx.thread import Closed, PipelineThread
from sparecall.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
    from types import TracebackType

    from sparecall.config import Config
    from sparecall.httpx.library import Request
    from sparecall.pipeline import Event

__all__ = ["AsyncTransport", "Transport"]


class AsyncTransport(AsyncBaseTransport):
    """Answers an asynchronous client through an open pipeline, on the event loop that the pipeline was opened on.

    The pipeline stays its owner's: closing the client does not close it.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    def __repr__(self) -> str:
        return f"<AsyncTransport to {self.pipeline!r}>"

    async def handle_async_request(self, request: Request) -> Any:
        """Answers one request, as the gateway would."""
        library = library_of(request)
        body = await request.aread()
        try:
            outcome = await _asked(self.pipeline, request, body)
        except (OutOfPatience, UpstreamError) as error:
            raise _error_of(error, library) from None
        return _response(library, outcome, lambda live: _AsyncBody(live, library))


class Transport(BaseTransport):
    """Answers a synchronous client through a pipeline of its own, which runs in a thread of its own.

    `source` is what `sparecall.open` takes, or a function that makes a `Pipeline`. It is opened by the first request, or
    by ``with``, and closed with the transport. Any number of threads may use one transport at once; a forked child
    process gets a pipeline of its own, with an empty memory.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Mapping[str, Any] | Config | Callable[[], Pipeline] | None = None,
        *,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        if isinstance(source, Pipeline):
            raise InvalidArgument(
                "Transport opens a pipeline of its own, in a thread of its own; give it a configuration or a function "
                "that makes a Pipeline, or use AsyncTransport for one that is open"
            )
        if callable(source):
            if on_event is not None:
                raise InvalidArgument("on_event belongs to the Pipeline that the function makes; give it there")
            self._make = source
        else:
            config = configuration.load(source)
            self._make = lambda: pipelines.open(config, on_event=on_event)
        self._lock = threading.Lock()
        self._thread: PipelineThread | None = None
        self._closed = False
        _transports.add(self)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._thread is not None else "not opened yet"
        return f"<Transport, {state}>"

    def handle_request(self, request: Request) -> Any:
        """Answers one request, as the gateway would."""
        library = library_of(request)
        body = request.read()
        try:
            thread = self._opened()
            return thread.run(lambda: self._respond(thread, library, request, body))
        except (OutOfPatience, UpstreamError, Closed) as error:
            raise _error_of(error, library) from None

    def __enter__(self) -> Self:
        self._opened()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the pipeline and ends its thread. Calls that other threads wait for fail."""
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None:
            thread.close()

    def _opened(self) -> PipelineThread:
        thread = self._thread
        if thread is not None and not thread.stopped:
            return thread
        with self._lock:
            if self._closed:
                raise Closed("this transport is closed; make another one")
            if self._thread is None or self._thread.stopped:  # stopped: it is the parent process's
                self._thread = PipelineThread(self._make)
                # Whoever lets go of a transport without closing it leaves no thread behind.
                weakref.finalize(self, self._thread.stop).atexit = False
            return self._thread

    async def _respond(self, thread: PipelineThread, library: Any, request: Request, body: bytes) -> Any:
        # The response is made here, on the loop: a caller who has left meanwhile lets go of one that closes itself.
        outcome = await _asked(thread.pipeline, request, body)
        return _response(library, outcome, lambda live: _Body(live, library, thread, self))


class _AsyncBody(AsyncByteStream):
    """A live body for an asynchronous client."""

    def __init__(self, live: Live, library: Any) -> None:
        self._live = live
        self._library = library

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while (chunk := await self._live.read()) is not None:
                yield chunk
        except (OutOfPatience, UpstreamError) as error:
            raise _error_of(error, self._library) from None

    async def aclose(self) -> None:
        self._live.close()

    def __del__(self) -> None:
        self._live.close()


class _Body(SyncByteStream):
    """A live body for a synchronous client. What it reads lives on the pipeline's loop and is let go of there."""

    def __init__(self, live: Live, library: Any, thread: PipelineThread, transport: Transport) -> None:
        self._live = live
        self._library = library
        self._thread = thread
        self._transport = transport  # kept: without one the thread would end

    def __iter__(self) -> Iterator[bytes]:
        try:
            while (chunk := self._thread.run(self._live.read)) is not None:
                yield chunk
        except (OutOfPatience, UpstreamError, Closed) as error:
            raise _error_of(error, self._library) from None

    def close(self) -> None:
        self._thread.soon(self._live.close)

    def __del__(self) -> None:
        self.close()


def _asked(pipeline: Pipeline, request: Request, body: bytes) -> Coroutine[Any, Any, Outcome]:
    patience = request.extensions.get("timeout", {}).get("read")
    target = request.url.raw_path.decode("ascii")
    return answer(pipeline, request.method, target, request.headers, body, patience=patience)


def _response(library: Any, outcome: Outcome, body: Callable[[Live], object]) -> Any:
    content = {"stream": body(outcome.body)} if isinstance(outcome.body, Live) else {"content": outcome.body}
    headers = [(name.encode(), value.encode()) for name, value in outcome.headers.items()]
    return library.Response(outcome.status, headers=headers, extensions={"http_version": b"HTTP/1.1"}, **content)


def _error_of(error: OutOfPatience | UpstreamError | Closed, library: Any) -> Exception:
    """The error that the client would see before a gateway."""
    raised: Exception
    match error:
        case OutOfPatience():
            raised = library.ReadTimeout("sparecall: no byte within the client's read timeout")
        case UpstreamError():
            raised = library.RemoteProtocolError(f"sparecall: {error}")
        case Closed():
            raised = library.ReadError("sparecall: the transport is closed; make another one")
    return raised


_transports: weakref.WeakSet[Transport] = weakref.WeakSet()


def _after_fork() -> None:
    for transport in _transports:
        transport._lock = threading.Lock()  # another thread, which is not here any more, may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
