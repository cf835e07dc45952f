"""Counts the same texts with sparecall, tiktoken, quicktok and toktok, one thread each, and prints one markdown table.

Every text is new to the process in each timed pass, and all take turns on it. The standard library's source is the
text, so that the command needs nothing else; counts are compared before a time is believed.
"""

from __future__ import annotations

import base64
import hashlib
import os
import random
import statistics
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import quicktok
import tiktoken
import toktok

from sparecall import _core, tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENCODING = "o200k_base"
PASSES = 5


def tiktoken_offline() -> tiktoken.Encoding:
    """Load tiktoken with the vocabulary from our wheel, whose SHA-256 it checks."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TIKTOKEN_CACHE_DIR"] = cache
        lines = [b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in _core._tokens_ranks(ENCODING).items()]
        url = f"https://openaipublic.blob.core.windows.net/encodings/{ENCODING}.tiktoken"
        Path(cache, hashlib.sha1(url.encode()).hexdigest()).write_bytes(b"".join(lines))  # noqa: S324
        return tiktoken.get_encoding(ENCODING)


def inputs() -> Iterator[tuple[str, list[list[str]]]]:
    """Per row its name and, for each pass, the texts of that pass; a row whose name ends with "batch" is one call."""
    seeded = random.Random(0)
    files = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
    source = "".join(path.read_text("utf-8", errors="replace") for path in files if "site-packages" not in path.parts)

    def slices(length: int, number: int) -> list[list[str]]:
        starts = range(0, PASSES * length * number, length)
        texts = [source[start : start + length] for start in starts]
        return [texts[i * number : (i + 1) * number] for i in range(PASSES)]

    def made(make: Callable[[], str]) -> list[list[str]]:
        return [[make()] for _ in range(PASSES)]

    yield "code, 1 MB", slices(1_000_000, 1)
    yield "code, 480-character texts, one call each", slices(480, 2_000)
    yield "code, 480-character texts, one batch", slices(480, 4_000)
    yield "code, 60-character texts, one call each", slices(60, 10_000)
    yield "code, 60-character texts, one batch", slices(60, 20_000)
    yield (
        "random ideographs, 600 kB",
        made(lambda: "".join(chr(seeded.randrange(0x4E00, 0x9000)) for _ in range(200_000))),
    )
    yield "base64, 200 kB", made(lambda: base64.b64encode(seeded.randbytes(150_000)).decode())
    yield "one random word, 200 kB", made(lambda: "".join(seeded.choices("abcdefghijklmnopqrstuvwxyz", k=200_000)))
    for name, unit in {"one letter, 200 kB": "a", "underscores, 200 kB": "_", "spaces, 200 kB": " "}.items():
        yield name, [[unit * (200_000 + i)] for i in range(PASSES)]


def main() -> None:
    """Print the table."""
    reference, quick = tiktoken_offline(), quicktok.get_encoding(ENCODING)
    contenders: dict[str, Callable[[str], int]] = {
        "sparecall": tokens.count,
        "tiktoken": lambda text: len(reference.encode_ordinary(text)),
        "quicktok": quick.count,
        "toktok": lambda text: toktok.batch_count([text], ENCODING, 1)[0],
    }
    # The others count one text after the other there too: tiktoken has no such call, quicktok's makes ids and needs numpy.
    batches: dict[str, Callable[[list[str]], list[int]]] = {
        "sparecall": lambda texts: tokens.count_many(texts, ENCODING),
        "toktok": lambda texts: toktok.batch_count(texts, ENCODING, 1),
    }
    for count in contenders.values():
        count("load the vocabulary")
    others = [name for name in contenders if name != "sparecall"]
    print(f"MB/s, {ENCODING}, median of {PASSES} passes; in brackets sparecall's speed as a multiple\n")
    print("| | sparecall |", " | ".join(others), "|")
    print("|---|", "---|" * len(contenders), sep="")
    for name, passes in inputs():
        speeds: dict[str, list[float]] = {contender: [] for contender in contenders}
        for texts in passes:
            size = sum(len(text.encode()) for text in texts) / 1e6
            counts = {}
            for contender, count in contenders.items():
                start = time.perf_counter()
                if name.endswith("batch") and contender in batches:
                    counts[contender] = batches[contender](texts)
                else:
                    counts[contender] = [count(text) for text in texts]
                speeds[contender].append(size / (time.perf_counter() - start))
            wrong = [contender for contender in contenders if counts[contender] != counts["tiktoken"]]
            if wrong:
                print(f"{name}: counts of {', '.join(wrong)} differ from tiktoken's")
        medians = {contender: statistics.median(of) for contender, of in speeds.items()}
        ours = medians.pop("sparecall")
        cells = [f"{speed:.1f} ({ours / speed:.2f}x)" for speed in medians.values()]
        print(f"| {name} | {ours:.1f} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
