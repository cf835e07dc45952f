"""The simulated provider: settings, counters and the endpoints of a server that speaks OpenAI's and Anthropic's APIs."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from sparecall.errors import UnknownName
from sparecall.simulate.answer import answer, prompt_tokens
from sparecall.simulate.chat import Chat
from sparecall.simulate.embedding import default_dimensions, embed, embedding_object
from sparecall.simulate.faults import FAULT_HEADER, Faults
from sparecall.simulate.latency import Latency, Pace
from sparecall.simulate.messages import Messages
from sparecall.simulate.messages_request import CountRequest
from sparecall.simulate.problem import Problem, rate_limited, server_error
from sparecall.simulate.quota import Quota
from sparecall.simulate.request import EmbeddingRequest, check, decode
from sparecall.simulate.responses import Responses
from sparecall.simulate.seeded import request_digest
from sparecall.simulate.sending import refuse, send_events, send_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sparecall.simulate.answer import Count
    from sparecall.simulate.latency import Clock, Sleep
    from sparecall.simulate.quota import Limit
    from sparecall.simulate.wire import Wire

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: What `GET /v1/models` lists. Requests may name any model.
MODELS = (
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-5",
    "gpt-5-mini",
    "text-embedding-3-large",
    "text-embedding-3-small",
)
_MODELS_CREATED = 1_735_689_600
_MAX_BODY_BYTES = 64 * 1024 * 1024
_MAX_COUNTED_MODELS = 1000
_STARTED = web.RequestKey("started", float)
_NUMBER = web.RequestKey("number", int)
_EXCEEDED: web.RequestKey[list[Limit]] = web.RequestKey("exceeded", list)
_CHAT, _RESPONSES, _MESSAGES = Chat(), Responses(), Messages()
_ANTHROPIC_PATH = "/v1/messages"


class Provider:
    """A provider that no model stands behind. One instance serves one event loop.

    ``requests_per_minute`` and ``tokens_per_minute`` count all clients together. ``count`` counts the tokens of a
    text (default: `sparecall.tokens.count`, o200k_base). ``clock`` (seconds, monotonic) and ``sleep`` pace the
    replies; ``wall_clock`` (seconds since the epoch) dates them.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        latency: Latency | None = None,
        faults: Faults | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        require_key: bool = True,
        count: Count | None = None,
        clock: Clock = time.monotonic,
        wall_clock: Clock = time.time,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.seed, self.require_key = seed, require_key
        self.latency, self.faults = latency or Latency(), faults or Faults()
        self._quota = Quota(requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute)
        self._count = count or _default_count()
        self._clock, self._wall_clock, self._sleep = clock, wall_clock, sleep
        self._requests = 0
        #: Well-formed requests by kind and model, refused and failed ones too. The kinds are ``chat``, ``responses``,
        #: ``messages``, each of them also with ``_stream``, ``embeddings`` and ``count_tokens``.
        self.calls: Counter[tuple[str, str]] = Counter()
        #: Faults met, by name.
        self.faulted: Counter[str] = Counter()
        #: Tokens of the prompts and answers of all calls that were not refused.
        self.prompt_tokens = 0
        self.completion_tokens = 0
        #: Requests that are being answered now.
        self.in_flight = 0
        #: Streams that the client left before their end.
        self.aborted_streams = 0

    def __repr__(self) -> str:
        return f"Provider(seed={self.seed}, calls={self.calls.total()}, in_flight={self.in_flight})"

    def app(self) -> web.Application:
        """Return the aiohttp application, with its endpoints below ``/v1``."""
        app = web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=[self._guard])
        app.router.add_post("/v1/chat/completions", partial(self._generate, _CHAT))
        app.router.add_post("/v1/responses", partial(self._generate, _RESPONSES))
        app.router.add_post(_ANTHROPIC_PATH, partial(self._generate, _MESSAGES))
        app.router.add_post(_ANTHROPIC_PATH + "/count_tokens", self._count_tokens)
        app.router.add_post("/v1/embeddings", self._embeddings)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{id}", self._model)
        app.on_response_prepare.append(self._add_headers)
        return app

    # --- endpoints ---

    async def _generate(self, wire: Wire, http: web.Request) -> web.StreamResponse:
        body = decode(await http.read())
        request = wire.read(body)
        digest = request_digest(body)
        fault = self._meet(http, wire.kind + ("_stream" if request.stream else ""), request.model, digest)
        prompt = prompt_tokens(body, wire.prompt_fields, self._count)
        made = answer(request, digest=digest, prompt=prompt, seed=self.seed, count=self._count)
        pace = self._admit(http, digest, made.prompt_tokens, made.completion_tokens)
        created = int(self._wall_clock())
        if not request.stream:
            return await self._send(http, wire.whole(made, body, created=created), fault=fault, pace=pace)
        error = partial(wire.error_event, server_error(), _request_id(http))
        events = wire.events(made, body, created=created)
        try:
            return await send_events(http, events, error=error, fault=fault, pace=pace, stall=self._stall)
        except (ConnectionError, asyncio.CancelledError):
            self.aborted_streams += 1
            raise

    async def _count_tokens(self, http: web.Request) -> web.StreamResponse:
        body = decode(await http.read())
        request = check(body, CountRequest)
        fault = self._meet(http, "count_tokens", request.model, request_digest(body))
        tokens = prompt_tokens(body, _MESSAGES.prompt_fields, self._count)
        pace = Pace(http[_STARTED], 0.0, 0.0, clock=self._clock, sleep=self._sleep)  # no model has to answer
        return await self._send(http, {"input_tokens": tokens}, fault=fault, pace=pace)

    async def _embeddings(self, http: web.Request) -> web.StreamResponse:
        body = decode(await http.read())
        request = check(body, EmbeddingRequest)
        digest = request_digest(body)
        fault = self._meet(http, "embeddings", request.model, digest)
        inputs = request.inputs()
        tokens = sum(self._count(text) if isinstance(text, str) else len(text) for text in inputs)
        pace = self._admit(http, digest, tokens, 0)
        dimensions = request.dimensions or default_dimensions(request.model)
        vectors = (embed(text, model=request.model, dimensions=dimensions, seed=self.seed) for text in inputs)
        as_base64 = request.encoding_format == "base64"
        reply = {
            "object": "list",
            "data": [embedding_object(index, vector, as_base64=as_base64) for index, vector in enumerate(vectors)],
            "model": request.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return await self._send(http, reply, fault=fault, pace=pace)

    async def _models(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"object": "list", "data": [_model_object(name) for name in MODELS]})

    async def _model(self, http: web.Request) -> web.StreamResponse:
        name = http.match_info["id"]
        if name not in MODELS:
            raise Problem(404, f"The model '{name[:100]}' does not exist", param="model", code="model_not_found")
        return web.json_response(_model_object(name))

    # --- what every request goes through ---

    def _meet(self, http: web.Request, kind: str, model: str, digest: str) -> str | None:
        """Count the call and return the fault it meets, or raise where that is an error reply."""
        if (kind, model) not in self.calls and len(self.calls) >= _MAX_COUNTED_MODELS:
            model = "other"
        self.calls[kind, model] += 1
        try:
            forced = http.headers.get(FAULT_HEADER)
            fault = self.faults.choose(forced, seed=self.seed, digest=digest, call=http[_NUMBER])
        except UnknownName as error:
            raise Problem(400, f"{FAULT_HEADER}: {error}", param=FAULT_HEADER) from None
        if fault is not None:
            self.faulted[fault] += 1
        refuse(fault)
        return fault

    def _admit(self, http: web.Request, digest: str, prompt: int, completion: int) -> Pace:
        """Charge the quota, or raise the 429; return the pace of the reply."""
        if exceeded := self._quota.admit(prompt + completion, self._clock()):
            raise rate_limited(exceeded)
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        first, rest = self.latency.seconds(self.seed, digest, prompt_tokens=prompt, completion_tokens=completion)
        return Pace(http[_STARTED], first, rest, clock=self._clock, sleep=self._sleep)

    async def _send(
        self, http: web.Request, value: dict[str, Any], *, fault: str | None, pace: Pace
    ) -> web.StreamResponse:
        error = _wire(http).refusal(server_error(), _request_id(http)).error
        return await send_json(http, value, error=error, fault=fault, pace=pace, stall=self._stall)

    async def _stall(self) -> None:
        await self._sleep(self.faults.stall_for)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        request[_STARTED] = self._clock()
        self._requests += 1
        request[_NUMBER] = self._requests
        self.in_flight += 1
        try:
            _wire(request).demand(request.headers, key=self.require_key)
            return await handler(request)
        except Problem as problem:
            return _refused(request, problem)
        except web.HTTPRequestEntityTooLarge:
            too_large = Problem(413, f"The request body is larger than {_MAX_BODY_BYTES} bytes.")
            return _refused(request, too_large)
        except web.HTTPMethodNotAllowed as error:
            allow = {"allow": error.headers["Allow"]}
            not_allowed = Problem(405, f"Not allowed to {request.method} on {request.path[:200]}", headers=allow)
            return _refused(request, not_allowed)
        except web.HTTPNotFound:
            return _refused(request, Problem(404, f"Invalid URL ({request.method} {request.path[:200]})"))
        except ConnectionError:
            # The client has left: nobody gets this, but an error would be logged with its traceback.
            return web.Response()
        finally:
            self.in_flight -= 1

    async def _add_headers(self, http: web.Request, response: web.StreamResponse) -> None:
        now = self._clock()
        response.headers["x-sparecall-simulated"] = "1"
        response.headers.update(
            _wire(http).headers(
                request_id=_request_id(http),
                seconds=now - http[_STARTED],
                limits=self._quota.limits(now) or http.get(_EXCEEDED, []),
                now=self._wall_clock(),
            )
        )


def _wire(http: web.Request) -> Wire:
    """Return the wire of a path, which errors and headers are written on; OpenAI's are the same on all of its own."""
    return _MESSAGES if http.path == _ANTHROPIC_PATH or http.path.startswith(_ANTHROPIC_PATH + "/") else _CHAT


def _request_id(http: web.Request) -> str:
    return f"req_sim_{http[_NUMBER]:08d}"


def _refused(http: web.Request, problem: Problem) -> web.Response:
    if problem.limit:
        http[_EXCEEDED] = [problem.limit]
    status, headers, error = _wire(http).refusal(problem, _request_id(http))
    return web.Response(
        status=status, body=msgspec.json.encode(error), headers=headers, content_type="application/json"
    )


def _default_count() -> Count:
    # Imported here: its vocabulary is needed only where nobody brings a counter.
    from sparecall.tokens import count

    return count


def _model_object(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _MODELS_CREATED, "owned_by": "sparecall-simulate"}
