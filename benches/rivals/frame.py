"""An object to checked, compressed bytes and back, by sparecall and by the best libraries chained: one markdown table.

Microseconds a call, the minimum of interleaved rounds, the garbage collector off (it would run in `unpack` alone, the more
often the more a library allocates). The objects: a conversation of 18 kB; the standard library's source in 600 kB of long
messages; where ../shared is there, agents' recorded runs of 650 kB with many small objects; 1,536 floats as a list and as an
array. Every result is compared with what went in before a time is believed.
"""

from __future__ import annotations

import functools
import gc
import gzip
import json
import random
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cramjam
import lz4.block
import lz4.frame
import msgspec
import numpy as np
import orjson
import ormsgpack
import xxhash
import zstandard

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benches.bench_digest import chat_body

from sparecall import build_info
from sparecall.frame import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 21
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode


def hashed(block: bytes) -> bytes:
    return xxhash.xxh3_64_digest(block) + block


def opened(stored: bytes) -> bytes:
    assert xxhash.xxh3_64_digest(stored[8:]) == stored[:8]
    return stored[8:]


WAYS: dict[str, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    "sparecall": (pack, unpack),
    "msgspec + lz4.frame, content checksum": (
        lambda value: lz4.frame.compress(encode(value), content_checksum=True),
        lambda stored: decode(lz4.frame.decompress(stored)),
    ),
    "msgspec + lz4.block + xxhash": (
        lambda value: hashed(lz4.block.compress(encode(value))),
        lambda stored: decode(lz4.block.decompress(opened(stored))),
    ),
    "ormsgpack + cramjam lz4 + xxhash": (
        lambda value: hashed(bytes(cramjam.lz4.compress_block(ormsgpack.packb(value)))),
        lambda stored: ormsgpack.unpackb(bytes(cramjam.lz4.decompress_block(opened(stored)))),
    ),
    "orjson + zstandard 1, checksum": (
        lambda value: zstandard.ZstdCompressor(level=1, write_checksum=True).compress(orjson.dumps(value)),
        lambda stored: orjson.loads(zstandard.ZstdDecompressor().decompress(stored)),
    ),
}


def sources() -> dict[str, Any]:
    folder = Path(sysconfig.get_path("stdlib"))
    text = "".join(path.read_text("utf-8") for path in sorted(folder.glob("*.py")))
    texts = [text[at : at + 2_000] for at in range(0, 600_000, 2_000)]
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text} for text in texts]}


def recorded_runs() -> list[Any]:
    runs = json.loads(gzip.decompress((SHARED / "tau_bench" / "gpt-4o-airline.even_tasks.json.gz").read_bytes()))
    taken: list[Any] = []
    while sum(len(json.dumps(run)) for run in taken) < 650_000:
        taken.append(runs[len(taken)])
    return taken


def values() -> dict[str, Any]:
    seeded = random.Random(0)
    found: dict[str, Any] = {
        "conversation, 18 kB": json.loads(chat_body(18_000)),
        "source, 600 kB": sources(),
        "1,536 floats, list": [float(np.float32(seeded.gauss(0, 0.02))) for _ in range(1_536)],
    }
    if SHARED.is_dir():
        found["runs, 650 kB"] = recorded_runs()
    return found


def best(call: Callable[[Any], object], argument: object, times: list[float]) -> None:
    start = time.perf_counter()
    call(argument)
    calls = max(1, int(0.004 / (time.perf_counter() - start)))
    start = time.perf_counter()
    for _ in range(calls):
        call(argument)
    times.append((time.perf_counter() - start) / calls * 1e6)


def main() -> None:
    """Print the table."""
    assert build_info()["profile"] == "release", "a debug build says nothing about speed"
    objects = values()
    vector = np.array(objects["1,536 floats, list"], np.float32)
    jobs: dict[tuple[str, str, str], functools.partial[None]] = {}
    times: dict[tuple[str, str, str], list[float]] = {}
    sizes: dict[tuple[str, str], int] = {}

    def add(way: str, name: str, calls: tuple[Callable[[Any], bytes], Callable[[bytes], Any]], value: Any) -> None:
        stored = calls[0](value)
        assert np.array_equal(calls[1](stored), value) if isinstance(value, np.ndarray) else calls[1](stored) == value
        sizes[way, name] = len(stored)
        for kind, call, argument in (("pack", calls[0], value), ("unpack", calls[1], stored)):
            times[way, name, kind] = []
            jobs[way, name, kind] = functools.partial(best, call, argument, times[way, name, kind])

    for name, value in objects.items():
        for way, calls in WAYS.items():
            add(way, name, calls, value)
    add("sparecall, as a float32 array", "1,536 floats, list", WAYS["sparecall"], vector)
    gc.collect()
    gc.disable()
    for _ in range(ROUNDS):
        for job in jobs.values():
            job()
    print(f"us, minimum of {ROUNDS} interleaved rounds, gc off; in brackets the multiple of sparecall's time\n")
    print("| |", " | ".join(f"{name}: pack | unpack | stored" for name in objects), "|")
    print("|---" * (len(objects) * 3 + 1) + "|")
    for way in (*WAYS, "sparecall, as a float32 array"):
        cells = []
        for name in objects:
            if (way, name) not in sizes:
                cells += ["", "", ""]
                continue
            for kind in ("pack", "unpack"):
                found = min(times[way, name, kind])
                cells.append(f"{found:.2f} ({found / min(times['sparecall', name, kind]):.2f}x)")
            cells.append(f"{sizes[way, name]:,} ({sizes[way, name] / sizes['sparecall', name]:.3f})")
        print(f"| {way} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
