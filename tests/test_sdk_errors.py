"""What the official SDKs raise is the same, field by field: from the provider, through a gateway, through the transports; on every wire."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from aiohttp import web

from gateway.site import Script, scripted, until
from sdks import CALLS, DIRECT, GATEWAY, KINDS, THROUGH, Call, alike, plain, ways_to
from simulated import INSTANT, forced
from sparecall import simulate

if TYPE_CHECKING:
    from sdks import Told, Way

pytestmark = pytest.mark.anyio

# Status, type of the error, and headers: of each one that providers send.
REFUSALS: dict[str, tuple[int, str, dict[str, str]]] = {
    "bad request": (400, "invalid_request_error", {}),
    "no such key": (401, "authentication_error", {}),
    "not allowed": (403, "permission_error", {}),
    "no such model": (404, "not_found_error", {}),
    "conflict": (409, "conflict_error", {}),
    "too large": (413, "request_too_large", {}),
    "cannot be done": (422, "unprocessable_entity_error", {}),
    "too many": (429, "rate_limit_error", {}),
    "too many, in seconds": (429, "rate_limit_error", {"retry-after": "2"}),
    "too many, on a date": (429, "rate_limit_error", {"retry-after": "Fri, 21 Nov 2031 10:00:00 GMT"}),
    "too many, in ms": (429, "rate_limit_error", {"retry-after-ms": "1500", "x-ratelimit-remaining-requests": "0"}),
    "never again": (429, "insufficient_quota", {"x-should-retry": "false"}),
    "broken": (500, "api_error", {"anthropic-ratelimit-requests-remaining": "9"}),
    "away": (503, "server_error", {"retry-after": "1"}),
    "too slow": (504, "timeout_error", {}),
    "overloaded": (529, "overloaded_error", {"x-should-retry": "true"}),
}
# Not in the provider's form: from something that stands before it.
ODD: dict[str, tuple[int, str, bytes]] = {
    "a proxy's page": (502, "text/html", b"<html>Bad gateway</html>"),
    "nothing": (500, "application/json", b""),
    "plain text": (503, "text/plain; charset=utf-8", "nicht verfügbar".encode()),
    "a list": (500, "application/json", b"[1,2]"),
    "cut JSON": (500, "application/json", b'{"error":{"mess'),
}
# What of it comes is passed on; of the second row the gateway says in its own words that it broke.
PASSED_ON = ("garbage", "html", "truncated_json", "error_in_200")
BROKEN = ("disconnect", "cut_stream", "bad_length", "no_done")


async def told(ways: dict[str, Way], kind: str, **headers: str) -> dict[str, Told]:
    """What each way tells of this kind of call; those of other kinds have memories of their own."""
    call = CALLS[kind].headed(x_sparecall_scope=kind.replace(" ", "-"), **headers)
    found = await asyncio.gather(*(way.tell(call) for way in ways.values()))
    return dict(zip(ways, plain(found), strict=True))


async def refuse(http: web.Request) -> web.StreamResponse:
    name = http.headers[simulate.FAULT_HEADER]
    if name in ODD:
        status, kind, body = ODD[name]
        return web.Response(status=status, body=body, headers={"content-type": kind, "x-request-id": "req_1"})
    status, kind, headers = REFUSALS[name]
    error: dict[str, Any] = {"type": kind, "message": "Said by the provider."}
    if "/messages" in http.path:
        whole = {"type": "error", "error": error, "request_id": "req_1"}
    else:
        whole = {"error": {**error, "param": "model", "code": f"{kind}_code"}}
    ids = {"request-id": "req_1", "x-request-id": "req_1"}
    return web.json_response(whole, status=status, headers={**ids, **headers})


async def test_every_error_of_the_provider_is_raised_as_it_is_directly() -> None:
    async with scripted(script := Script(refuse)) as url, ways_to(url) as ways:
        for name in (*REFUSALS, *ODD):
            for kind in KINDS:
                calls = script.calls
                found = await told(ways, kind, x_simulate_fault=name)
                assert script.calls == calls + len(ways), "an error is kept for nobody"
                first = found[DIRECT]
                assert first.error is not None
                assert issubclass(first.error["error"], openai.APIStatusError | anthropic.APIStatusError)
                alike({way: one.seen for way, one in found.items()}, DIRECT, (name, kind))
                passed = {"request-id", "x-request-id", *REFUSALS.get(name, ({}, {}, {}))[2]}
                kept = {way: {header: one.headers.get(header) for header in passed} for way, one in found.items()}
                alike(kept, DIRECT, (name, kind))
                assert {found[way].headers["x-sparecall-cache"] for way in THROUGH} <= {"miss", "bypass"}


async def test_the_sdks_try_again_as_often_as_directly() -> None:
    async def busy(http: web.Request) -> web.StreamResponse:
        headers = {"retry-after-ms": "1", **({"x-should-retry": "false"} if "final" in http.headers.values() else {})}
        return web.json_response({"error": {"message": "later"}}, status=429, headers=headers)

    async with scripted(script := Script(busy)) as url, ways_to(url, client={"max_retries": 2}) as ways:
        for kind in KINDS:
            for fault, tries in (("busy", 3), ("final", 1)):
                for way in ways.values():
                    calls = script.calls
                    assert (await way.tell(CALLS[kind].with_(extra_headers=forced(fault)))).error is not None
                    assert script.calls == calls + tries, (kind, fault)


@pytest.mark.parametrize("fault", PASSED_ON)
async def test_what_the_provider_refuses_or_garbles_is_raised_as_it_is_directly(fault: str) -> None:
    provider = simulate.Provider(latency=INSTANT, wall_clock=lambda: 1_750_000_000.0)
    async with simulate.serve(provider) as url, ways_to(url) as ways:
        for kind in KINDS:
            for _ in range(2):
                found = await told(ways, kind, x_simulate_fault=fault)
                alike({way: one.seen for way, one in found.items()}, DIRECT, (fault, kind))
            right = await told(ways, kind)
            alike({way: one.seen for way, one in right.items()}, DIRECT, (fault, kind))
            assert right[DIRECT].error is None


@pytest.mark.parametrize("fault", BROKEN)
async def test_what_breaks_is_told_in_the_wire_s_own_form_and_stored_for_nobody(fault: str) -> None:
    provider = simulate.Provider(latency=INSTANT, wall_clock=lambda: 1_750_000_000.0)
    async with simulate.serve(provider) as url, ways_to(url) as ways:
        for kind in KINDS:
            call = CALLS[kind]
            if fault == "no_done" and not call.stream:
                continue
            for _ in range(2):
                found = await told(ways, kind, x_simulate_fault=fault)
                direct = found.pop(DIRECT)
                alike({way: one.error for way, one in found.items()}, GATEWAY, (fault, kind))
                error = found[GATEWAY].error
                assert error is not None, "never a false end"
                begun = fault != "disconnect" and (call.stream or kind == "count_tokens")
                own_form(error, call, begun=begun, passed_on=kind == "count_tokens")
                if fault != "cut_stream":  # a reset may overtake what was sent before it
                    alike({way: one.items for way, one in found.items()}, GATEWAY, (fault, kind))
                    assert found[GATEWAY].items == direct.items
            right = await told(ways, kind)
            alike({way: one.seen for way, one in right.items()}, DIRECT, (fault, kind))
            assert {one.headers.get("x-sparecall-cache") for one in right.values()} <= {None, "miss", "bypass"}


def own_form(error: dict[str, Any], call: Call, *, begun: bool, passed_on: bool, code: str = "upstream_broken") -> None:
    """An error of the gateway's own is in the form of the call's wire."""
    sdk: Any = openai if call.sdk == "openai" else anthropic
    body = error["body"]
    if begun and passed_on:
        assert error["error"] is sdk.APIConnectionError
        return
    if call.sdk == "anthropic":
        assert error["error"] is (sdk.APIStatusError if begun else STATUS_ERRORS[sdk, error["status_code"]])
        kind = "timeout_error" if error["status_code"] == 504 else "api_error"
        assert (body["type"], set(body["error"]), body["error"]["type"]) == ("error", {"type", "message"}, kind)
    else:
        assert error["error"] is (sdk.APIError if begun else STATUS_ERRORS[sdk, error["status_code"]])
        assert (set(body), body["code"]) == ({"message", "type", "param", "code"}, code)
    assert begun or error["status_code"] == (504 if code == "upstream_timeout" else 502)


STATUS_ERRORS: dict[tuple[Any, int | None], type[Exception]] = {
    (openai, 502): openai.InternalServerError,
    (openai, 504): openai.InternalServerError,
    (anthropic, 502): anthropic.InternalServerError,
    (anthropic, 504): anthropic.GatewayTimeoutError,
}


async def silence(http: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


async def test_a_provider_that_says_nothing_is_given_up_in_the_wire_s_own_form() -> None:
    async with scripted(script := Script(silence)) as url:
        limit = {"read_timeout": 0.1}
        async with ways_to(url, names=THROUGH, upstream=limit, anthropic=limit) as ways:
            for kind, found in zip(KINDS, await asyncio.gather(*(told(ways, kind) for kind in KINDS)), strict=True):
                alike({way: one.seen for way, one in found.items()}, GATEWAY, kind)
                error = found[GATEWAY].error
                assert error is not None
                own_form(error, CALLS[kind], begun=False, passed_on=False, code="upstream_timeout")
        await until(lambda: script.open == 0)


async def test_a_stream_that_falls_silent_ends_with_the_wire_s_own_error() -> None:
    provider = simulate.Provider(latency=INSTANT, wall_clock=lambda: 1_750_000_000.0)
    streams = [kind for kind in KINDS if CALLS[kind].stream]
    limit = {"read_timeout": 0.5}
    async with simulate.serve(provider) as url, ways_to(url, names=THROUGH, upstream=limit, anthropic=limit) as ways:
        asked = [told(ways, kind, x_simulate_fault="stall") for kind in streams]
        for kind, found in zip(streams, await asyncio.gather(*asked), strict=True):
            alike({way: one.seen for way, one in found.items()}, GATEWAY, kind)
            items, error = found[GATEWAY].seen
            assert items
            assert error is not None
            own_form(error, CALLS[kind], begun=True, passed_on=False, code="upstream_timeout")
        await until(lambda: provider.in_flight == 0)


async def test_what_only_memory_could_answer_is_a_504_of_the_wire() -> None:
    provider = simulate.Provider(latency=INSTANT)
    async with simulate.serve(provider) as url, ways_to(url, names=THROUGH) as ways:
        for kind in KINDS:
            found = await told(ways, kind, cache_control="only-if-cached")
            alike({way: one.seen for way, one in found.items()}, GATEWAY, kind)
            error = found[GATEWAY].error
            assert error is not None
            assert error["status_code"] == 504
            assert error["body"].get("code") == "only_if_cached" or error["body"]["error"]["type"] == "timeout_error"
            assert found[GATEWAY].headers["x-should-retry"] == "false"
            reason = "bypass wire" if kind == "count_tokens" else "bypass absent"
            assert {one.hit for one in found.values()} == {reason}
        assert provider.calls.total() == 0
        for kind in KINDS:
            before = await told(ways, kind)
            after = await told(ways, kind, cache_control="only-if-cached")
            for way in THROUGH:
                if kind != "count_tokens":
                    assert (before[way].error, after[way].error, after[way].hit) == (None, None, "exact")
