"""The key of a chat request by sparecall and by the usual way (parse, sort keys, print, hash), in one markdown table.

The usual way also drops the fields that do not count and reads the few a gateway needs. All take turns on the same
body. A wrong verdict is a pair of small bodies whose keys are equal though they mean different things, or the reverse,
or an ambiguous body that is not refused.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import blake3
import msgspec
import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benches.bench_digest import PAIRS, SIZES, chat_body

from sparecall import build_info, digest

if TYPE_CHECKING:
    from collections.abc import Callable

PASSES = 15
IGNORED = (
    "stream",
    "stream_options",
    "user",
    "safety_identifier",
    "metadata",
    "store",
    "service_tier",
    "prompt_cache_key",
)


def usual(
    loads: Callable[[bytes], Any], dumps: Callable[[Any], bytes], hasher: Callable[[bytes], Any]
) -> Callable[[bytes], bytes]:
    def key(body: bytes) -> bytes:
        document = loads(body)
        stream, options = document.get("stream"), document.get("stream_options")
        for name in IGNORED:
            document.pop(name, None)
        cacheable = document.get("temperature", 1) <= 1 and document.get("n", 1) <= 1
        found = (document.get("model"), stream, options, cacheable, len(document.get("messages", ())))
        assert found
        hashed: bytes = hasher(b"team/user\0" + dumps(document)).digest()
        return hashed

    return key


def ours(body: bytes) -> bytes:
    return digest.inspect(body, scope="team/user").digest


def json_sorted(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def orjson_sorted(document: object) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


CONTENDERS: dict[str, Callable[[bytes], bytes]] = {
    "sparecall": ours,
    "orjson + blake3": usual(orjson.loads, orjson_sorted, blake3.blake3),
    "orjson + sha256": usual(orjson.loads, orjson_sorted, hashlib.sha256),
    "msgspec + blake3": usual(
        msgspec.json.Decoder().decode, msgspec.json.Encoder(order="sorted").encode, blake3.blake3
    ),
    "json + sha256": usual(json.loads, json_sorted, hashlib.sha256),
}


def wrong_verdicts(key: Callable[[bytes], bytes]) -> int:
    def verdict(one: bytes, other: bytes) -> bool | None:
        try:
            return key(one) == key(other)
        except (ValueError, TypeError):
            return None

    return sum(verdict(one, other) is not same for one, other, same in PAIRS)


def microseconds(key: Callable[[bytes], bytes], body: bytes) -> float:
    calls = max(3, 2_000_000 // len(body))
    start = time.perf_counter()
    for _ in range(calls):
        key(body)
    return (time.perf_counter() - start) / calls * 1e6


def main() -> None:
    """Print the table."""
    assert build_info()["profile"] == "release", "a debug build says nothing about speed"
    times: dict[tuple[str, int], list[float]] = {(name, size): [] for size in SIZES for name in CONTENDERS}
    for size in SIZES:
        body = chat_body(size)
        for _ in range(PASSES):
            for name, key in CONTENDERS.items():
                times[name, size].append(microseconds(key, body))
    print(f"us a body, median of {PASSES} passes; in brackets the multiple of sparecall's time\n")
    print("| |", " | ".join(f"{size:,} bytes" for size in SIZES), f"| wrong verdicts of {len(PAIRS)} |")
    print("|---" * (len(SIZES) + 2) + "|")
    medians = {what: statistics.median(of) for what, of in times.items()}
    for name, key in CONTENDERS.items():
        cells = [
            f"{medians[name, size]:.1f} ({medians[name, size] / medians['sparecall', size]:.1f}x)" for size in SIZES
        ]
        print(f"| {name} |", " | ".join(cells), f"| {wrong_verdicts(key)} |")


if __name__ == "__main__":
    main()
