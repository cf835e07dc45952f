"""What the official SDKs return is the same, field by field: from the provider, through a gateway and the transports, made and from memory."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import web

from gateway.site import HEAD, Script, completion, scripted
from responses_wire import REFUSING, RESPONSE, SEARCH
from sdks import CALLS, DIRECT, GATEWAY, OTHERS, STREAMS, THROUGH, WHOLE, Call, Told, alike, plain, ways_to
from simulated import INSTANT
from sparecall import simulate
from sparecall.pipeline import messages, responses
from sparecall.pipeline.events import framed

if TYPE_CHECKING:
    from sdks import Way

pytestmark = pytest.mark.anyio

# A socket's own, and what no two calls have in common.
ONE_TIME = {"date", "transfer-encoding", "connection", "content-length", "x-sparecall-micros", "openai-processing-ms"}
_NOT_STORED = {"responses cut", "count_tokens"}


def amounts_to(call: Call, told: Told) -> Any:
    """The answer that the events of a stream amount to."""
    if call.sdk == "anthropic":
        return _message_of(told.items)
    return told.items[-1]["response"] if call.method == "responses.create" else _completion_of(told.items)


def _completion_of(chunks: list[Any]) -> Any:
    """What OpenAI's chunks say, put together; what they do not say alike, such as null, left out."""
    texts: dict[tuple[Any, ...], str] = {}
    finishes = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            finishes[choice["index"]] = choice["finish_reason"] or finishes.get(choice["index"])
            delta, number = choice["delta"], choice["index"]
            said = [((number, "text"), delta["content"])]
            for call in delta["tool_calls"] or ():
                fields = {"id": call["id"], **call["function"]}
                said += [((number, call["index"], name), text) for name, text in fields.items()]
            for place, text in said:
                texts[place] = texts.get(place, "") + (text or "")
    return {name: chunks[0][name] for name in ("id", "created", "model")}, texts, finishes, chunks[-1]["usage"]


def _message_of(events: list[Any]) -> Any:
    """What Anthropic's events say, put together."""
    message = copy.deepcopy(events[0]["message"])
    for event in events[1:]:
        match event["type"]:
            case "content_block_start":
                message["content"].append({**event["content_block"]})
                pieces = []
            case "content_block_delta" if event["delta"]["type"] == "input_json_delta":
                pieces.append(event["delta"]["partial_json"])
                message["content"][-1]["input"] = "".join(pieces)
            case "content_block_delta":
                message["content"][-1]["text"] += event["delta"]["text"]
            case "content_block_stop" if message["content"][-1]["type"] == "tool_use":
                message["content"][-1]["input"] = msgspec.json.decode(message["content"][-1]["input"])
            case "message_delta":
                message.update(event["delta"])
                message["usage"].update({name: value for name, value in event["usage"].items() if value is not None})
    return message


async def asked(ways: dict[str, Way], call: Call) -> dict[str, Told]:
    return {name: plain(await way.tell(call)) for name, way in ways.items()}


@pytest.mark.parametrize("kind", [*WHOLE, *STREAMS, *OTHERS])
async def test_an_answer_is_the_provider_s_and_a_replay_amounts_to_the_same(kind: str) -> None:
    provider = simulate.Provider(latency=INSTANT, wall_clock=lambda: 1_750_000_000.0)
    call = CALLS[kind]
    async with simulate.serve(provider) as url, ways_to(url) as ways:
        made = await asked(ways, call)
        direct = made[DIRECT]
        assert direct.error is None
        alike({way: one.seen for way, one in made.items()}, DIRECT)
        theirs = {name for name in direct.headers if name not in ONE_TIME}
        passed = {"x-request-id", "request-id", "x-sparecall-simulated"} & theirs
        assert len(passed) == 2
        alike({way: [plain(one.headers.get(name)) for name in sorted(passed)] for way, one in made.items()}, DIRECT)
        del made[DIRECT], ways[DIRECT]
        again = await asked(ways, call)
        alike({way: one.seen for way, one in again.items()}, GATEWAY)
        for found in (made, again):
            kept = {way: {name: plain(value) for name, value in one.headers.items()} for way, one in found.items()}
            alike({way: {n: v for n, v in one.items() if n not in ONE_TIME} for way, one in kept.items()}, GATEWAY)
        wanted = "exact"
        if kind.removesuffix(" stream") in _NOT_STORED:
            wanted = "bypass wire" if kind == "count_tokens" else "miss absent"
        assert {one.hit for one in again.values()} == {wanted}
        if wanted == "exact":
            assert not passed & set(again[GATEWAY].headers), "nothing of a call that was not made"
        if call.stream:
            assert amounts_to(call, again[GATEWAY]) == amounts_to(call, direct)
            whole = await asked(ways, call.whole())
            alike({way: one.seen for way, one in whole.items()}, GATEWAY)
            if "chat" not in kind:
                assert whole[GATEWAY].items == [amounts_to(call, direct)]
        else:
            assert again[GATEWAY].items == direct.items


USAGE = {
    "input_tokens": 12, "output_tokens": 34, "cache_creation_input_tokens": 2048, "cache_read_input_tokens": 512,
    "cache_creation": {"ephemeral_5m_input_tokens": 1024, "ephemeral_1h_input_tokens": 1024},
    "service_tier": "standard",
}  # fmt: skip
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-of-the-tests", "stop_sequence": None,
           "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn", "usage": USAGE}  # fmt: skip
CUT = {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
FAILED = {"status": "failed", "output": [], "error": {"code": "server_error", "message": "It broke."}}
# A rare answer on each wire: its object, and whether it may be served again.
RARE: dict[str, tuple[str, dict[str, Any], bool]] = {
    "a filtered completion": ("chat", completion(finish="content_filter"), False),
    "a completion cut at its limit": ("chat", completion(finish="length"), True),
    "a Response that failed": ("responses", {**RESPONSE, **FAILED}, False),
    "a Response that was filtered": ("responses", {**RESPONSE, **CUT}, False),
    "a Response that refuses": ("responses", {**RESPONSE, "output": [REFUSING]}, False),
    "a Response with a search": ("responses", {**RESPONSE, "output": [SEARCH]}, False),
    "a Message that wrote the provider's cache": ("messages", MESSAGE, True),
    "a Message that filled the window": ("messages", {**MESSAGE, "stop_reason": "model_context_window_exceeded"}, True),
    "a Message that refuses": ("messages", {**MESSAGE, "stop_reason": "refusal"}, False),
    "a Message to go on with": ("messages", {**MESSAGE, "stop_reason": "pause_turn"}, False),
}


def streamed(wire: str, answer: dict[str, Any]) -> bytes:
    """The provider's stream of an answer."""
    body = msgspec.json.encode(answer)
    if wire == "messages":
        return framed(messages.render(body))
    if wire == "responses":
        return framed(responses.render(body))
    (choice,) = answer["choices"]
    parts = (
        {"delta": choice["message"], "finish_reason": None},
        {"delta": {}, "finish_reason": choice["finish_reason"]},
    )
    events = [{**HEAD, "object": "chat.completion.chunk", "choices": [{"index": 0, **part}]} for part in parts]
    events.append({**HEAD, "object": "chat.completion.chunk", "choices": [], "usage": answer["usage"]})
    return b"".join(b"data: %b\n\n" % msgspec.json.encode(event) for event in events) + b"data: [DONE]\n\n"


@pytest.mark.parametrize("name", RARE)
async def test_a_rare_answer_is_told_as_it_is_and_stored_only_where_it_may_be_served_again(name: str) -> None:
    wire, answer, storable = RARE[name]

    async def answering(http: web.Request) -> web.StreamResponse:
        if (await http.json()).get("stream"):
            return web.Response(body=streamed(wire, answer), content_type="text/event-stream")
        return web.json_response(answer)

    async with scripted(Script(answering)) as url, ways_to(url) as ways:
        for call in (CALLS[wire], CALLS[f"{wire} stream"].headed(x_sparecall_scope="streamed")):
            for repeat in range(2):
                found = await asked(ways, call)
                assert found[DIRECT].error is None
                if not (repeat and call.stream):
                    alike({way: one.seen for way, one in found.items()}, DIRECT)
                if call.stream:
                    assert {way: amounts_to(call, one) for way, one in found.items()} == dict.fromkeys(
                        ways, amounts_to(call, found[DIRECT])
                    )
                hit = "exact" if repeat and storable else "miss absent"
                assert [found[way].hit for way in THROUGH] == [hit] * 3


@pytest.mark.parametrize("name", RARE)
async def test_a_whole_answer_to_who_asked_for_a_stream_is_made_one(name: str) -> None:
    wire, answer, _ = RARE[name]

    async def answering(_: web.Request) -> web.StreamResponse:
        return web.json_response(answer)

    async with scripted(Script(answering)) as url, ways_to(url) as ways:
        direct = ways.pop(DIRECT)
        found = await asked(ways, CALLS[f"{wire} stream"])
        alike({way: one.seen for way, one in found.items()}, GATEWAY)
        told = found[GATEWAY]
        assert told.error is None
        (whole,) = (await direct.tell(CALLS[wire])).items
        made = amounts_to(CALLS[wire], told)
        if wire == "chat":
            (choice,) = answer["choices"]
            assert made[1:3] == ({(0, "text"): choice["message"]["content"]}, {0: choice["finish_reason"]})
        else:
            assert made == whole
        if wire == "responses":
            assert told.items[-1]["type"] == f"response.{answer['status']}"
