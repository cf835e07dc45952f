"""The simulated Responses API, driven by the official SDK: whole and streamed, tools, formats, refusals and faults."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import openai
import pydantic
import pytest
from openai.types.responses import Response

from simulated import RAISED_BY_FAULT, Timer, forced, posting, running
from sparecall import simulate, tokens

if TYPE_CHECKING:
    from openai.types.responses import ResponseFunctionToolCall

pytestmark = pytest.mark.anyio

QUESTION: dict[str, Any] = {"model": "gpt-4o", "input": "Explain the json.decoder module."}
READ = {
    "type": "function",
    "name": "read_file",
    "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}
SEARCH = {
    "type": "function",
    "name": "search",
    "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
}


def calls_of(response: Response) -> list[ResponseFunctionToolCall]:
    return [item for item in response.output if item.type == "function_call"]


async def streamed(client: openai.AsyncOpenAI, **request: Any) -> list[Any]:
    return [event async for event in await client.responses.create(**{**QUESTION, **request}, stream=True)]


async def test_a_response_is_whole_echoes_its_request_and_counts_its_tokens_exactly() -> None:
    asked = {
        "instructions": "Be brief.",
        "metadata": {"case": "7"},
        "temperature": 0.5,
        "max_output_tokens": 4000,
        "reasoning": {"effort": "low"},
        "tools": [READ],
        "tool_choice": "none",
        "parallel_tool_calls": False,
        "store": False,
    }
    async with running() as (provider, client):
        raw = await client.responses.with_raw_response.create(**QUESTION, **asked)
        reply = raw.parse()
        Response.model_validate(json.loads(raw.text))  # the SDK itself checks nothing
        assert (reply.object, reply.status, reply.error, reply.incomplete_details) == (
            "response",
            "completed",
            None,
            None,
        )
        assert reply.id.startswith("resp_sim_")
        assert reply.created_at == reply.completed_at == 1_750_000_000
        assert reply.output_text.startswith("[simulated] ")
        assert "json.decoder" in reply.output_text
        body = json.loads(raw.text)
        assert {name: body[name] for name in asked if name not in {"reasoning", "tools"}} == {
            name: value for name, value in asked.items() if name not in {"reasoning", "tools"}
        }
        assert body["reasoning"] == {"effort": "low", "summary": None}
        assert body["tools"] == [{**READ, "description": None, "strict": True}]
        assert (body["top_p"], body["truncation"], body["text"]["format"]) == (1.0, "disabled", {"type": "text"})
        assert reply.usage is not None
        assert reply.usage.output_tokens == tokens.count(reply.output_text)
        counted = ("Be brief.", QUESTION["input"], [READ])
        written = [json.dumps(value, separators=(",", ":"), sort_keys=True) for value in counted]
        assert reply.usage.input_tokens == sum(map(tokens.count, written))
        assert reply.usage.total_tokens == reply.usage.input_tokens + reply.usage.output_tokens
        assert raw.headers["x-request-id"].startswith("req_sim_")
        assert raw.headers["x-sparecall-simulated"] == "1"
        assert provider.calls == {("responses", "gpt-4o"): 1}
        assert provider.completion_tokens == reply.usage.output_tokens


async def test_a_stream_has_the_api_s_events_in_order_numbered_and_ends_with_the_whole() -> None:
    async with running() as (provider, client):
        whole = await client.responses.create(**QUESTION)
        events = await streamed(client)
        kinds = [event.type for event in events]
        deltas = kinds.count("response.output_text.delta")
        assert deltas > 5
        assert kinds == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            *["response.output_text.delta"] * deltas,
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert (events[0].response.status, events[0].response.output, events[0].response.usage) == (
            "in_progress",
            [],
            None,
        )
        assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == (
            whole.output_text
        )
        assert events[-4].text == whole.output_text
        assert events[-2].item == whole.output[0]
        assert events[-1].response == whole
        assert provider.calls == {("responses", "gpt-4o"): 1, ("responses_stream", "gpt-4o"): 1}
        assert provider.aborted_streams == 0


async def test_every_event_fits_the_sdk_s_types_and_is_named_on_the_wire() -> None:
    adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(openai.types.responses.ResponseStreamEvent)
    asked = {"model": "m", "input": "read_file a/b.py", "tools": [READ], "stream": True}
    async with posting() as (session, url):
        for body in ({**QUESTION, "stream": True}, asked):
            async with session.post(url + "/responses", json=body) as reply:
                assert reply.content_type == "text/event-stream"
                frames = (await reply.text()).removesuffix("\n\n").split("\n\n")
            for frame in frames:
                name, data = frame.split("\n")
                event = json.loads(data.removeprefix("data: "))
                assert name == f"event: {event['type']}"
                adapter.validate_python(event)


async def test_the_sdk_s_stream_helper_and_the_sync_client_give_the_same_response() -> None:
    async with running() as (_, client):
        whole = await client.responses.create(**QUESTION)
        async with client.responses.stream(**QUESTION) as stream:
            assert (await stream.get_final_response()).output_text == whole.output_text

        def ask() -> tuple[Response, str]:
            with openai.OpenAI(base_url=client.base_url, api_key="any", max_retries=0) as sync_client:
                with sync_client.responses.stream(**QUESTION) as stream:
                    text = stream.get_final_response().output_text
                return sync_client.responses.create(**QUESTION), text

        assert await anyio.to_thread.run_sync(ask) == (whole, whole.output_text)


async def test_the_same_request_has_the_same_response_and_any_change_another() -> None:
    async with running() as (_, first), running() as (_, second):
        reply = await first.responses.create(**QUESTION)
        assert await second.responses.create(**QUESTION) == reply
        changes: list[dict[str, Any]] = [
            {"input": [{"role": "user", "content": QUESTION["input"]}]},
            {"instructions": "Be brief."},
            {"temperature": 0.5},
            {"model": "gpt-4o-mini"},
        ]
        changed = [await first.responses.create(**{**QUESTION, **change}) for change in changes]
        assert len({reply.output_text, *(each.output_text for each in changed)}) == 5
        assert len({reply.id, *(each.id for each in changed)}) == 5


async def test_an_answer_over_the_limit_is_incomplete_whole_and_streamed() -> None:
    async with running() as (_, client):
        whole = await client.responses.create(**QUESTION, max_output_tokens=16)
        assert whole.incomplete_details is not None
        assert (whole.status, whole.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        assert whole.completed_at is None
        assert whole.output[0].to_dict()["status"] == "incomplete"
        assert whole.usage is not None
        assert 0 < whole.usage.output_tokens <= 16
        last = (await streamed(client, max_output_tokens=16))[-1]
        assert (last.type, last.response) == ("response.incomplete", whole)


async def test_tools_make_a_round_trip() -> None:
    asked: list[Any] = [
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "search 'loop', then read_file a/b.py"}],
        }
    ]
    request = {**QUESTION, "input": asked, "tools": [READ, SEARCH]}
    async with running() as (_, client):
        first = await client.responses.create(**request)
        calls = calls_of(first)
        assert [(call.name, json.loads(call.arguments)) for call in calls] == [
            ("search", {"query": "loop"}),
            ("read_file", {"path": "a/b.py"}),
        ]
        assert (first.status, first.output_text) == ("completed", "")
        assert len({call.id for call in calls}) == len({call.call_id for call in calls}) == 2
        events = await streamed(client, **request)
        assert events[-1].response == first
        for index, call in enumerate(calls):
            of_call = [event for event in events if getattr(event, "output_index", None) == index]
            deltas = [event.delta for event in of_call if event.type == "response.function_call_arguments.delta"]
            assert "".join(deltas) == of_call[-2].arguments == call.arguments
            assert [event.type for event in (of_call[0], *of_call[-2:])] == [
                "response.output_item.added",
                "response.function_call_arguments.done",
                "response.output_item.done",
            ]
            assert (of_call[0].item.arguments, of_call[-1].item) == ("", call)
        outputs = [
            {"type": "function_call_output", "call_id": call.call_id, "output": f"{call.name} found def answer()"}
            for call in calls
        ]
        history = [*asked, *(call.to_dict() for call in calls), *outputs]
        second = await client.responses.create(**{**request, "input": history})
        assert "read_file found def answer()" in second.output_text


async def test_tool_choice_is_honoured() -> None:
    async with running() as (_, client):

        async def called(choice: Any, **options: Any) -> list[str]:
            request = {**QUESTION, "input": "read_file a/b.py and search", "tools": [SEARCH, READ], **options}
            return [call.name for call in calls_of(await client.responses.create(**request, tool_choice=choice))]

        assert await called("none") == []
        assert await called("auto") == ["read_file", "search"]
        assert await called("auto", parallel_tool_calls=False) == ["read_file"]
        assert len(await called("required", input="hello")) == 1
        assert await called({"type": "function", "name": "search"}) == ["search"]
        assert await called("required", tools=[{"type": "web_search"}]) == []
        with pytest.raises(openai.BadRequestError, match="tool_choice"):
            await called({"type": "function", "name": "unknown"})


async def test_formats_of_the_text_are_followed() -> None:
    class Person(pydantic.BaseModel):
        name: str
        age: int

    async with running() as (_, client):
        parsed = (await client.responses.parse(**QUESTION, text_format=Person)).output_parsed
        assert isinstance(parsed, Person)
        free = await client.responses.create(**QUESTION, text={"format": {"type": "json_object"}})
        assert json.loads(free.output_text)["simulated"] is True


CALL = {"type": "function_call", "call_id": "call_1", "name": "search", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "found"}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"type": "reasoning"}]}, "input"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input"),
        ({"input": [{"role": "user"}]}, "input"),
        ({"input": ["x"]}, "input"),
        ({"input": [OUTPUT]}, "input"),
        ({"input": [{"role": "user", "content": "x"}, CALL]}, "input"),
        ({"input": [OUTPUT, CALL]}, "input"),
        ({"input": [{**CALL, "name": None}, OUTPUT]}, "input"),
        ({"model": ""}, "model"),
        ({"max_output_tokens": 15}, "max_output_tokens"),
        ({"text": {"format": {"type": "json_schema"}}}, "text"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"reasoning": "much"}, "reasoning"),
    ],
)
async def test_a_bad_request_names_the_field(change: dict[str, Any], param: str) -> None:
    async with running() as (provider, client):
        with pytest.raises(openai.BadRequestError) as caught:
            await client.post("/responses", body={**QUESTION, **change}, cast_to=object)
        assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")
        assert provider.calls == {}


async def test_options_that_are_null_are_as_good_as_absent() -> None:
    names = (
        "instructions",
        "tools",
        "tool_choice",
        "text",
        "reasoning",
        "metadata",
        "temperature",
        "max_output_tokens",
    )
    async with running() as (_, client):
        body = {**QUESTION, **dict.fromkeys(names), "text": {"format": None}}
        reply = await client.post("/responses", body=body, cast_to=Response)
        assert reply.text is not None
        assert (reply.tools, reply.tool_choice, reply.metadata, reply.temperature) == ([], "auto", {}, 1.0)
        assert reply.text.to_dict() == {"format": {"type": "text"}, "verbosity": "medium"}


async def test_a_response_is_not_stored() -> None:
    async with running() as (_, client):
        reply = await client.responses.create(**QUESTION)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(reply.id)


@pytest.mark.parametrize(
    ("fault", "error"),
    RAISED_BY_FAULT,
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_forced_fault_raises_what_the_sdk_raises_for_it(
    fault: str, error: type[Exception], stream: bool
) -> None:
    async with running() as (provider, client):

        async def ask() -> None:
            reply = await client.responses.create(**QUESTION, stream=stream, extra_headers=forced(fault))
            if isinstance(reply, openai.AsyncStream):
                async for _ in reply:
                    pass

        with pytest.raises(error):
            await ask()
        assert provider.faulted == {fault: 1}


async def test_an_error_in_200_is_an_error_object_or_the_event_error_with_its_number() -> None:
    async with running() as (_, client):
        whole = await client.responses.create(**QUESTION, extra_headers=forced("error_in_200"))
        assert whole.error is not None
        assert "simulated" in whole.error.message
        events = await streamed(client, extra_headers=forced("error_in_200"))
        assert events[-2].type == "response.output_text.delta"
        assert (events[-1].type, events[-1].code) == ("error", "server_error")
        assert [event.sequence_number for event in events] == list(range(len(events)))


async def test_no_done_lacks_only_the_last_event_and_a_stall_the_time_it_takes() -> None:
    timer = Timer()
    async with running(clock=timer.clock, sleep=timer.sleep) as (_, client):
        events = await streamed(client)
        assert await streamed(client, extra_headers=forced("no_done")) == events[:-1]
        assert timer.slept == []
        assert await streamed(client, extra_headers=forced("stall")) == events
        assert timer.slept == [60.0]


async def test_latency_is_that_of_a_chat() -> None:
    timer = Timer()
    latency = simulate.Latency(first_token=2.0, per_token=0.5, jitter=0)
    async with running(latency=latency, clock=timer.clock, sleep=timer.sleep) as (_, client):
        usage = (await client.responses.create(**QUESTION)).usage
        assert usage is not None
        assert timer.slept == pytest.approx([2.0 + 0.5 * usage.output_tokens])
        timer.slept.clear()
        await streamed(client)
        assert timer.slept[0] == pytest.approx(2.0)
        assert sum(timer.slept) == pytest.approx(2.0 + 0.5 * usage.output_tokens)
