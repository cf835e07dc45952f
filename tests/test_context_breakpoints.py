"""Breakpoints of a provider's cache that move on turn by turn: what was read stays read, and what goes out has them where they are now."""

from __future__ import annotations

import copy
import json
import random
from typing import Any, Literal

import msgspec
import pytest

from sparecall.context import ContextOptimizer
from sparecall.context.breakpoints import bare, breakpoints_of
from sparecall.context.stable import Fold

Messages = list[dict[str, Any]]


def with_breakpoints(messages: Messages, draw: random.Random) -> Messages:
    """Where a client tells the provider's cache to end: anywhere, in a text that it writes as a block for that, and never twice the same."""
    out = []
    for message in messages:
        content = message.get("content")
        if type(content) is str and content and message["role"] in {"user", "assistant"} and draw.random() < 0.3:
            content = [{"type": "text", "text": content}]
        if type(content) is list and draw.random() < 0.4:
            content = copy.deepcopy(content)
            blocks = [*content, *(one for block in content for one in block.get("content", ()) if type(one) is dict)]
            block = draw.choice(blocks)
            fields = list(block.items())
            mark = {"type": "ephemeral", "ttl": draw.choice(["5m", "1h"])}
            fields.insert(draw.randint(0, len(fields)), ("cache_control", mark))
            block.clear()
            block.update(fields)
        out.append({**message, "content": content} if content is not message.get("content") else message)
    return out


def talk(draw: random.Random, turns: int) -> Messages:
    """Calls whose results become smaller at birth, in blocks and as texts, and questions that show files again."""
    rows = [{"flight": f"HAT{draw.randrange(1000):03}", "seats": draw.randrange(20)} for _ in range(8)]
    listing = "\n".join(f"{n}: part_{n * 7 % 13} of the wing" for n in range(12))
    messages: Messages = []
    for turn in range(turns):
        pretty = json.dumps({"turn": turn, "rows": draw.sample(rows, 4)}, indent=2)
        result = draw.choice([pretty, listing, f"{listing}\n{turn}"])
        inner = draw.choice([result, [{"type": "text", "text": result}, {"type": "text", "text": f"that was {turn}"}]])
        question = draw.choice([f"And {turn}?", f"This is what I see:\n{listing}"])
        messages += [
            {"role": "user", "content": draw.choice([question, [{"type": "text", "text": question}]])},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": f"I look at {turn}."},
                    {"type": "tool_use", "id": f"t{turn}", "name": "look", "input": {"at": turn}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": f"t{turn}", "content": inner},
                    {"type": "text", "text": f"reminder {turn}: {listing}"},
                ][: draw.randint(1, 2)],
            },
            {"role": "assistant", "content": f"It is {turn}."},
        ]
    return messages


@pytest.mark.parametrize("share", [0.25, 8.0])
@pytest.mark.parametrize("turns", [None, "as_before"])
def test_what_was_read_stays_read_and_what_goes_out_is_what_a_new_optimizer_gives(
    share: float, turns: Literal["as_before"] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    added: list[Fold] = []
    add = Fold.add

    def counted(fold: Fold, *args: Any, **options: Any) -> Any:
        added.append(fold)
        return add(fold, *args, **options)

    monkeypatch.setattr(Fold, "add", counted)
    epochs = 0
    for seed in range(6):
        draw = random.Random(seed)
        messages = talk(draw, 8)
        options: dict[str, Any] = {
            "budget": int(share * sum(len(json.dumps(one)) for one in messages) / 4),
            "prefix": "stable",
            "expected_turns": turns,
            "keep_last": 2,
            "embedder": None,
            "form": "anthropic",
        }
        mine, end, before = ContextOptimizer(**options), 1, 0
        while end <= len(messages):
            history = with_breakpoints(messages[:end], draw)
            was = copy.deepcopy(history)
            added.clear()
            done = mine.optimize(history)
            atoms = len(added)
            new = ContextOptimizer(**options).optimize(history)
            assert repr(done.messages) == repr(new.messages)
            assert history == was
            # What a provider knows of a prefix is what was sent before.
            assert msgspec.structs.replace(done.report, prefix=None) == msgspec.structs.replace(new.report, prefix=None)
            assert done.report.prefix is not None
            assert atoms <= end - before
            if before:
                assert done.report.prefix.why in {"extended", "epoch"}
            epochs += done.report.prefix.why == "epoch"
            if not done.report.epochs:
                assert list(map(breakpoints_of, done.messages)) == list(map(breakpoints_of, history))
            before, end = end, end + draw.choice([2, 2, 4])
    assert epochs or share > 1


def test_what_a_message_says_is_the_same_wherever_its_breakpoints_are() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    text, result = (
        {"type": "text", "text": "a"},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "b"}]},
    )
    plain = {"role": "user", "content": "a"}
    for content in ([text], [{**text, **mark}], [{**mark, **text}]):
        assert bare({"role": "user", "content": content}) == plain
    assert bare({"role": "user", "content": [{**text, "citations": None}]}) != plain
    whole = {"role": "user", "content": [result, text]}
    marked = {"role": "user", "content": [{**result, "content": [{**result["content"][0], **mark}], **mark}, text]}
    assert json.dumps(bare(marked)) == json.dumps(bare(whole)) == json.dumps(whole)
    found = [
        breakpoints_of(one)
        for one in (
            plain,
            whole,
            marked,
            {"role": "user", "content": [text]},
            {"role": "user", "content": [{**text, **mark}]},
        )
    ]
    assert found[:2] == [None, None]
    assert len(set(found)) == 4
