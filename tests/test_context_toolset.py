"""Which definitions of tools may go, in both wires' forms."""

from __future__ import annotations

from typing import Any

import pytest

from sparecall.context import ContextOptimizer
from sparecall.context.toolset import chosen, unneeded
from sparecall.errors import InvalidArgument


def openai(name: str, description: str = "") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": description, "parameters": {}}}


def anthropic(name: str, description: str = "") -> dict[str, Any]:
    return {"name": name, "description": description, "input_schema": {"type": "object"}}


@pytest.mark.parametrize("form", [openai, anthropic])
def test_what_was_called_or_is_spoken_of_stays(form: Any) -> None:
    tools = [
        form("read_file"),
        form("bookFlight"),
        form("paint", "Colours a wall with a brush."),
        form("weigh"),
        form("mine"),
    ]
    call = {"id": "1", "type": "function", "function": {"name": "read_file", "arguments": "{}"}}
    use = {"type": "tool_use", "id": "1", "name": "read_file", "input": {}}
    messages = [
        {"role": "assistant", "content": [use]} if form is anthropic else {"role": "assistant", "tool_calls": [call]}
    ]

    def gone(text: str, keep: tuple[str, ...] = ()) -> set[str]:
        return set(unneeded(tools, messages, text, keep))

    assert gone("") == {"bookFlight", "paint", "weigh", "mine"}
    assert gone("Two flights, please.", ("mine",)) == {"paint", "weigh"}
    assert gone("Take a brush to that wall.") == {"bookFlight", "weigh", "mine"}
    assert gone("A wall.") == {"bookFlight", "paint", "weigh", "mine"}  # one word of a description may be by chance


def test_where_nothing_speaks_for_any_all_stay() -> None:
    assert unneeded([openai("a"), openai("b")], [{"role": "user", "content": "Hello"}], "Hello", ()) == frozenset()


def test_what_the_provider_runs_or_caches_by_stays() -> None:
    tools = [
        {"type": "web_search_20250305", "name": "web_search"},
        {**anthropic("last"), "cache_control": {"type": "ephemeral"}},
        {"type": "custom", "custom": {"name": "grammar"}},
        {"type": "code_interpreter"},
        anthropic("weigh"),
        anthropic("kept"),
    ]
    assert unneeded(tools, [], "", ["kept"]) == {"weigh", "grammar"}


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (None, set()),
        ("required", set()),
        ({"type": "any"}, set()),
        ({"type": "tool", "name": "a"}, {"a"}),
        ({"type": "function", "function": {"name": "a"}}, {"a"}),
        ({"type": "allowed_tools", "allowed_tools": {"tools": [openai("a"), openai("b"), 5]}}, {"a", "b"}),
        ({"type": "function", "function": "a"}, set()),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_a_choice_names_its_tools(choice: Any, names: set[str]) -> None:
    assert chosen(choice) == names


def test_tools_go_only_where_the_budget_is_passed() -> None:
    tools = [openai("read"), openai("weigh", "word " * 50)]
    messages = [
        {"role": "user", "content": "Please read it."},
        {"role": "user", "content": "line\n" * 30},
        {"role": "user", "content": "read"},
    ]
    roomy = ContextOptimizer(budget=10_000, keep_tools=False, embedder=None).optimize(messages, tools)
    assert roomy.tools == tools
    whole = roomy.report.after
    tight = ContextOptimizer(budget=whole - 10, keep_tools=False, embedder=None).optimize(messages, tools)
    assert tight.tools == tools[:1]
    assert tight.messages == messages
    (gone,) = tight.report.removed
    assert (gone.change, gone.index, tight.report.lossless) == ("tool", 1, False)
    assert tight.report.saved == gone.tokens
    kept = ContextOptimizer(budget=whole - 10, keep_tools=False, embedder=None, keep_last=0)
    assert (
        kept.optimize(messages, tools, tool_choice={"type": "function", "function": {"name": "weigh"}}).tools == tools
    )
    with pytest.raises(InvalidArgument, match="keep_tools"):
        ContextOptimizer(budget=9, keep_tools="read")
