"""Sends a reply at its pace, whole or as events, and spoils it on the way where a fault says so."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from sparecall.simulate.problem import overloaded, rate_limited, server_error
from sparecall.simulate.quota import Limit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from sparecall.simulate.latency import Pace
    from sparecall.simulate.wire import Event

_HTML = b"<!DOCTYPE html><html><head><title>Service unavailable (simulated)</title></head><body><h1>Please wait</h1></body></html>"
_GARBAGE = b'{"simulated": \xff\xfe not JSON'
_EXCEEDED = Limit("requests", limit=60, left=0, reset_in=1.0)


def refuse(fault: str | None) -> None:
    """Raise the error reply of the faults that are nothing else."""
    match fault:
        case "rate_limit":
            raise rate_limited(_EXCEEDED)
        case "server_error":
            raise server_error()
        case "overloaded":
            raise overloaded()


async def send_json(
    http: web.Request,
    value: dict[str, Any],
    *,
    error: dict[str, Any],
    fault: str | None,
    pace: Pace,
    stall: Callable[[], Awaitable[object]],
) -> web.StreamResponse:
    """Send a JSON object when its last token is due; ``error`` is what the fault ``error_in_200`` sends instead."""
    if fault == "disconnect":
        return _reset(http, web.Response())
    body = msgspec.json.encode(value)
    await pace.until(1.0)
    match fault:
        case "stall":
            await stall()
        case "html":
            return web.Response(body=_HTML, content_type="text/html")
        case "garbage":
            body = _GARBAGE
        case "truncated_json":
            body = body[: len(body) // 2]
        case "error_in_200":
            body = msgspec.json.encode(error)
        case "cut_stream" | "bad_length":
            response = web.StreamResponse(
                headers={"content-type": "application/json", "content-length": str(len(body))}
            )
            await response.prepare(http)
            await response.write(body[: len(body) // 2])
            return _reset(http, response) if fault == "cut_stream" else _close(http, response)
    return web.Response(body=body, content_type="application/json")


async def send_events(
    http: web.Request,
    made: Iterable[Event],
    *,
    error: Callable[[int], Event],
    fault: str | None,
    pace: Pace,
    stall: Callable[[], Awaitable[object]],
) -> web.StreamResponse:
    """Send each event when its share of the answer is due; ``error`` makes the one that fails a stream after so many."""
    if fault == "disconnect":
        return _reset(http, web.Response())
    await pace.until(0.0)
    if fault == "html":
        return web.Response(body=_HTML, content_type="text/html")
    response = web.StreamResponse(
        headers={"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
    )
    await response.prepare(http)
    events = list(made)
    if fault == "no_done":
        events.pop()
    ready = bytearray()  # events that are due at once travel in one write
    for number, event in enumerate(events):
        if pace.wait(event.progress):
            await response.write(bytes(ready))
            ready.clear()
            await pace.until(event.progress)
        if number == len(events) // 2:
            match fault:
                case "stall":
                    await response.write(bytes(ready))
                    ready.clear()
                    await stall()
                case "cut_stream" | "bad_length":
                    await response.write(bytes(ready))
                    return _reset(http, response) if fault == "cut_stream" else _close(http, response)
                case "garbage":
                    ready += event.encode(_GARBAGE)
                case "error_in_200" | "truncated_json":
                    half = event.data[: len(event.data) // 2]
                    ready += error(number).encode() if fault == "error_in_200" else event.encode(half)
                    await response.write(bytes(ready))
                    return response
        ready += event.encode()
    await response.write(bytes(ready))
    return response


def _reset(http: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Reset the connection (RST, not FIN)."""
    if http.transport is not None:
        connection = http.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        http.transport.abort()
    return response


def _close(http: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Close the connection in order, however much of the reply is missing."""
    if http.transport is not None:
        http.transport.close()
    return response
