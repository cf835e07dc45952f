"""`sparecall simulate`: serves the simulated provider until it is interrupted."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from sparecall.simulate.faults import DRAWN_FAULTS, Faults
from sparecall.simulate.latency import Latency
from sparecall.simulate.provider import Provider
from sparecall.simulate.server import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    latency = Latency()
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8081, help="port, 0 for a free one (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of answers, latency and faults (default: %(default)s)"
    )
    parser.add_argument(
        "--first-token", type=float, default=latency.first_token, metavar="SECONDS", help="default: %(default)s"
    )
    parser.add_argument(
        "--per-token", type=float, default=latency.per_token, metavar="SECONDS", help="default: %(default)s"
    )
    parser.add_argument(
        "--jitter",
        type=float,
        default=latency.jitter,
        metavar="SHARE",
        help="of both, up or down (default: %(default)s)",
    )
    parser.add_argument(
        "--requests-per-minute", type=int, metavar="N", help="answer 429 above this (default: no limit)"
    )
    parser.add_argument("--tokens-per-minute", type=int, metavar="N", help="answer 429 above this (default: no limit)")
    parser.add_argument(
        "--fault",
        action="append",
        type=_fault,
        default=[],
        metavar="NAME=SHARE",
        help=f"share of requests (0 to 1) that meet a fault, may be repeated: {', '.join(DRAWN_FAULTS)}",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; return the exit status. Raises `sparecall.errors.InvalidArgument` for an option out of range."""
    provider = Provider(
        seed=arguments.seed,
        latency=Latency(first_token=arguments.first_token, per_token=arguments.per_token, jitter=arguments.jitter),
        faults=Faults(**dict(arguments.fault)),
        requests_per_minute=arguments.requests_per_minute,
        tokens_per_minute=arguments.tokens_per_minute,
    )
    try:
        _run_loop(_serve(provider, arguments.host, arguments.port))
    except OSError as error:
        sys.stderr.write(f"sparecall simulate: {error}\n")
        return 2
    return 0


def _fault(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    if name not in DRAWN_FAULTS:
        raise argparse.ArgumentTypeError(f"there is no fault {name!r}; known are {', '.join(DRAWN_FAULTS)}")
    try:
        return name, float(share)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=SHARE with a number between 0 and 1") from None


async def _serve(provider: Provider, host: str, port: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # the loops of Windows, where Ctrl-C is a KeyboardInterrupt
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with serve(provider, host=host, port=port) as base_url:
        sys.stdout.write(f"simulated provider at {base_url} (no model behind it; any API key will do)\n")
        sys.stdout.flush()
        await stopped.wait()


def _run_loop(main: Coroutine[None, None, None]) -> None:
    run_until_complete: Callable[[Coroutine[None, None, None]], None] = asyncio.run
    with suppress(ImportError):
        import uvloop

        run_until_complete = uvloop.run
    run_until_complete(main)
