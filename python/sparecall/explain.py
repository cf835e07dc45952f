"""`sparecall explain`: says whether two request bodies share a key and, if not, which field keeps them apart."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sparecall import digest
from sparecall.errors import InvalidArgument, InvalidDocument

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `sparecall explain`."""
    parser.add_argument("a", help="file with the JSON body of a request; - for standard input")
    parser.add_argument("b", help="file with another")
    parser.add_argument(
        "--wire", choices=("chat", "responses", "messages"), default="chat", help="the form of both (default: chat)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the verdict. Exit status: 0 for the same digest, 1 for different ones, 2 for a file that cannot be read."""
    if arguments.a == arguments.b == "-":
        raise InvalidArgument("both bodies are to come from standard input; give a file for one of them")
    bodies, digests, whys = [], [], []
    for name in (arguments.a, arguments.b):
        try:
            body = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
            inspection = digest.inspect(body, scope="explain", wire=arguments.wire)
        except OSError as error:
            print(f"sparecall explain: {name}: {error.strerror}", file=sys.stderr)
            return 2
        except InvalidDocument as error:
            print(f"sparecall explain: {name}: {error}", file=sys.stderr)
            return 2
        bodies.append(body)
        digests.append(inspection.digest.hex()[:16])
        whys.append(inspection.why)
        if not inspection.cacheable:
            print(f"{name}: not cacheable: {inspection.why}")
    difference = digest.compare(*bodies, wire=arguments.wire)
    if difference is None:
        verdict = (
            f"but no hit: {whys[0]} bypasses the cache"
            if whys[0]
            else "in one scope, the second of these calls is a hit"
        )
        print(f"same digest {digests[0]}: {verdict}")
        return 0
    print(f"different digests {digests[0]} and {digests[1]}; the first field that differs:")
    print(f"  {difference.path}\n    a: {difference.left}\n    b: {difference.right}")
    return 1
