"""`sparecall.context.grammar`: each rule of each provider broken once by hand; atoms, edits and repairs in single cases."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from sparecall.context.grammar import Orphan, faults, form_of, read, validate, write
from sparecall.errors import InvalidArgument, InvalidConversation


def user(content: Any = "hi", **beside: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **beside}


def says(content: Any = "yes", **beside: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **beside}


def calling(*ids: str, content: Any = None) -> dict[str, Any]:
    calls = [{"id": one, "type": "function", "function": {"name": "find", "arguments": "{}"}} for one in ids]
    return says(content, tool_calls=calls)


def tool(one: str, content: Any = "found", **beside: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": one, "content": content, **beside}


def uses(*ids: str, before: tuple[Any, ...] = ()) -> dict[str, Any]:
    return says([*before, *[{"type": "tool_use", "id": one, "name": "find", "input": {}} for one in ids]])


def results(*ids: str, after: tuple[Any, ...] = ()) -> dict[str, Any]:
    return user([*[{"type": "tool_result", "tool_use_id": one, "content": "found"} for one in ids], *after])


def text(value: Any = "t", **beside: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **beside}


THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
IMAGE_URL = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
CUSTOM = {"id": "a", "type": "custom", "custom": {"name": "sql", "input": "select"}}

OPENAI = {
    "empty": ([], None, "none"),
    "role": ([user(), {"role": "narrator", "content": "x"}], 1, "role is 'narrator'"),
    "result first": ([tool("a")], 0, "no result of a call"),
    "result after a text": ([user(), says(), tool("a")], 2, "no result of a call"),
    "result after another": ([user(), calling("a"), user(), tool("a")], 1, "no result directly after"),
    "unknown id": ([user(), calling("a", "b"), tool("a"), tool("c")], 3, "has the id 'c'"),
    "result twice": ([user(), calling("a"), tool("a"), tool("a")], 3, "already"),
    "no id": ([user(), calling("a"), {"role": "tool", "content": "found"}], 2, "no tool_call_id"),
    "call unanswered": ([user(), calling("a", "b"), tool("b"), user()], 1, "'a' has no result"),
    "ids twice": ([user(), calling("a", "a")], 1, "two of its calls"),
    "call without id": ([user(), calling("")], 1, "has no id"),
    "call without a name": ([user(), says(None, tool_calls=[{"id": "a", "type": "function"}])], 1, "names no function"),
    "arguments of an object": (
        [user(), says(None, tool_calls=[{"id": "a", "function": {"name": "f", "arguments": {}}}])],
        1,
        "arguments",
    ),
    "no calls": ([user(), says(None, tool_calls=[])], 1, "no list of calls"),
    "the user's calls": ([user(tool_calls=calling("a")["tool_calls"])], 0, "role user has tool_calls"),
    "no content": ([user(None)], 0, "no content"),
    "assistant without content": ([user(), says(None)], 1, "no content"),
    "tool without content": ([user(), calling("a"), tool("a", None)], 2, "no content"),
    "no parts": ([user([])], 0, "empty list"),
    "content of a number": ([user(5)], 0, "content is int"),
    "part without type": ([user([{"text": "a"}])], 0, "no type"),
    "text without text": ([user([{"type": "text"}])], 0, "type text and has none"),
    "image in instructions": ([{"role": "system", "content": [IMAGE_URL]}], 0, "cannot hold"),
    "image in a result": ([user(), calling("a"), tool("a", [IMAGE_URL])], 2, "cannot hold"),
    "block of another wire": ([user([{"type": "tool_result", "tool_use_id": "a"}])], 0, "cannot hold"),
}
ANTHROPIC = {
    "empty": ([], None, "none of the user"),
    "system alone": ([{"role": "system", "content": "s"}], None, "none of the user"),
    "assistant first": ([says()], 0, "first message"),
    "assistant after system": ([{"role": "system", "content": "s"}, says(), user()], 1, "first message"),
    "role": ([user(), {"role": "tool", "content": "x"}], 1, "role is 'tool'"),
    "system in the middle": ([user(), {"role": "system", "content": "s"}, user()], 1, "role is 'system'"),
    "call unanswered": ([user(), uses("a"), user()], 1, "'a' has no result"),
    "one of two unanswered": ([user(), uses("a", "b"), results("b"), says()], 1, "'a' has no result"),
    "result without call": ([user(), says(), results("a")], 2, "has the id 'a'"),
    "result of an earlier call": ([user(), uses("a"), results("a"), says(), results("a")], 4, "has the id 'a'"),
    "result twice": ([user(), uses("a"), results("a", "a")], 2, "already"),
    "result without id": ([user(), uses("a"), user([{"type": "tool_result"}])], 2, "without tool_use_id"),
    "text before results": (
        [user(), uses("a"), user([text(), {"type": "tool_result", "tool_use_id": "a"}])],
        2,
        "after other content",
    ),
    "results after another message": ([user(), uses("a"), user(), results("a")], 1, "no result directly after"),
    "ids twice": ([user(), uses("a"), results("a"), uses("a"), results("a")], 3, "two calls have the id"),
    "empty text": ([user([text("")])], 0, "empty text"),
    "blank text": ([user([text(" \n")])], 0, "empty text"),
    "empty content": ([user("")], 0, "text is empty"),
    "blank content": ([user(), says(" "), user()], 1, "text is empty"),
    "no blocks": ([user(), says([]), user()], 1, "empty list"),
    "no content": ([user(None)], 0, "content is NoneType"),
    "block without type": ([user([{"text": "a"}])], 0, "no type"),
    "empty text in a result": (
        [user(), uses("a"), user([{"type": "tool_result", "tool_use_id": "a", "content": [text("")]}])],
        2,
        "empty text",
    ),
    "call in a result": (
        [user(), uses("a"), user([{"type": "tool_result", "tool_use_id": "a", "content": [THOUGHT]}])],
        2,
        "cannot hold",
    ),
    "content of a result": (
        [user(), uses("a"), user([{"type": "tool_result", "tool_use_id": "a", "content": 5}])],
        2,
        "content of its content[0] is int",
    ),
    "the user's thinking": ([user([THOUGHT])], 0, "cannot hold"),
    "the user's call": ([user(uses("a")["content"])], 0, "cannot hold"),
    "the assistant's result": ([user(), says(results("a")["content"])], 1, "cannot hold"),
    "part of another wire": ([user([IMAGE_URL])], 0, "cannot hold"),
    "thinking without signature": ([user(), says([{**THOUGHT, "signature": ""}, text()]), user()], 1, "signature"),
    "redacted without data": ([user(), says([{"type": "redacted_thinking"}, text()]), user()], 1, "its data"),
    "thinking last": ([user(), says([text(), THOUGHT]), user()], 1, "last block is thinking"),
    "call without a name": ([user(), says([{"type": "tool_use", "id": "a", "input": {}}])], 1, "without id or name"),
    "input of a text": (
        [user(), says([{"type": "tool_use", "id": "a", "name": "f", "input": "{}"}])],
        1,
        "is no object",
    ),
    "whitespace at the end": ([user(), says("and then ")], 1, "ends with whitespace"),
    "whitespace at the end of a block": ([user(), says([text("and then\n")])], 1, "ends with whitespace"),
}


@pytest.mark.parametrize(
    ("form", "messages", "index", "what"),
    [("openai", *case) for case in OPENAI.values()] + [("anthropic", *case) for case in ANTHROPIC.values()],
    ids=[f"openai {name}" for name in OPENAI] + [f"anthropic {name}" for name in ANTHROPIC],
)
def test_each_fault_is_refused_where_it_is(form: Any, messages: Any, index: int | None, what: str) -> None:
    with pytest.raises(InvalidConversation) as raised:
        validate(messages, form=form)
    assert raised.value.index == index
    assert what in str(raised.value)


def test_the_tools_are_held_against_their_rules() -> None:
    two = [{"type": "function", "function": {"name": "find"}}] * 2
    with pytest.raises(InvalidConversation, match="two tools have the name 'find'"):
        validate([user()], form="openai", tools=two)
    with pytest.raises(InvalidConversation, match="two tools have the name 'find'"):
        validate([user()], form="anthropic", tools=[{"name": "find", "input_schema": {}}] * 2)
    with pytest.raises(InvalidConversation, match="none is defined"):
        validate([user(), uses("a"), results("a")], tools=[])
    validate([user(), uses("a"), results("a")], tools=None)  # nobody said which there are


@pytest.mark.parametrize(
    ("form", "messages"),
    [
        ("openai", [user(), calling("a", "b")]),
        ("openai", [user(), calling("a", "b"), tool("b")]),
        ("openai", [calling("a"), tool("a"), says(), calling("a"), tool("a")]),  # ids may come again in another turn
        ("openai", [user(), says(None, tool_calls=[CUSTOM]), tool("a", "")]),
        ("openai", [user(), says(None, refusal="no"), user([{"type": "of_next_year", "x": 1}])]),
        ("openai", [says("", tool_calls=calling("a")["tool_calls"]), tool("a", [text("")])]),
        ("anthropic", [user(), uses("a", "b")]),
        ("anthropic", [user(), uses("a", "b"), results("b")]),
        ("anthropic", [user(), user(), says(), says(), uses("a"), results("a"), user()]),
        ("anthropic", [user(), uses("a", "b"), results("b"), results("a")]),
        ("anthropic", [user(), says("")]),
        ("anthropic", [user(), says([])]),
        ("anthropic", [user(), says([{"type": "of_next_year", "x": 1}])]),
    ],
)
def test_what_the_providers_take_is_taken(form: Any, messages: Any) -> None:
    validate(messages, form=form)


def test_no_fault_quotes_a_text() -> None:
    for form, cases in (("openai", OPENAI), ("anthropic", ANTHROPIC)):
        for messages, _, _ in cases.values():
            marked = json.loads(json.dumps(messages).replace('"hi"', '"secret"').replace('"found"', '"secret"'))
            assert all("secret" not in fault.what + fault.next_step for fault in faults(marked, form=form))


# --- atoms ---------------------------------------------------------------------------------------


def test_calls_stay_with_their_results() -> None:
    messages = [
        {"role": "system", "content": "s"}, user(), calling("a", "b"), tool("b"), tool("a"), says(),
        says(None, function_call={"name": "f", "arguments": ""}), {"role": "function", "name": "f", "content": "1"},
        {"role": "developer", "content": "d"}, user(),
    ]  # fmt: skip
    conversation = read(messages)
    assert conversation.form == "openai"
    assert conversation.atoms == ((0,), (1,), (2, 3, 4), (5,), (6, 7), (8,), (9,))
    assert conversation.fixed == {0, 8}
    assert [(part.message, part.kind) for part in conversation.parts] == [
        (1, "text"), (3, "result"), (4, "result"), (5, "text"), (7, "result"), (9, "text"),
    ]  # fmt: skip
    assert conversation.required({2}) == (0, 5)
    assert conversation.required(()) == (0, 5, 6)


def test_a_turn_of_thinking_and_calls_stays_whole() -> None:
    messages = [
        user(), says(), user("find it"), says([THOUGHT]), uses("a", "b", before=(text(),)), results("a"),
        results("b", after=(text("and hurry"),)), uses("c"), results("c"),
    ]  # fmt: skip
    conversation = read(messages)
    assert conversation.form == "anthropic"
    assert conversation.atoms == ((0,), (1,), (2,), (3, 4, 5, 6), (7, 8))
    assert conversation.required({4}) == (2, 3)  # the turn begins with its thinking, and the user's words before it
    assert conversation.required({1, 2, 3, 4}) == (0,)


def test_what_is_asked_last_stays_where_an_answer_would_be_the_last() -> None:
    conversation = read([user("one"), says("two"), user("three")], "anthropic")
    assert conversation.required({1}) == (0, 2)
    assert read([user("one"), says("two"), user("three")], "openai").required({1}) == ()


def test_open_calls_never_go() -> None:
    conversation = read([user(), calling("a", "b"), tool("b")])
    assert conversation.open_calls == ("a",)
    assert conversation.fixed == {1, 2}
    conversation = read([user(), uses("a", "b"), results("b")])
    assert conversation.open_calls == ("a",)
    assert conversation.fixed == {1, 2}
    assert read([user(), says("It is")], "anthropic").fixed == {1}


def test_results_that_name_no_call_belong_to_those_before_them() -> None:
    unnamed = [{"role": "tool", "content": "found", "tool_call_ids": ["a"]}, {"role": "tool", "content": "more"}]
    messages = [user(), calling("a", "b"), *unnamed, user()]
    conversation = read(messages)
    assert conversation.atoms == ((0,), (1, 2, 3), (4,))
    assert conversation.orphans == ()
    assert conversation.messages[2] is unnamed[0]


def test_forms_are_told_apart() -> None:
    assert form_of([user(), says()]) is None
    assert form_of([user(), calling("a")]) == "openai"
    assert form_of([{"role": "developer", "content": ""}]) == "openai"
    assert form_of([user([IMAGE_URL])]) == "openai"
    assert form_of([user(), says([THOUGHT, text()])]) == "anthropic"
    assert form_of([user([text("a", cache_control={"type": "ephemeral"})])]) == "anthropic"
    conversation = read([user(), says()])
    assert (conversation.form, conversation.certain) == ("openai", False)
    assert read([user()], "anthropic").certain
    assert read([user()], model="anthropic/claude-sonnet-4-5").form == "anthropic"
    assert read([user()], model="gpt-4o").certain
    assert read([user(), calling("a")], model="claude-sonnet-4-5").form == "openai"  # through another's wire


# --- orphans -------------------------------------------------------------------------------------


def test_orphans_are_dropped_by_name() -> None:
    messages = [tool("x"), user(), calling("a", "b", content="let me see"), tool("b"), user(), calling("c"), user()]
    conversation = read(messages)
    assert conversation.orphans == (
        Orphan(0, "x", "it is no result of a call directly before it", ()),
        Orphan(2, "a", "its call has no result directly after it", ("tool_calls",)),
        Orphan(5, "c", "its call has no result directly after it", ("tool_calls",)),
    )
    assert list(conversation.origin) == [1, 2, 3, 4, 6]
    assert conversation.messages[1]["tool_calls"] == calling("b")["tool_calls"]
    assert conversation.messages[1]["content"] == "let me see"
    validate(conversation.messages)
    assert messages[2] == calling("a", "b", content="let me see")
    with pytest.raises(InvalidConversation, match=r"messages\[0\].*orphans='drop'"):
        read(messages, orphans="error")
    assert read(messages, orphans="keep").messages == messages


def test_orphaned_blocks_are_dropped_out_of_their_messages() -> None:
    messages = [
        user(), uses("a", "b", before=(THOUGHT, text())), results("b", after=(text("go on"),)), uses("c", before=(THOUGHT,)),
        user([{"type": "tool_result", "tool_use_id": "x"}, text("what?")]),
    ]  # fmt: skip
    conversation = read(messages)
    assert [orphan.id for orphan in conversation.orphans] == ["a", "x", "c"]
    assert conversation.messages[1:] == [
        uses("b", before=(THOUGHT, text())), results("b", after=(text("go on"),)), user([text("what?")]),
    ]  # fmt: skip
    validate(conversation.messages)


def test_of_two_results_of_one_call_the_first_stays() -> None:
    other = {"type": "tool_result", "tool_use_id": "a", "content": "again"}
    conversation = read([user(), uses("a"), user([*results("a")["content"], other]), user()])
    assert [(orphan.index, orphan.id) for orphan in conversation.orphans] == [(2, "a")]
    assert conversation.messages == [user(), uses("a"), results("a"), user()]
    conversation = read([user(), calling("a"), tool("a"), tool("a", "again"), user()])
    assert conversation.messages == [user(), calling("a"), tool("a"), user()]


# --- edits ---------------------------------------------------------------------------------------


def test_an_edit_copies_its_path_alone() -> None:
    messages = [user(), uses("a"), user([{"type": "tool_result", "tool_use_id": "a", "content": [text("one"), text("two")]}, text("x", y=1)])]  # fmt: skip
    before = copy.deepcopy(messages)
    changed = write(messages, {(2, ("content", 0, "content", 1, "text")): "2", (0, ("content",)): "hello"}, {0})
    assert messages == before
    assert changed[0] is messages[1]
    assert changed[1]["content"][0]["content"] == [text("one"), text("2")]
    assert changed[1]["content"][0]["content"][0] is messages[2]["content"][0]["content"][0]
    assert changed[1]["content"][1] is messages[2]["content"][1]
    both = {(2, ("content", 0, "content", k, "text")): "" for k in (0, 1)}
    assert write(messages, both)[2]["content"][0] == {"type": "tool_result", "tool_use_id": "a", "content": ""}
    assert messages == before


@pytest.mark.parametrize(
    ("message", "path", "new", "what"),
    [
        (user("a"), ("content",), "", "without content"),
        (user("a"), ("content",), " \n", "without content"),
        (user([text()]), ("content", 0, "text"), "", "without content"),
        (says("a"), ("content",), "", "without content"),
        (says([THOUGHT, text()]), ("content", 1, "text"), "", "without content"),
        (says([text(), THOUGHT, text()]), ("content", 2, "text"), "", "without content"),
        (user([text(cache_control={}), text()]), ("content", 0, "text"), "", "cache_control, which would be lost"),
        (user("a"), (), "b", "no text at"),
        (user("a"), ("content", 0), "b", "no text at"),
        (user("a"), ("role", "x", "y"), "b", "no text at"),
        (user([IMAGE_URL]), ("content", 0, "image_url"), "b", "no text at"),
    ],
)
def test_an_edit_that_cannot_be_is_refused(message: Any, path: Any, new: str, what: str) -> None:
    before = copy.deepcopy(message)
    with pytest.raises(InvalidArgument, match=what):
        write([message], {(0, path): new})
    assert message == before


def test_results_and_calls_may_lose_all_their_text() -> None:
    assert write([tool("a")], {(0, ("content",)): ""}) == [tool("a", "")]
    assert write([tool("a", [text()])], {(0, ("content", 0, "text")): ""}) == [tool("a", "")]
    assert write([calling("a", content="now")], {(0, ("content",)): ""}) == [calling("a", content="")]
    with pytest.raises(InvalidArgument, match=r"messages\[1\], and there are 1"):
        write([user()], {(1, ("content",)): ""})


# --- what is no conversation ---------------------------------------------------------------------


@pytest.mark.parametrize("messages", ["text", b"bytes", {"role": "user"}, 5, [5], ["text"], [user([5])]])
def test_what_is_no_list_of_messages_is_a_type_error(messages: Any) -> None:
    with pytest.raises(TypeError, match="must be a"):
        read(messages)


@pytest.mark.parametrize("message", [{}, {"role": None}, {"role": 5, "content": "a"}])
def test_a_message_has_a_role(message: Any) -> None:
    with pytest.raises(InvalidConversation, match="no role"):
        read([message])


@pytest.mark.parametrize(("name", "value"), [("form", "responses"), ("orphans", "ignore")])
def test_options_are_of_their_lists(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgument, match=f"{name} is '{value}'"):
        read([user()], **{name: value})


def test_what_an_sdk_made_is_read_as_a_dict() -> None:
    from anthropic.types import TextBlock, ToolUseBlock
    from openai.types.chat import ChatCompletionMessage

    reply = ChatCompletionMessage.model_validate(calling("a"))
    conversation = read([user(), reply, tool("a")])
    assert conversation.atoms == ((0,), (1, 2))
    validate([user(), reply, tool("a")])
    blocks = [TextBlock(type="text", text="I look"), ToolUseBlock(type="tool_use", id="a", name="find", input={})]
    conversation = read([user(), says(blocks), results("a")])
    assert conversation.form == "anthropic"
    assert conversation.atoms == ((0,), (1, 2))
    validate(conversation.messages)


def test_what_the_user_says_beside_results_stays_before_a_turn_that_thinks() -> None:
    """Without it the turn would be one with the calls before, and would not begin with its thinking: refused where thinking is on."""

    def loop(number: int, *thoughts: Any, said: tuple[Any, ...] = ()) -> list[Any]:
        use = {"type": "tool_use", "id": f"t{number}", "name": "find", "input": {}}
        result = {"type": "tool_result", "tool_use_id": f"t{number}", "content": "found"}
        return [{"role": "assistant", "content": [*thoughts, use]}, {"role": "user", "content": [result, *said]}]

    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    reminder = {"type": "text", "text": "mind the step"}
    question = {"role": "user", "content": "Where is R-1?"}
    conversation = read([question, *loop(1), *loop(2, said=(reminder,)), *loop(3, thought)], "anthropic")
    assert conversation.required([0, 1, 3]) == (2,)
    assert conversation.required([0, 3]) == ()  # the question is before it
    assert conversation.required([0, 2, 3]) == ()
    assert read([question, *loop(1), *loop(2), *loop(3, thought)], "anthropic").required([0, 1, 3]) == ()
