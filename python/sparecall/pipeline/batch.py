"""Embeddings of several requests in one call: what may go together, how much of it, and who goes alone after all. No sockets."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextvars import copy_context
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from sparecall import tokens
from sparecall.batch import Batcher
from sparecall.errors import BatchError, Overloaded, UpstreamError
from sparecall.pipeline.reply import Reply
from sparecall.pipeline.upstream import REQUEST_HEADERS
from sparecall.pipeline.vectors import Vector, in_slices

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable, Sequence

    from sparecall.batch import BatchEvent
    from sparecall.config import Embeddings as EmbeddingsConfig
    from sparecall.pipeline.request import Request
    from sparecall.pipeline.stage import Next
    from sparecall.pipeline.vectors import Input, Question

__all__ = ["Batches", "Fetched", "Part", "Refused", "merged"]

# They say which call this is, not what is asked nor who pays: a call of several requests goes without.
_LABELS = frozenset({"traceparent", "tracestate", "x-client-request-id"})
_TELLING_HEADERS = (REQUEST_HEADERS | {"connection"}) - _LABELS
MAX_INPUT_TOKENS = 8192
"""The most of one input that OpenAI takes: a request with a longer one is refused whole, and takes nobody with it."""
_MOST_COMPANIES = 256
_LOOKED_AT = 64  # of those least lately used, for idle ones to forget
# So many shared calls refused and none answered: it is not the inputs. Their company's requests go apart for so many seconds.
_REFUSALS, _APART = 8, 600.0
_encode = msgspec.json.encode


class Fetched(msgspec.Struct, frozen=True):
    """What a call gave to one part: vectors by key, or none and the reply that says why."""

    vectors: dict[bytes, Vector]
    reply: Reply


class Part:
    """The inputs of one request that go out together, each with its key. `tokens` are at least as many as they have."""

    __slots__ = ("below", "context", "inputs", "overdue", "question", "request", "started", "tokens")

    def __init__(
        self, question: Question, request: Request, below: Next, inputs: dict[bytes, Input], tokens: int = 0
    ) -> None:
        self.question = question
        self.request = request
        self.below = below
        self.inputs = inputs
        self.tokens = tokens
        self.context = copy_context()
        self.started = self.overdue = False

    def body(self) -> bytes:
        """What asks for it alone: the client's own body where it asks for the same."""
        keys = list(self.inputs)
        return self.request.body if keys == self.question.keys else self.question.asking(keys)

    def go_alone(self, future: asyncio.Future[Fetched]) -> None:
        """It has waited long enough: where its batch has not begun, it leaves."""
        if not self.started and not future.done():
            self.overdue = True
            future.cancel()


class Refused(Exception):
    """A call of several parts was refused in a way that one of them may be the reason for."""

    status = 400  # of an item's fault, for `sparecall.batch.running.is_item_fault`


def merged(parts: Sequence[Part]) -> Request:
    """The request that asks for all parts at once. They must be of one company."""
    first = parts[0]
    inputs = [each for part in parts for each in part.inputs.values()]
    headers = {name: value for name, value in first.request.headers.items() if name.lower() not in _LABELS}
    body = _encode({**first.question.parts.fields, "input": inputs})
    # Each caller keeps to a deadline of its own: that of the first must not end the call of the others.
    return msgspec.structs.replace(first.request, body=body, headers=headers, deadline=None, trace={})


def company_of(part: Part) -> Hashable | None:
    """What must be equal for requests to go together: all that the provider could see, bill or answer differently. None: it goes alone.

    That is tenant and credentials, every field but the inputs (`user` and `encoding_format`, too), whether these are texts or
    token numbers, the headers that reach the provider, except those that only label a call, and the priority.
    """
    request = part.request
    kinds = {type(each) for each in part.inputs.values()}
    headers = {}
    for name, value in request.headers.items():
        lower = name.lower()
        if lower == "idempotency-key":
            return None
        if lower in _TELLING_HEADERS:
            headers[lower] = value
    if len(kinds) > 1:
        return None
    fields = {name: bytes(raw) for name, raw in part.question.parts.fields.items() if name != "input"}
    told = frozenset(fields.items()), frozenset(headers.items())
    return request.scope, request.key, request.priority, kinds.pop(), *told, part.below


class _Company:
    """Requests that may go together: their batcher, and until when (of the loop's time) they go apart since the provider takes none together."""

    __slots__ = ("apart_until", "batcher", "refused")

    def __init__(self) -> None:
        self.batcher: Batcher[Part, Fetched]
        self.apart_until = float("-inf")
        self.refused = 0

    def answered(self, now: float, *, well: bool) -> None:
        """A shared call was answered, or refused."""
        self.refused = 0 if well else self.refused + 1
        if self.refused >= _REFUSALS:
            self.apart_until = now + _APART


class Batches:
    """A `Batcher` for each company of requests, over ``call``, which asks the provider for the inputs of one or more parts.

    While fewer than ``config.max_concurrent`` calls of a company run, a request goes at once and unchanged. What comes while as many
    run waits for one of them to end, ``config.max_wait`` seconds at most, and goes out together. Companies never wait for each other. A request
    of more than ``max_inputs`` or ``max_tokens`` goes in several parts. A call of one part runs in the context of its caller, a shared one in that of
    whoever made this. A company of whom a provider answers no shared call goes apart for ten minutes. ``on_event``: called with each `BatchEvent`, whose items are parts
    and whose tokens are what counted for the limits: at least as many as the inputs have.
    """

    __slots__ = ("_call", "_closed", "_companies", "_config", "_context", "_on_event", "alone")

    def __init__(
        self,
        call: Callable[[list[Part]], Coroutine[Any, Any, list[Fetched]]],
        config: EmbeddingsConfig,
        *,
        on_event: Callable[[BatchEvent], None] | None = None,
    ) -> None:
        self._call = call
        self._config = config
        self._on_event = on_event
        self._companies: OrderedDict[Hashable, _Company] = OrderedDict()
        self._context = copy_context()  # of whoever made the pipeline, not of the first client
        self._closed = False
        self.alone = 0
        """Parts that might have shared a call, but went alone because they waited too long or too much waited."""

    def __len__(self) -> int:
        """How many companies are remembered."""
        return len(self._companies)

    async def ask(self, part: Part) -> Fetched:
        """What the provider gives for these inputs, in a call of its own or together with others."""
        with_whom = company_of(part)
        counts = None if with_whom is None else await self._counts(part)
        if counts is None:
            return (await self._call([part]))[0]
        pieces = self._pieces(part, counts)
        if len(pieces) == 1:
            return await self._together(pieces[0], with_whom)
        asking = [self._together(piece, with_whom) for piece in pieces]
        return _joined(await asyncio.gather(*asking, return_exceptions=True))

    async def close(self) -> None:
        """Fails whoever still waits. May be called again."""
        self._closed = True
        while self._companies:
            await self._companies.popitem()[1].batcher.close(grace=0)

    async def _together(self, part: Part, with_whom: Hashable) -> Fetched:
        company, loop = self._company(with_whom), asyncio.get_running_loop()
        if loop.time() < company.apart_until:
            return (await self._call([part]))[0]
        try:
            future = company.batcher.submit(part)
        except Overloaded:
            return await self._by_itself(part)
        timer = loop.call_later(self._config.max_wait, part.go_alone, future)
        try:
            return await future
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not part.overdue or (task is not None and task.cancelling()):
                raise
        except Refused:  # by others' fault, as far as could be told with few calls
            pass
        except BatchError:
            raise UpstreamError("sparecall closed while a call was running; call again", code="broken") from None
        finally:
            timer.cancel()
        return await self._by_itself(part)

    async def _by_itself(self, part: Part) -> Fetched:
        self.alone += 1
        return (await self._call([part]))[0]

    async def _run(self, company: _Company, parts: list[Part]) -> list[Fetched]:
        """The batch function."""
        loop = asyncio.get_running_loop()
        for part in parts:
            part.started = True
        if len(parts) == 1:
            return await loop.create_task(self._call(parts), context=parts[0].context)
        try:
            fetched = await self._call(parts)
        except Refused:
            company.answered(loop.time(), well=False)
            raise
        company.answered(loop.time(), well=True)
        return fetched

    def _company(self, with_whom: Hashable) -> _Company:
        """Those who go together: nobody waits for other companies' calls. Those least lately used are forgotten, once idle."""
        companies = self._companies
        found = companies.get(with_whom)
        if found is not None:
            companies.move_to_end(with_whom)
            return found
        if self._closed:
            raise UpstreamError("the pipeline is closed: open another", code="broken")
        config, made = self._config, _Company()
        made.batcher = self._context.run(
            Batcher,
            partial(self._run, made),
            max_items=config.max_inputs,
            max_tokens=config.max_tokens,
            size_of=self._weight,
            max_concurrent=config.max_concurrent,
            overflow="reject",
            # No batch is held for more: a provider's calls do not wait for each other, so that nothing is spared by it but calls.
            hold=False,
            on_event=self._on_event,
        )
        spare = len(companies) + 1 - _MOST_COMPANIES
        if spare > 0:
            oldest = [key for key in islice(companies, _LOOKED_AT) if not companies[key].batcher.busy]
            for key in oldest[:spare]:
                del companies[key]
        companies[with_whom] = made
        return made

    def _weight(self, part: Part) -> int:
        """Its share of a call in tokens, whichever of the two limits it fills more of."""
        config = self._config
        each = -(-config.max_tokens // config.max_inputs)
        return min(max(part.tokens, len(part.inputs) * each, 1), config.max_tokens)

    async def _counts(self, part: Part) -> list[int] | None:
        """Tokens of each input, or a bound on them; None where one is longer than a provider takes, or all are and nobody knows how they count.

        A text has at most a token for each byte. Counted exactly is only what could be too long by that, and where its model's tokenizer is known.
        """
        inputs = part.inputs.values()
        bounds = [_at_most(each) for each in inputs]
        total, limit = sum(bounds), self._config.max_tokens
        if max(bounds) <= MAX_INPUT_TOKENS and total <= limit // 4:
            return bounds
        encoding = tokens.encoding_for_model(part.question.parts.model)
        if encoding is None:
            return bounds if total <= limit else None
        exact = (tokens.count(each, encoding) if isinstance(each, str) else len(each) for each in inputs)
        counts = await in_slices(exact, total // len(bounds))
        return counts if max(counts) <= min(MAX_INPUT_TOKENS, limit) else None

    def _pieces(self, part: Part, counts: list[int]) -> list[Part]:
        """The part, or parts of it that a call can take."""
        most, limit = self._config.max_inputs, self._config.max_tokens
        if len(counts) <= most and sum(counts) <= limit:
            part.tokens = sum(counts)
            return [part]
        pieces: list[Part] = []
        for (key, each), count in zip(part.inputs.items(), counts, strict=True):
            if not pieces or len(pieces[-1].inputs) == most or pieces[-1].tokens + count > limit:
                pieces.append(Part(part.question, part.request, part.below, {}))
            pieces[-1].inputs[key] = each
            pieces[-1].tokens += count
        return pieces


def _at_most(each: Input) -> int:
    return len(each) if isinstance(each, list) or each.isascii() else len(each.encode("utf-8", "surrogatepass"))


def _joined(outcomes: Sequence[Fetched | BaseException]) -> Fetched:
    """One outcome of the parts of one request. Where one failed, the others' vectors are in memory for whoever asks again."""
    found: dict[bytes, Vector] = {}
    replies: list[Reply] = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        if outcome.reply.status != 200:
            return Fetched({}, outcome.reply)
        found |= outcome.vectors
        replies.append(outcome.reply)
    read = [reply.summary for reply in replies if reply.summary is not None]
    total = sum(summary.prompt_tokens for summary in read)
    summary = msgspec.structs.replace(read[0], prompt_tokens=total) if read else None
    return Fetched(found, msgspec.structs.replace(replies[-1], summary=summary))
