"""tokens: long texts, one short text per call, many per call, texts made to be slow, the first count of a process."""

from __future__ import annotations

import base64
import subprocess
import sys
import sysconfig
from pathlib import Path

from sparecall import tokens

from .common import Benchmark


def source() -> str:
    """Read the standard library's top-level modules: real text that every machine has."""
    return "".join(path.read_text("utf-8") for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")))


class CountLong(Benchmark):
    params = (["o200k_base", "cl100k_base"], ["code", "ideographs"])
    param_names = ("encoding", "kind")

    def setup(self, encoding: str, kind: str) -> None:
        super().setup()
        ideographs = "".join(chr(self.random.randrange(0x4E00, 0x9000)) for _ in range(100_000))
        self.text = source()[:1_000_000] if kind == "code" else ideographs

    def time_count(self, encoding: str, kind: str) -> None:
        tokens.count(self.text, encoding)

    def track_tokens(self, encoding: str, kind: str) -> int:
        return tokens.count(self.text, encoding)


class CountShort(Benchmark):
    params = ([60, 480],)
    param_names = ("length",)

    def setup(self, length: int) -> None:
        super().setup()
        text = source()
        self.texts = [text[at : at + length] for at in range(0, 1000 * length, length)]

    def time_count_each_of_1000(self, length: int) -> None:
        for text in self.texts:
            tokens.count(text)

    def time_count_many_1000(self, length: int) -> None:
        tokens.count_many(self.texts)

    def track_tokens(self, length: int) -> int:
        return sum(tokens.count_many(self.texts))


class CountHostile(Benchmark):
    params = (["one letter", "spaces", "random letters", "base64"], [100_000, 200_000, 400_000])
    param_names = ("kind", "n")

    def setup(self, kind: str, n: int) -> None:
        super().setup()
        self.text = {
            "one letter": lambda: "a" * n,
            "spaces": lambda: " " * n,
            "random letters": lambda: "".join(self.random.choices("abcdefghijklmnopqrstuvwxyz", k=n)),
            "base64": lambda: base64.b64encode(self.random.randbytes(n * 3 // 4)).decode(),
        }[kind]()

    def time_count(self, kind: str, n: int) -> None:
        tokens.count(self.text)

    def track_tokens(self, kind: str, n: int) -> int:
        return tokens.count(self.text)


class Messages(Benchmark):
    params = (["gpt-4o", "claude-sonnet-4-5"],)
    param_names = ("model",)
    number = 20

    def setup(self, model: str) -> None:
        super().setup()
        text = source()
        self.new = iter(range(200 * 480, len(text) - 480, 7))
        self.text = text
        self.messages = [
            {"role": "user" if i % 2 == 0 else "assistant", "content": text[i * 480 : (i + 1) * 480]}
            for i in range(200)
        ]
        self.counter = tokens.Counter(model)
        self.counter.messages(self.messages)

    def time_200_for_the_first_time(self, model: str) -> None:
        tokens.Counter(model).messages(self.messages)

    def time_200_again(self, model: str) -> None:
        self.counter.messages(self.messages)

    def time_200_grown_by_one(self, model: str) -> None:
        at = next(self.new)
        self.counter.messages([*self.messages, {"role": "user", "content": self.text[at : at + 480]}])

    def time_200_with_strings_made_anew(self, model: str) -> None:
        self.counter.messages([{"role": m["role"], "content": (" " + m["content"])[1:]} for m in self.messages])

    def track_tokens(self, model: str) -> int:
        return self.counter.messages(self.messages).total


class Incremental(Benchmark):
    """Texts of 200 kB that grow, are asked for parts, and are cut: prose, and one piece that never ends."""

    params = (["code", "one letter", "random letters", "ideographs"],)
    param_names = ("kind",)

    def setup(self, kind: str) -> None:
        super().setup()
        n = 200_000
        self.text = {
            "code": lambda: source()[:n],
            "one letter": lambda: "a" * n,
            "random letters": lambda: "".join(self.random.choices("abcdefghijklmnopqrstuvwxyz", k=n)),
            "ideographs": lambda: "".join(chr(self.random.randrange(0x4E00, 0x9000)) for _ in range(n // 3)),
        }[kind]()
        self.pieces = [self.text[at : at + 20] for at in range(0, len(self.text), 20)]
        self.prefix = tokens.Prefix(self.text)
        places = range(len(self.text) + 1)
        self.parts = [sorted(self.random.choices(places, k=2)) for _ in range(1000)]

    def time_append_20_characters_to_the_end(self, kind: str) -> None:
        append = tokens.Meter().append
        for piece in self.pieces:
            append(piece)

    def time_prefix(self, kind: str) -> None:
        tokens.Prefix(self.text)

    def time_count_1000_parts(self, kind: str) -> None:
        for start, stop in self.parts:
            self.prefix.count(start, stop)

    def time_truncate_to_1000_tokens(self, kind: str) -> None:
        for keep in ("head", "tail", "both"):
            tokens.truncate(self.text, 1000, keep=keep)

    def track_tokens(self, kind: str) -> int:
        return self.prefix.total

    def track_bytes_of_prefix(self, kind: str) -> int:
        return sys.getsizeof(self.prefix)


class FirstCount(Benchmark):
    params = (["o200k_base", "cl100k_base"],)
    param_names = ("encoding",)
    number = 1

    def track_milliseconds(self, encoding: str) -> float:
        program = (
            "import sys, time; from sparecall import tokens; start = time.perf_counter();"
            "tokens.count('a', sys.argv[1]); print((time.perf_counter() - start) * 1000)"
        )
        ran = subprocess.run([sys.executable, "-c", program, encoding], check=True, capture_output=True, text=True)
        return float(ran.stdout)
