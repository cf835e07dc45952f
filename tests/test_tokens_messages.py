"""`Counter.messages`: what providers were seen to charge, the shapes of three wires, and typed errors for what is none."""

from __future__ import annotations

from typing import Any

import pytest

from sparecall import tokens
from sparecall.errors import InvalidArgument, UnknownName

pytestmark = pytest.mark.anyio

Message = dict[str, Any]

# The example of OpenAI's cookbook, with the numbers its API reported.
JARGON: list[Message] = [
    {
        "role": "system",
        "content": "You are a helpful, pattern-following assistant that translates corporate jargon into plain English.",
    },
    {"role": "system", "name": "example_user", "content": "New synergies will help drive top-line growth."},
    {"role": "system", "name": "example_assistant", "content": "Things working well together will increase revenue."},
    {
        "role": "system",
        "name": "example_user",
        "content": "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Let's talk later when we're less busy about how to do better.",
    },
    {
        "role": "user",
        "content": "This late pivot means we don't have time to boil the ocean for the client deliverable.",
    },
]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get the current weather in a given location",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
                "unit": {
                    "type": "string",
                    "description": "The unit of temperature to return",
                    "enum": ["celsius", "fahrenheit"],
                },
            },
            "required": ["location"],
        },
    },
}
ABOUT_WEATHER = [
    {"role": "system", "content": "You are a helpful assistant that can answer to questions about the weather."},
    {"role": "user", "content": "What's the weather like in San Francisco?"},
]


@pytest.mark.parametrize(
    ("model", "tokens_charged"),
    [
        ("gpt-3.5-turbo-0301", 127),
        ("gpt-3.5-turbo-0613", 129),
        ("gpt-4-0314", 129),
        ("gpt-4-0613", 129),
        ("gpt-4o", 124),
        ("gpt-4o-mini-2024-07-18", 124),
        ("ft:gpt-4o-mini:acme::id", 124),
        ("openai/gpt-4o", 124),
    ],
)
def test_messages_are_what_the_provider_charged(model: str, tokens_charged: int) -> None:
    count = tokens.Counter(model).messages(JARGON)
    assert (count.total, count.low, count.high, count.exact) == (tokens_charged,) * 3 + (True,)


@pytest.mark.parametrize(("model", "tokens_charged"), [("gpt-4o", 101), ("gpt-4o-mini", 101), ("gpt-4", 105), ("gpt-3.5-turbo", 105)])  # fmt: skip
def test_tools_are_what_the_cookbook_has_for_its_example_and_say_that_nobody_promised_it(
    model: str, tokens_charged: int
) -> None:
    count = tokens.Counter(model).messages(ABOUT_WEATHER, tools=[WEATHER])
    assert count.total == tokens_charged
    assert count.low < tokens_charged < count.high
    assert not count.exact


def function(name: str, properties: Message, **more: Any) -> list[Message]:
    required = more.pop("required", [])
    return [
        {"name": name, "parameters": {"type": "object", "properties": properties, "required": required}, **more},
    ]


FOO = {"name": "foo", "parameters": {"type": "object", "properties": {}}}
STUFF = {"name": "do_stuff", "parameters": {"type": "object", "properties": {}}}
HELLO = [{"role": "user", "content": "hello"}]
ARGUMENTS = '{"foo": "bar", "baz": 1.5}'
INGREDIENT = {
    "type": "object",
    "required": ["name", "unit", "amount"],
    "properties": {
        "name": {"type": "string"},
        "unit": {"enum": ["grams", "ml", "cups", "pieces", "teaspoons"], "type": "string"},
        "amount": {"type": "number"},
    },
}


# Counts that gpt-3.5-turbo reported, as gathered by the authors of openai-chat-tokens (MIT).
@pytest.mark.parametrize(
    ("messages", "functions", "tokens_charged"),
    [
        (HELLO, None, 8),
        ([{"role": "user", "content": "hello world"}], None, 9),
        ([{"role": "system", "content": "hello:"}], None, 9),
        (
            [
                {"role": "system", "content": "# Important: you're the best robot"},
                {"role": "user", "content": "hello robot"},
                {"role": "assistant", "content": "hello world"},
            ],
            None,
            27,
        ),
        (HELLO, [FOO], 31),
        (HELLO, [{**FOO, "description": "Do a foo"}], 36),
        (HELLO, function("bing_bong", {"foo": {"type": "string"}}, description="Do a bing bong"), 49),
        (
            HELLO,
            function(
                "bing_bong",
                {"foo": {"type": "string"}, "bar": {"type": "number", "description": "A number"}},
                description="Do a bing bong",
            ),
            57,
        ),
        (
            HELLO,
            function(
                "bing_bong",
                {
                    "foo": {
                        "type": "object",
                        "properties": {
                            "bar": {"type": "string", "enum": ["a", "b", "c"]},
                            "baz": {"type": "boolean"},
                        },
                    }
                },
                description="Do a bing bong",
            ),
            68,
        ),
        (
            HELLO,
            function(
                "get_recipe",
                {
                    "ingredients": {"type": "array", "items": INGREDIENT},
                    "instructions": {
                        "type": "array",
                        "items": {"type": "string"},
                        "description": "Steps to prepare the recipe (no numbering)",
                    },
                    "time_to_cook": {
                        "type": "number",
                        "description": "Total time to prepare the recipe in minutes",
                    },
                },
                required=["ingredients", "instructions", "time_to_cook"],
            ),
            106,
        ),
        (
            [{"role": "user", "content": "hello world"}, {"role": "function", "name": "do_stuff", "content": "{}"}],
            None,
            15,
        ),
        (
            [
                {"role": "user", "content": "hello world"},
                {"role": "function", "name": "do_stuff", "content": ARGUMENTS},
            ],
            None,
            28,
        ),
        ([{"role": "function", "name": "dance_the_tango", "content": '{"a": { "b" : { "c": false}}}'}], None, 24),
        (
            [{"role": "assistant", "content": "", "function_call": {"name": "do_stuff", "arguments": ARGUMENTS}}],
            None,
            26,
        ),
        (
            [
                {
                    "role": "assistant",
                    "content": "",
                    "function_call": {"name": "do_stuff", "arguments": '{"foo":"bar", "baz":\n\n 1.5}'},
                }
            ],
            None,
            25,
        ),
        ([{"role": "system", "content": "Hello"}, {"role": "user", "content": "Hi there"}], [STUFF], 35),
        ([{"role": "system", "content": "Hello:"}, {"role": "user", "content": "Hi there"}], [STUFF], 35),
        (
            [
                {"role": "system", "content": "Hello:"},
                {"role": "system", "content": "Hello"},
                {"role": "user", "content": "Hi there"},
            ],
            [STUFF],
            40,
        ),
    ],
)
def test_functions_and_calls_are_what_the_provider_charged(
    messages: list[Message], functions: list[Message] | None, tokens_charged: int
) -> None:
    count = tokens.Counter("gpt-3.5-turbo").messages(messages, functions)
    assert count.total == tokens_charged
    assert count.low <= tokens_charged <= count.high
    assert count.exact == (count.low == count.high)


CALL = {"name": "find", "arguments": '{"path": "a.py"}'}
CHAT = [
    {"role": "user", "content": "Where is it?"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": CALL}]},
    {"role": "tool", "tool_call_id": "c1", "content": "In line 7."},
]
RESPONSES = [
    {"role": "user", "content": [{"type": "input_text", "text": "Where is it?"}]},
    {"type": "function_call", "call_id": "c1", **CALL},
    {"type": "function_call_output", "call_id": "c1", "output": "In line 7."},
]
ANTHROPIC = [
    {"role": "user", "content": [{"type": "text", "text": "Where is it?", "cache_control": {"type": "ephemeral"}}]},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "find", "input": {"path": "a.py"}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "In line 7."}]},
]


@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5", "gemini-2.5-pro", "somebody-s-model"])
def test_the_same_conversation_on_three_wires_costs_about_the_same(model: str) -> None:
    counter = tokens.Counter(model)
    counts = [counter.messages(messages) for messages in (CHAT, RESPONSES, ANTHROPIC)]
    for count in counts:
        assert not count.exact
        assert count.low <= count.total <= count.high
        assert all(count.low <= other.total <= count.high for other in counts)


def test_instructions_and_system_count_like_a_system_message() -> None:
    counter = tokens.Counter("gpt-4o")
    beside = counter.messages(HELLO, system="Be brief.")
    assert beside == counter.messages([{"role": "system", "content": "Be brief."}, *HELLO])
    blocks = counter.messages(HELLO, system=[{"type": "text", "text": "Be brief."}])
    assert blocks == beside
    with_tools = counter.messages(ABOUT_WEATHER[1:], [WEATHER], system=ABOUT_WEATHER[0]["content"])
    assert with_tools == counter.messages(ABOUT_WEATHER, [WEATHER])


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "UklGRg" * 4000, "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
        {"type": "document", "source": {"type": "text", "data": "plain", "media_type": "text/plain"}},
        {"type": "refusal", "refusal": "I cannot do that."},
        {"type": "thinking", "thinking": "Let me see.", "signature": "x" * 100},
        {"type": "redacted_thinking", "data": "x" * 100},
        {"type": "a_part_of_tomorrow", "deep": [{"text": "words"}]},
    ],
    ids=lambda part: part["type"],
)
@pytest.mark.parametrize("model", ["gpt-4o", "claude-opus-4-1"])
def test_what_nobody_documents_has_bounds(part: Message, model: str) -> None:
    counter = tokens.Counter(model)
    without = counter.messages([{"role": "user", "content": []}])
    count = counter.messages([{"role": "user", "content": [part]}])
    assert not count.exact
    assert count.low >= without.low
    assert count.low < count.high
    assert count.total >= without.total


def test_a_field_that_is_not_known_widens_the_bounds_and_a_null_does_not() -> None:
    counter = tokens.Counter("gpt-4o")
    plain = counter.messages(HELLO)
    assert counter.messages([{**HELLO[0], "refusal": None, "tool_calls": None, "audio": None}]) == plain
    odd = counter.messages([{**HELLO[0], "reasoning_content": "It says hello."}])
    assert (odd.low, odd.total, odd.exact) == (plain.total, plain.total, False)
    assert odd.high > plain.high


def test_a_message_of_the_sdk_counts_as_it_came() -> None:
    from openai.types.chat import ChatCompletionMessage

    reply = ChatCompletionMessage(role="assistant", content="hello")
    counter = tokens.Counter("gpt-4o")
    assert counter.messages([reply]) == counter.messages([{"role": "assistant", "content": "hello"}])


@pytest.mark.parametrize(
    "model", ["gpt-4.1", "gpt-5", "gpt-5.1", "o3", "o4-mini", "gpt-oss-120b", "gpt-4o-audio-preview"]
)
def test_later_models_of_openai_count_texts_exactly_and_messages_with_a_margin(model: str) -> None:
    counter = tokens.Counter(model)
    count = counter.messages(HELLO)
    assert not count.exact
    assert count.low < 8 < count.high
    assert counter.count("hello").exact


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("claude-3-5-sonnet-20241022", "anthropic"),
        ("claude-opus-4-20250514", "anthropic"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "anthropic"),
        ("claude-opus-4-7", "anthropic-2026"),
        ("anthropic/claude-opus-4.7", "anthropic-2026"),
        ("claude-sonnet-5", "anthropic-2026"),
        ("gemini-2.5-flash", "gemini"),
        ("models/gemini-1.5-pro", "gemini"),
        ("grok-4", "grok"),
        ("mistral-large-latest", "mistral"),
        ("codestral-2501", "mistral"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama"),
        ("Qwen/Qwen3-32B", "qwen"),
        ("deepseek-chat", "deepseek"),
        ("gpt-7-omega", "openai-unlisted"),
        ("my-own-model", "unknown"),
        ("gpt-4o", "openai"),
    ],
)
def test_a_name_tells_the_family(model: str, family: str) -> None:
    assert tokens.Counter(model).calibration.prior == family


def test_a_model_that_is_not_known_is_estimated_with_the_widest_bounds() -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 20
    widths = {
        model: (count := tokens.Counter(model).count(text)).high / count.low
        for model in ("somebody-s-model", "claude-3-haiku", "gemini-2.5-pro", "gpt-4o")
    }
    assert max(widths, key=widths.__getitem__) == "somebody-s-model"
    assert widths["gpt-4o"] == 1


def test_an_encoding_can_be_named_or_given() -> None:
    class Words:
        def count(self, text: str, /) -> int:
            return len(text.split())

    named = tokens.Counter("my-own-model", encoding="cl100k_base").count("hello there")
    assert (named.total, named.exact) == (tokens.count("hello there", "cl100k_base"), True)
    given = tokens.Counter("my-own-model", encoding=Words())
    assert (given.count("hello there").total, given.count("hello there").exact) == (2, True)
    assert not given.messages(HELLO).exact


def test_a_fine_tuned_model_has_the_images_of_its_base() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}
    for name in ("gpt-4o-mini", "ft:gpt-4o-mini-2024-07-18:acme::id"):
        counter = tokens.Counter(name)
        without = counter.messages([{"role": "user", "content": []}]).total
        assert counter.messages([{"role": "user", "content": [image]}]).total - without == 2833


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ("hello", "messages must be a list of dicts, not str"),
        (HELLO[0], "messages must be a list of dicts, not dict"),
        (None, "messages must be a list of dicts, not NoneType"),
        ([None], "messages[0] must be a dict, not NoneType"),
        ([*HELLO, "hi"], "messages[1] must be a dict, not str"),
        ([{"content": "hello"}], "messages[0] must have a role that is str, not NoneType"),
        ([{"role": ["user"], "content": "hello"}], "messages[0] must have a role that is str, not list"),
        ([{"role": "user", "content": 5}], "messages[0].content must be str, a list of parts or None, not int"),
        ([{"role": "user", "content": ["x"]}], "messages[0].content[0] must be a dict, not str"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text must be str, not NoneType"),
        ([{"role": "user", "content": b"x"}], "messages[0] holds a bytes; a message is made of what JSON has"),
        ([{"role": "user", 5: "x"}], "messages[0] has a key that is int; JSON's keys are str"),
        ([{"role": "a", "tool_calls": [5]}], "messages[0].tool_calls[0] must be a dict, not int"),
        ([{"role": "a", "tool_calls": [{"id": "x"}]}], "messages[0].tool_calls[0].name must be str, not NoneType"),
    ],
)
async def test_what_is_no_message_is_named(messages: Any, says: str) -> None:
    counter = tokens.Counter("gpt-4o")
    with pytest.raises(TypeError) as raised:
        counter.messages(messages)
    assert str(raised.value) == says
    with pytest.raises(TypeError) as raised:
        await counter.messages_async(messages)
    assert str(raised.value) == says
    assert counter.messages(HELLO).total == 8


def test_what_is_nested_too_deep_is_refused() -> None:
    counter = tokens.Counter("gpt-4o")
    schema: Message = {"type": "string"}
    for _ in range(500):
        schema = {"type": "array", "items": schema}
    itself: list[Any] = []
    itself.append(itself)
    for messages, definitions in (
        ([{"role": "user", "content": nested(100)}], None),
        ([{"role": "user", "content": "x", "odd": itself}], None),
        (HELLO, [{"name": "f", "parameters": {"type": "object", "properties": {"a": schema}}}]),
    ):
        with pytest.raises(InvalidArgument, match="flatten it"):
            counter.messages(messages, definitions)
    with pytest.raises(TypeError, match="tools is no JSON value"):
        counter.messages(HELLO, [{"name": "f", "parameters": {"x": object()}}])
    with pytest.raises(TypeError, match="tools must be a list of dicts, not dict"):
        counter.messages(HELLO, WEATHER)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"tools\[0\] must be a dict, not int"):
        counter.messages(HELLO, [5])  # type: ignore[list-item]


def test_a_counter_needs_a_model_and_an_encoding_that_exists() -> None:
    with pytest.raises(TypeError, match="model must be str, not int"):
        tokens.Counter(5)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="model is empty"):
        tokens.Counter("")
    with pytest.raises(UnknownName, match="o200k_base"):
        tokens.Counter("m", encoding="gpt2")
    with pytest.raises(InvalidArgument, match="memo_bytes"):
        tokens.Counter("m", memo_bytes=-1)
    with pytest.raises(TypeError, match="text must be str, not bytes"):
        tokens.Counter("m").count(b"x")  # type: ignore[arg-type]


def test_no_error_and_no_repr_quotes_a_message() -> None:
    secret = "sk-very-secret"
    counter = tokens.Counter("gpt-4o")
    for message in ({"role": 5, "content": secret}, {"role": "user", "content": [{"type": secret, "x": {1, 2}}]}):
        with pytest.raises(TypeError) as raised:
            counter.messages([message])
        assert secret not in str(raised.value)
    counter.messages([{"role": "user", "content": secret}])
    assert secret not in repr(counter)
    assert "gpt-4o" in repr(counter)
