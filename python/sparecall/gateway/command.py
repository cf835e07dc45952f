"""`sparecall serve`: the gateway as a process."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import shutil
import signal
import sys
import tempfile
from typing import TYPE_CHECKING

from sparecall import __version__
from sparecall import config as configuration
from sparecall.exchange import new_event_loop
from sparecall.gateway import Gateway, addresses, serving
from sparecall.gateway.listen import reserved, url_of
from sparecall.gateway.peers import Peers
from sparecall.gateway.workers import Process, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparecall.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `sparecall serve`; each overrides the configuration file."""
    parser.add_argument("--config", metavar="PATH", help="a sparecall.toml (docs/config.md lists its keys)")
    parser.add_argument(
        "--upstream", metavar="URL", help="the provider's base URL (default: https://api.openai.com/v1)"
    )
    parser.add_argument("--anthropic", metavar="URL", help="base URL of the provider of /v1/messages (default: none)")
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one (default: 8787)")
    parser.add_argument(
        "--snapshot", metavar="PATH", help="load the cache from this file, and save it there on a timer and at the end"
    )
    parser.add_argument(
        "--l2",
        metavar="URL",
        help="share answers with other gateways: redis://host:port/0 or sqlite:PATH (docs/config.md, [store])",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that share the port, each with a cache of its own (default: 1)",
    )
    parser.add_argument(
        "--semantic",
        action="store_true",
        default=None,
        help="answer questions, too, that were asked before in other words (docs/config.md, [semantic])",
    )
    parser.add_argument(
        "--max-error",
        type=float,
        metavar="SHARE",
        help="the share of wrong answers among those that --semantic may not exceed (default: 0.02)",
    )
    parser.add_argument(
        "--context-budget",
        type=int,
        metavar="TOKENS",
        help="trim conversations to so many tokens before they go out (docs/context-gateway.md; default: they go as they are)",
    )
    # How the supervisor tells a worker which one it is.
    parser.add_argument("--worker", nargs=2, metavar=("NUMBER", "FOLDER"), help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Serves until SIGINT or SIGTERM."""
    config = configuration.load(arguments.config)
    config = config.with_changes("server", host=arguments.host, port=arguments.port, workers=arguments.workers)
    config = config.with_changes("upstream", url=arguments.upstream)
    config = config.with_changes("anthropic", url=arguments.anthropic)
    config = config.with_changes("cache", snapshot=arguments.snapshot)
    config = config.with_changes("store", url=arguments.l2)
    config = config.with_changes("semantic", enabled=arguments.semantic, max_error=arguments.max_error)
    config = config.with_changes("context", budget=arguments.context_budget)
    name = "%(name)s" if arguments.worker is None else f"%(name)s worker {arguments.worker[0]}"
    logging.basicConfig(format=f"%(asctime)s {name} %(levelname)s %(message)s", level=logging.INFO)
    if arguments.worker is None and config.server.workers > 1:
        return supervise(config, arguments)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        if arguments.worker is None:
            runner.run(_serve(config))
        else:
            number, folder = int(arguments.worker[0]), arguments.worker[1]
            runner.run(_serve(of_worker(config, number), Peers(folder, number, config.server.workers)))
    return 0


def supervise(config: Config, arguments: argparse.Namespace) -> int:
    """Runs the workers; returns the exit status."""
    for number in range(config.server.workers):
        Gateway(of_worker(config, number))  # what is wrong is said here, once
    given = {name: value for name, value in vars(arguments).items() if name not in {"command", "run", "worker"}}

    async def supervised(address: str, port: int, folder: str) -> int:
        told = {**given, "port": port, "workers": config.server.workers}
        options = [_option(name, value) for name, value in told.items() if value is not None]
        supervisor = Supervisor(
            lambda number: Process.start([*options, "--worker", str(number), folder]), config.server.workers
        )
        on_signal(supervisor.stop, last=lambda: shutil.rmtree(folder, ignore_errors=True))
        url = url_of(address, port)
        return await supervisor.run(lambda: announce(config, url, f", {config.server.workers} workers"))

    server = config.server
    with reserved(server.host, server.port) as held, tempfile.TemporaryDirectory(prefix="sparecall-") as folder:
        return asyncio.run(supervised(*held, folder))


def _option(name: str, value: object) -> str:
    flag = f"--{name.replace('_', '-')}"
    return flag if value is True else f"{flag}={value}"


def of_worker(config: Config, number: int) -> Config:
    """The configuration of one worker: its snapshot is its own."""
    path = config.cache.snapshot
    return config if path is None else config.with_changes("cache", snapshot=f"{path}.{number}")


def announce(config: Config, url: str, more: str = "") -> None:
    """Says where the gateway is."""
    where = f"sparecall {__version__} listening on {url}, upstream {addresses(config)}{more}"
    print(where, file=sys.stderr, flush=True)


def on_signal(stop: Callable[[], None], *, last: Callable[[], None] | None = None) -> None:
    """Calls `stop` at the first SIGINT or SIGTERM. The second ends the process at once, as if nobody had listened, but after `last`."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def first() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL if last is None else second)
        stop()

    def second(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        if last is not None:
            last()
        signal.raise_signal(number)

    for number in numbers:
        loop.add_signal_handler(number, first)


def when_orphaned() -> None:
    """Takes the end of standard input for a signal: the supervisor has gone, or was told twice to stop."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(0, 1024):
            loop.remove_reader(0)
            os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(0, read)


def beat() -> None:
    """Tells the supervisor, every second, that this worker's loop turns."""
    with contextlib.suppress(OSError):
        os.write(1, b"\n")
    asyncio.get_running_loop().call_later(1.0, beat)


async def _serve(config: Config, peers: Peers | None = None) -> None:
    stop = asyncio.Event()
    on_signal(stop.set)
    async with serving(config, peers=peers) as (_, url):
        if peers is None:
            announce(config, url)
        else:
            when_orphaned()
            print("ready", flush=True)
            os.set_blocking(1, False)  # a full pipe must not hold the loop
            beat()
        # What is imported lives as long as the process: a full collection would hold the loop for milliseconds to look at it.
        gc.collect()
        gc.freeze()
        await stop.wait()
