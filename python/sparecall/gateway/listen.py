"""Where a gateway listens: its port, and the port that several workers share."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from aiohttp import web

from sparecall.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator


async def listen(runner: web.BaseRunner, host: str, port: int, *, shared: bool) -> str:
    """Takes connections, on a port that other processes may listen on too where it is `shared`. Returns the base URL."""
    try:
        await web.TCPSite(runner, host, port, backlog=4096, reuse_port=shared or None).start()
    except OSError as error:
        raise _cannot_listen(host, port, error) from None
    return url_of(*runner.addresses[0][:2])


@contextlib.contextmanager
def reserved(host: str, port: int) -> Iterator[tuple[str, int]]:
    """Holds the port for workers to share, without listening; gives the first address and the port, picked where it is 0.

    Raises `ConfigError` where somebody else has it, be it another supervisor that would share it too.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigError("server.workers is above 1, but this system has no SO_REUSEPORT; set it to 1")
    with contextlib.ExitStack() as exits:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, kind, protocol, _, address in dict.fromkeys(found):
                for shared in (False, True) if port else (True,):
                    held = exits.enter_context(socket.socket(family, kind, protocol))
                    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    if shared:
                        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                    if family == socket.AF_INET6:
                        held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    held.bind((address[0], port, *address[2:]))
                    port = held.getsockname()[1]
                    if not shared:
                        held.close()
        except OSError as error:
            raise _cannot_listen(host, port, error) from None
        yield str(found[0][4][0]), port


def _cannot_listen(host: str, port: int, error: OSError) -> ConfigError:
    """The error for a port that is not to be had."""
    reason = error.strerror or error
    return ConfigError(f"cannot listen on {host}:{port}: {reason}; choose another --host or --port")


def url_of(host: str, port: int) -> str:
    """The base URL of a gateway at that address."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
