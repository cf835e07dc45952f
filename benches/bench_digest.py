"""Reading a chat-completion body: its digest and whether its answer may be cached."""

from __future__ import annotations

import itertools
import json
import sysconfig
from pathlib import Path

from sparecall import digest, errors

from .common import Benchmark

SIZES = (1_000, 18_000, 600_000)

# Two spellings, and whether they mean the same; None where a safe reader refuses the second.
PAIRS: tuple[tuple[bytes, bytes, bool | None], ...] = (
    (b'{"a":1,"b":2}', b'{ "b": 2, "a": 1 }', True),
    (b'{"a":"A/\xc3\xa9"}', b'{"\\u0061":"\\u0041\\/\\u00e9"}', True),
    (b'{"a":"\\ud83d\\ude00"}', b'{"a":"\xf0\x9f\x98\x80"}', True),
    (b'{"a":1}', b'{"a":1.0}', True),
    (b'{"a":0}', b'{"a":-0}', True),
    (b'{"a":100}', b'{"a":1e2}', True),
    (b'{"a":1e400}', b'{"a":10e399}', True),
    (b'{"a":1}', b'{"a":1,"stream":true}', True),
    (b'{"a":1}', b'{"a":"1"}', False),
    (b'{"a":1}', b'{"a":true}', False),
    (b'{"a":null}', b"{}", False),
    (b'{"a":9007199254740992.0}', b'{"a":9007199254740993.0}', False),
    (b'{"a":100000000000000000000}', b'{"a":100000000000000000001}', False),
    (b'{"a":1e400}', b'{"a":1e401}', False),
    (b'{"a":"\\ud800"}', b'{"a":"\\ufffd"}', False),
    (b'{"a":2}', b'{"a":1,"a":2}', None),
)


def chat_body(size: int) -> bytes:
    """About `size` bytes of request as an SDK sends it: turns of source code, with its quotes and line ends escaped."""
    source = "".join(
        path.read_text("utf-8") for path in sorted(Path(sysconfig.get_path("stdlib"), "json").glob("*.py"))
    )
    turns = itertools.cycle(range(0, len(source) - 2_000, 2_000))
    body = {"model": "gpt-4o", "temperature": 0.2, "max_tokens": 256, "stream": True, "n": 1}
    messages = [{"role": "system", "content": "You are a careful reader of Python. Answer in one sentence."}]
    while (missing := size - len(json.dumps({**body, "messages": messages}))) > 40:
        start = next(turns)
        role = "assistant" if len(messages) % 2 == 0 else "user"
        messages.append({"role": role, "content": source[start : start + min(2_000, missing - 40)]})
    return json.dumps({**body, "messages": messages}).encode()


def wrong_verdicts() -> int:
    wrong = 0
    for one, other, same in PAIRS:
        verdict: bool | None
        try:
            verdict = digest.inspect(one, scope="").digest == digest.inspect(other, scope="").digest
        except errors.InvalidDocument:
            verdict = None
        wrong += verdict is not same
    return wrong


class Inspect(Benchmark):
    """One body, seen before or not: nothing is remembered between calls."""

    params = SIZES
    param_names = ("bytes",)

    def setup(self, size: int) -> None:
        super().setup(size)
        self.body = chat_body(size)

    def time_inspect(self, _size: int) -> None:
        digest.inspect(self.body, scope="team/user")

    def track_wrong_verdicts(self, _size: int) -> int:
        return wrong_verdicts()


class Compare(Benchmark):
    """Two bodies that differ at the end of the last message."""

    params = SIZES
    param_names = ("bytes",)

    def setup(self, size: int) -> None:
        super().setup(size)
        self.one = chat_body(size)
        self.other = self.one[:-5] + b"!" + self.one[-5:]

    def time_compare(self, _size: int) -> None:
        digest.compare(self.one, self.other)

    def track_differences_missed(self, _size: int) -> int:
        return int(digest.compare(self.one, self.other) is None)
