"""`sparecall demo`: runs the working day with the cache off, then on, then lets providers fail, and reports what was spared and what was noticed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sparecall.demo.workday import plan
from sparecall.errors import InvalidArgument, SparecallError
from sparecall.exchange import new_event_loop
from sparecall.simulate import Latency

if TYPE_CHECKING:
    import argparse

    from sparecall.demo.figures import Figures
    from sparecall.demo.task import Day

# An assumed hosted model of the middle size, at speed 1: neither fast nor slow. Answers average about 100 tokens here.
_FIRST_TOKEN, _PER_TOKEN, _PER_PROMPT_TOKEN, _JITTER = 0.4, 0.01, 20e-6, 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `sparecall demo`."""
    parser.add_argument("--calls", type=int, default=480, help="calls of the day (default: %(default)s)")
    parser.add_argument("--agents", type=int, default=8, help="agents that work at once (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another day (default: %(default)s)")
    parser.add_argument(
        "--speed",
        type=float,
        default=5.0,
        help="how many times faster than a hosted model the simulated one is (default: %(default)s)",
    )
    parser.add_argument(
        "--outage",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="how long providers hang, refuse and fail after the day; 0: not at all (default: %(default)s)",
    )
    parser.add_argument(
        "--json", metavar="PATH", help="write the figures as JSON; - for standard output, without tables"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs it all and prints the report. Exit status: 0, or 1 where a check failed: an answer was not the same."""
    speed = arguments.speed
    if not 0.01 <= speed <= 1e6:
        raise InvalidArgument(f"--speed is {speed}; it must be between 0.01 and 1,000,000")
    if arguments.outage and not 1 <= arguments.outage <= 3600:
        raise InvalidArgument(f"--outage is {arguments.outage}; it must be 0, or between 1 and 3,600 seconds")
    try:
        import openai  # noqa: F401
        import tqdm  # noqa: F401
    except ImportError as error:
        raise SparecallError(f"{error.name} is not installed; run: pip install 'sparecall[demo]'") from None
    latency = Latency(
        first_token=_FIRST_TOKEN / speed,
        per_token=_PER_TOKEN / speed,
        per_prompt_token=_PER_PROMPT_TOKEN / speed,
        jitter=_JITTER,
    )
    day = plan(calls=arguments.calls, agents=arguments.agents, seed=arguments.seed)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        found = runner.run(_run(day, latency, speed, arguments.outage))
    if arguments.json != "-":
        from sparecall.demo.report import report

        print(report(found))
    if arguments.json is not None:
        _write(found, arguments.json)
    return 0 if found.hold else 1


async def _run(day: Day, latency: Latency, speed: float, outage_seconds: float) -> Figures:
    # Here and not above: they need the extras.
    from sparecall.demo.figures import figures
    from sparecall.demo.outage import calls_of, outage
    from sparecall.demo.progress import Progress
    from sparecall.demo.run import run as run_day
    from sparecall.demo.session import session

    with Progress(calls=day.calls, runs=2) as progress:
        progress.begin("cache off")
        off = await run_day(day, cache=False, latency=latency, on_call=progress.step)
        progress.begin("cache on")
        on = await run_day(day, cache=True, latency=latency, on_call=progress.step)
    found = None
    if outage_seconds:
        with Progress(calls=calls_of(outage_seconds), runs=1) as progress:
            progress.begin("providers fail")
            found = await outage(seconds=outage_seconds, seed=day.seed, on_call=progress.step)
    long = await session(day, latency=latency)
    return figures(day, off, on, long, latency=latency, speed=speed, outage=found)


def _write(figures: Figures, path: str) -> None:
    text = msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n"
    if path == "-":
        sys.stdout.write(text.decode())
        return
    try:
        Path(path).write_bytes(text)
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be written: {error.strerror}; give another path with --json") from None
