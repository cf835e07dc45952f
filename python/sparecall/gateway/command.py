"""`sparecall serve`: the gateway as a process."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from typing import TYPE_CHECKING

from sparecall import __version__
from sparecall import config as configuration
from sparecall.gateway import new_event_loop, serving

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from sparecall.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `sparecall serve`; each overrides the configuration file."""
    parser.add_argument("--config", metavar="PATH", help="a sparecall.toml (docs/config.md lists its keys)")
    parser.add_argument(
        "--upstream", metavar="URL", help="the provider's base URL (default: https://api.openai.com/v1)"
    )
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one (default: 8787)")
    parser.add_argument(
        "--snapshot", metavar="PATH", help="load the cache from this file, and save it there on the way out"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serves until SIGINT or SIGTERM."""
    config = configuration.load(arguments.config)
    config = config.with_changes("server", host=arguments.host, port=arguments.port)
    config = config.with_changes("upstream", url=arguments.upstream)
    config = config.with_changes("cache", snapshot=arguments.snapshot)
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", level=logging.INFO)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(config))
    return 0


def on_signal(stop: Callable[[], None]) -> None:
    """Calls `stop` at the first SIGINT or SIGTERM. The second ends the process at once, as if nobody had listened."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def first() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        stop()

    for number in numbers:
        loop.add_signal_handler(number, first)


async def _serve(config: Config) -> None:
    stop = asyncio.Event()
    on_signal(stop.set)
    async with serving(config) as (_, url):
        print(
            f"sparecall {__version__} listening on {url}, upstream {config.upstream.url}", file=sys.stderr, flush=True
        )
        # What is imported lives as long as the process: a full collection would hold the loop for milliseconds to look at it.
        gc.collect()
        gc.freeze()
        await stop.wait()
