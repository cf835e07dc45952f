"""Hypothesis strategies for legal conversations of both grammars, with all that is odd in them, and ways to break them.

Texts imitate markers, hold lone surrogates, whitespace, JSON and logs; arguments need not be JSON; calls are made in parallel
and may be open at the end; unknown fields and blocks stand everywhere they may.
"""

from __future__ import annotations

import copy
import random
from typing import Any

from hypothesis import strategies as st

Messages = list[dict[str, Any]]

TEXTS = st.sampled_from(
    [
        "What does the fleet cost?",
        "ok",
        "[removed 120 tokens: h:0123456789abcdef]",
        "h:0123456789abcdef",
        "lone \ud800 surrogate",
        "日本語のテキスト 🧵\u200d",
        '{"rows": [{"id": "R-1", "price": 10.5}, {"id": "R-2", "price": 11}]}',
        "Traceback (most recent call last):\n  File \"a.py\", line 3\nKeyError: 'R-7'",
        "2026-01-02 03:04:05 INFO started\n" * 20,
        "\n  leading and trailing  \n",
        "line\r\nline\x00\x1b[31m",
    ]
) | st.text(min_size=1, max_size=40).filter(lambda text: not text.isspace())
STRIPPED = TEXTS.map(str.rstrip)
ARGUMENTS = st.sampled_from(["{}", '{"id": "R-1", "n": 3}', "not json", "", '{"a": ', '"\\ud800"'])
INPUTS = st.sampled_from([{}, {"id": "R-1"}, {"deep": [{"a": None}, 1.5, True]}, {"": "\ud800"}])
NAMES = st.sampled_from(["find", "read_file", "shell"])
ODD = st.dictionaries(st.sampled_from(["x_trace", "metadata", "annotations"]), st.sampled_from([None, 1, "a", [1, {}]]), max_size=1)  # fmt: skip
SHARE = st.integers(0, 99)


def _with(*choices: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """A choice of messages or blocks, now and then with a field nobody knows."""
    return st.tuples(st.one_of(*choices), ODD | st.just({})).map(lambda pair: {**pair[1], **pair[0]})


def _block(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(kind), **fields})


def _message(role: str, content: st.SearchStrategy[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({"role": st.just(role), "content": content, **fields})


# --- OpenAI ---------------------------------------------------------------------------------------

TEXT = _with(_block("text", text=TEXTS))
_IMAGE = _block("image_url", image_url=st.just({"url": "https://example.com/a.png", "detail": "low"}))
_AUDIO = _block("input_audio", input_audio=st.just({"data": "UklGRg==", "format": "wav"}))
_USER = _with(_message("user", TEXTS | st.just("") | st.lists(_with(TEXT, _IMAGE, _AUDIO), min_size=1, max_size=3)))
_SAYS = _with(
    _message("assistant", TEXTS | st.just("") | st.lists(TEXT, min_size=1, max_size=2)),
    _message("assistant", st.none(), refusal=TEXTS),
)
_RULES = _with(_message("system", TEXTS | st.lists(TEXT, min_size=1, max_size=2)), _message("developer", TEXTS))
_CALL = st.tuples(NAMES, ARGUMENTS, ODD)
_RESULT = st.tuples(TEXTS | st.just("") | st.lists(TEXT, min_size=1, max_size=3), ODD, SHARE)
_ROUND = st.tuples(
    st.none() | TEXTS | st.just("") | st.lists(TEXT, min_size=1, max_size=2),
    st.lists(st.tuples(_CALL, _RESULT), min_size=1, max_size=3),
)
_LEGACY = st.tuples(NAMES, ARGUMENTS, TEXTS | st.just(""))


def _openai_round(number: int, content: Any, pairs: list[Any], left_open: int = 0) -> Messages:
    calls, results = [], []
    for k, ((name, arguments, odd), (text, beside, order)) in enumerate(pairs):
        one = f"call_{number}_{k}"
        calls.append({"id": one, "type": "function", "function": {"name": name, "arguments": arguments}, **odd})
        results.append((order, {"role": "tool", "tool_call_id": one, "content": text, **beside}))
    results.sort(key=lambda pair: pair[0])  # answered in any order
    kept = results[: len(results) - left_open]
    return [{"role": "assistant", "content": content, "tool_calls": calls}, *[message for _, message in kept]]


def _openai(turns: list[tuple[str, Any]], last: Any, left_open: int) -> Messages:
    messages: Messages = []
    for number, (kind, turn) in enumerate(turns):
        if kind == "round":
            messages += _openai_round(number, *turn)
        elif kind == "legacy":
            name, arguments, text = turn
            messages.append(
                {"role": "assistant", "content": None, "function_call": {"name": name, "arguments": arguments}}
            )
            messages.append({"role": "function", "name": name, "content": text})
        else:
            messages.append(turn)
    if last is not None:
        messages += _openai_round(len(turns), *last, left_open=min(left_open, len(last[1])))
    return copy.deepcopy(messages)  # what strategies sample is shared


OPENAI = st.builds(
    _openai,
    st.lists(
        st.one_of(
            *[st.tuples(st.just("message"), one) for one in (_USER, _SAYS, _RULES)],
            st.tuples(st.just("round"), _ROUND),
            st.tuples(st.just("round"), _ROUND),
            st.tuples(st.just("legacy"), _LEGACY),
        ),
        min_size=1,
        max_size=7,
    ),
    st.none() | _ROUND,
    st.integers(1, 3),
)

# --- Anthropic ------------------------------------------------------------------------------------

_CACHED = _block("text", text=TEXTS, cache_control=st.just({"type": "ephemeral"}))
_CITED = _block("text", text=STRIPPED, citations=st.just([{"type": "char_location", "cited_text": "a"}]))
_PICTURE = _block("image", source=st.just({"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}))
_DOCUMENT = _block("document", source=st.just({"type": "text", "media_type": "text/plain", "data": "a page"}))
_THOUGHT = st.one_of(
    _block("thinking", thinking=TEXTS | st.just(""), signature=st.just("c2lnbmF0dXJl")),
    _block("redacted_thinking", data=st.just("ZW5jcnlwdGVk")),
)
_THOUGHTS = st.just([]) | st.lists(_THOUGHT, min_size=1, max_size=2)
_SAID = _block("text", text=STRIPPED)
_SEARCHED = st.just(
    [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "a"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
    ]
)
_ASKS = _with(_message("user", TEXTS | st.lists(st.one_of(TEXT, _CACHED, _PICTURE, _DOCUMENT), min_size=1, max_size=3)))
_ANSWERS = st.one_of(
    _message("assistant", STRIPPED),
    st.builds(
        lambda thoughts, searched, more, said: {"role": "assistant", "content": [*thoughts, *searched, *more, *said]},
        _THOUGHTS,
        st.just([]) | _SEARCHED,
        _THOUGHTS,
        st.lists(st.one_of(_SAID, _CITED), min_size=1, max_size=2),
    ),
)
_INSIDE = TEXTS | st.just("") | st.none() | st.lists(st.one_of(TEXT, _CACHED, _PICTURE), max_size=3)
_LOOP = st.tuples(
    _THOUGHTS,
    st.just([]) | st.lists(_SAID, min_size=1, max_size=1),
    st.lists(st.tuples(NAMES, INPUTS, _INSIDE, SHARE), min_size=1, max_size=3),
    st.just([]) | st.lists(st.one_of(TEXT, _PICTURE), min_size=1, max_size=2),
    st.booleans(),
)


def _loop(number: int, thoughts: Any, said: Any, calls: Any, more: Any, split: Any, left_open: int = 0) -> Messages:
    uses, results = [], []
    for k, (name, given, inside, order) in enumerate(calls):
        one = f"toolu_{number}_{k}"
        uses.append({"type": "tool_use", "id": one, "name": name, "input": given})
        result = {"type": "tool_result", "tool_use_id": one}
        results.append((order, result if inside is None else {**result, "content": inside, "is_error": order > 90}))
    results.sort(key=lambda pair: pair[0])
    blocks = [block for _, block in results]
    assistant = {"role": "assistant", "content": [*thoughts, *said, *uses]}
    if left_open:
        kept = blocks[: len(blocks) - left_open]
        return [assistant, {"role": "user", "content": kept}] if kept else [assistant]
    if split:  # the provider joins messages of one role
        return [assistant, *[{"role": "user", "content": [block]} for block in blocks]]
    return [assistant, {"role": "user", "content": [*blocks, *more]}]


def _anthropic(first: Any, system: Any, turns: list[tuple[str, Any]], last: Any, left_open: int) -> Messages:
    messages: Messages = [] if system is None else [{"role": "system", "content": system}]
    messages.append(first)
    for number, (kind, turn) in enumerate(turns):
        messages += _loop(number, *turn) if kind == "loop" else [turn]
    if last is not None:
        messages += _loop(len(turns), *last, left_open=min(left_open, len(last[2])))
    return copy.deepcopy(messages)


ANTHROPIC = st.builds(
    _anthropic,
    _ASKS,
    st.none() | TEXTS,
    st.lists(
        st.one_of(
            *[st.tuples(st.just("message"), one) for one in (_ASKS, _ANSWERS)],
            st.tuples(st.just("loop"), _LOOP),
            st.tuples(st.just("loop"), _LOOP),
        ),
        max_size=7,
    ),
    st.none() | _LOOP,
    st.integers(1, 3),
)
# What no provider takes, but somebody will send: any JSON where messages have their fields.
_ANY = st.recursive(
    st.sampled_from([None, True, 5, 0.5, "", " ", "a", "text", "tool_use", "tool_result", "thinking", "call_0"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "id", "tool_use_id", "content", "function", "name", "arguments", "input"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
GARBAGE = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "user", "assistant", "assistant", "tool", "function", "x"]),
            "content": _ANY,
        },
        optional=dict.fromkeys(("tool_calls", "function_call", "tool_call_id", "refusal", "name"), _ANY),
    ),
    max_size=5,
)
CONVERSATIONS = st.one_of(st.tuples(st.just("openai"), OPENAI), st.tuples(st.just("anthropic"), ANTHROPIC))


def with_orphans(form: str, messages: Messages, seed: int) -> Messages:
    """A copy in which some calls or results were lost, repeated or made up, as a careless trimmer leaves them."""
    draw = random.Random(seed)
    broken: Messages = []
    for message in copy.deepcopy(messages):
        fate = draw.random()
        if form == "openai":
            if message["role"] == "tool" and fate < 0.3:
                continue
            if message.get("tool_calls") and fate < 0.2:
                continue
            broken.append(message)
            if fate > 0.85:
                broken.append({"role": "tool", "tool_call_id": f"lost_{len(broken)}", "content": "lost"})
        else:
            if isinstance(message["content"], list) and message["role"] != "system":
                kept = [
                    one
                    for one in message["content"]
                    if one["type"] not in {"tool_use", "tool_result"} or draw.random() > 0.2
                ]
                while kept and message["role"] == "assistant" and kept[-1]["type"] in {"thinking", "redacted_thinking"}:
                    kept.pop()
                if not kept:
                    continue
                message["content"] = kept
            broken.append(message)
            if message["role"] == "user" and fate > 0.85 and isinstance(message["content"], list):
                message["content"].insert(0, {"type": "tool_result", "tool_use_id": f"lost_{len(broken)}"})
    return broken
