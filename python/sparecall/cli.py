"""The `sparecall` command."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING

from sparecall import __version__
from sparecall.errors import SparecallError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Name, module with add_arguments() and run(), one line of help. A module is imported only when its command is asked for.
COMMANDS = (
    ("serve", "sparecall.gateway.command", "run the gateway"),
    ("demo", "sparecall.demo.command", "show what is spared over an agent's working day, with a simulated provider"),
    ("simulate", "sparecall.simulate.command", "run the simulated provider"),
    ("explain", "sparecall.explain", "say why two requests do or do not share a key"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status: 2 for what it cannot do, with a line that says why, 130 when interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = _parse(words)
        return int(arguments.run(arguments))
    except SparecallError as error:
        print(f"sparecall {words[0]}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # also while a command is being imported, which takes most of its first second
        return 130


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sparecall", description="The cheapest model call is the one spared.")
    parser.add_argument("--version", action="version", version=f"sparecall {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module, summary in COMMANDS:
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name in words[:1]:
            implementation = importlib.import_module(module)
            implementation.add_arguments(command)
            command.set_defaults(run=implementation.run)
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
