"""What a `Counter` remembers of messages: enough to count only what is new, never stale, bounded, the same from any thread."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sparecall import tokens
from sparecall.tokens.memo import Memo

Message = dict[str, Any]

TOOL: Message = {"name": "find", "parameters": {"type": "object", "properties": {"path": {"type": "string"}}}}
CALL = {"name": "find", "arguments": '{"path": "a.py"}'}
CHAT: list[Message] = [
    {"role": "user", "content": "Where is it?"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": CALL}]},
    {"role": "tool", "tool_call_id": "c1", "content": "In line 7."},
]


def test_a_conversation_that_grew_counts_only_what_is_new() -> None:
    class Watched:
        counted: list[str]

        def count(self, text: str, /) -> int:
            self.counted.append(text)
            return len(text)

    watched = Watched()
    watched.counted = []
    counter = tokens.Counter("m", encoding=watched)
    messages: list[Message] = [{"role": "user", "content": f"text {i}"} for i in range(50)] + CHAT
    counter.messages(messages, [TOOL], system="Be brief.")
    watched.counted.clear()
    counter.messages([*messages, {"role": "user", "content": "the new one"}], [TOOL], system="Be brief.")
    assert sorted(watched.counted) == ["the new one", "user"]


def test_a_message_changed_in_place_is_counted_anew() -> None:
    counter = tokens.Counter("gpt-4o")
    message: Message = {"role": "user", "content": [{"type": "text", "text": "one two three"}]}
    before = counter.messages([message])
    message["content"][0]["text"] += " four"
    assert counter.messages([message]).total == before.total + 1
    message["content"] = "one"
    assert counter.messages([message]) == tokens.Counter("gpt-4o").messages([{"role": "user", "content": "one"}])
    message["name"] = "ann"
    assert counter.messages([message]).total > 8


def test_a_message_that_another_thread_changes_while_it_is_counted_is_not_remembered_as_it_was() -> None:
    message: Message = {"role": "user", "content": "one two three"}

    class Meddling:
        def count(self, text: str, /) -> int:
            if text == "one two three":
                message["content"] = "one"
            return len(text)

    counter = tokens.Counter("m", encoding=Meddling())
    counter.messages([message])
    assert len(counter._memo) == 0
    assert counter.messages([message]) == counter.messages([{"role": "user", "content": "one"}])


def test_values_that_are_equal_in_python_alone_are_told_apart() -> None:
    counter = tokens.Counter("gpt-4o")
    highs = [
        counter.messages([{"role": "user", "content": "x", "odd": value}]).high for value in (1, 1.0, True, "1", [1])
    ]
    alone = [
        tokens.Counter("gpt-4o").messages([{"role": "user", "content": "x", "odd": value}]).high
        for value in (1, 1.0, True, "1", [1])
    ]
    assert highs == alone


def test_what_is_remembered_is_bounded() -> None:
    memo = Memo(100_000)
    kept = []
    for i in range(5000):
        memo.put(("user", f"message {i}"), (1, 1, 1))
        kept.append(len(memo))
    assert 100 < max(kept) < 600
    assert memo.get(("user", "message 4999")) == (1, 1, 1)
    assert memo.get(("user", "message 0")) is None
    memo.put(("user", "x" * 100_000), (1, 1, 1))
    assert memo.get(("user", "x" * 100_000)) is None


def test_what_is_asked_for_again_outlives_what_is_not() -> None:
    memo = Memo(100_000)
    memo.put(("user", "asked for"), (1, 1, 1))
    for i in range(5000):
        memo.put(("user", f"message {i}"), (1, 1, 1))
        assert memo.get(("user", "asked for")) is not None


@pytest.mark.parametrize("memo_bytes", [0, 1000, 10**7])
def test_counts_do_not_depend_on_what_is_remembered(memo_bytes: int) -> None:
    counter = tokens.Counter("gpt-4o", memo_bytes=memo_bytes)
    messages = [
        *CHAT,
        {"role": "system", "name": "ann", "content": "x"},
        {"role": "user", "content": "long " * 100_000},
    ]
    counts = {counter.messages(messages, [TOOL]) for _ in range(3)}
    assert counts == {tokens.Counter("gpt-4o").messages(messages, [TOOL])}


def test_threads_that_count_at_once_agree() -> None:
    counter = tokens.Counter("claude-3-opus", memo_bytes=20_000)
    batches = [[{"role": "user", "content": f"{i} {j} words"} for i in range(60)] for j in range(8)]
    expected = [tokens.Counter("claude-3-opus").messages(batch) for batch in batches]
    wrong: list[int] = []

    def work() -> None:
        for _ in range(10):
            wrong.extend(j for j, batch in enumerate(batches) if counter.messages(batch) != expected[j])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
