"""Summaries of what a cut has left out: made by the user's own coroutine, remembered by what they are of, put in its place.

A summary is a message of the user's: what stood in a conversation never becomes an instruction, and both providers take one
between any two atoms; only between a call of Anthropic's and the thinking that its turn must begin with there is none.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from sparecall._core import context_select
from sparecall.cache import Cache
from sparecall.context.anthropic import thinks_first
from sparecall.context.breakpoints import bare
from sparecall.context.parts import Message, blocks_of, kind_of, parts_of
from sparecall.context.steps import Ask
from sparecall.context.writing import as_json
from sparecall.tokens import truncate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sparecall.context.costs import Costs
    from sparecall.context.cutting import Cut
    from sparecall.context.grammar import Conversation
    from sparecall.context.steps import Steps
    from sparecall.context.texts import Texts

Summarise: TypeAlias = Callable[[list[Message]], Awaitable[str]]
"""What is left out, as it came, to a text that says it in fewer words."""
# So many spans of one cut are summarised, the largest: each is a call of the user's.
_MOST = 8
# A summary of fewer tokens says nothing.
_SHORTEST = 24


class SummaryStore(Protocol):
    """Where summaries are shared, such as `sparecall.store.TieredCache`: the same store, the same bytes in every worker."""

    async def get_or_set(self, key: str, factory: Callable[[], Awaitable[str]], *, scope: str) -> str:
        """What is kept under the key, made by `factory` where nothing is."""


class Span(NamedTuple):
    """Messages that were left out, one after the other."""

    indices: tuple[int, ...]
    tokens: int
    room: int
    """Tokens that the message in their place may take."""


class Shortened(NamedTuple):
    """A cut conversation, with summaries or without."""

    out: list[Message]
    tokens: int
    origin: list[int]
    """The number that each message had before; -1 for a summary."""
    dropped: dict[int, int | None]
    """By the messages that went: None, or what of their summary's tokens is for them."""


class Summaries:
    """Summaries by what they are of, in scopes of their own: at most `max_bytes` of them here, and in `store` where there is one."""

    __slots__ = ("_known", "_store")

    def __init__(self, max_bytes: int, store: SummaryStore | None) -> None:
        self._known: Cache[tuple[str, str], str] = Cache(max_bytes)
        self._store = store

    async def of(self, spans: Sequence[Sequence[Message]], summarise: Summarise, scope: str) -> list[str | None]:
        """A text for each span; None where there is none to be had, for whatever reason but a cancellation."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._one(span, summarise, scope)) for span in spans]
        return [task.result() for task in tasks]

    async def _one(self, span: Sequence[Message], summarise: Summarise, scope: str) -> str | None:
        digest = hashlib.blake2b(digest_size=32, person=b"context.summary")
        for message in span:
            digest.update(as_json(bare(message)).encode("utf-8", "surrogatepass") + b"\n")
            await asyncio.sleep(0)
        key = digest.hexdigest()
        text = self._known.get((scope, key))
        if text is None:
            try:
                if self._store is None:
                    text = await summarise(list(span))
                else:
                    text = await self._store.get_or_set(key, lambda: summarise(list(span)), scope=scope)
            except Exception:  # noqa: BLE001 - whatever a summariser raises, there is the extractive one
                return None
            if not isinstance(text, str) or not text.strip():
                return None
            self._known.set((scope, key), text, weight=len(text) + 128)
        return text


def spans(conversation: Conversation, done: Cut, sizes: Mapping[int, int], room: int, min_gain: float) -> list[Span]:
    """What of a cut is worth a summary, in the order of the conversation: each gets its share of the room, the largest ones only."""
    found: list[tuple[list[int], int]] = []
    follows = False
    for atom in conversation.atoms:
        is_gone = atom[0] in done.choice.dropped
        if is_gone:
            tokens = sum(sizes[id(conversation.messages[index])] for index in atom)
            if follows:
                found[-1] = ([*found[-1][0], *atom], found[-1][1] + tokens)
            else:
                found.append(([*atom], tokens))
        follows = is_gone
    largest = sorted(found, key=lambda one: -one[1])[:_MOST]
    whole = sum(tokens for _, tokens in largest)
    shares = [Span(tuple(indices), tokens, room * tokens // whole) for indices, tokens in largest]
    worth = [one for one in shares if _SHORTEST <= one.room <= (1 - min_gain) * one.tokens]
    return sorted(worth)


def summarised(
    conversation: Conversation,
    done: Cut,
    wanted: Sequence[Span],
    *,
    costs: Costs,
    texts: Texts,
    encoding: str,
    ask: Callable[[list[list[Message]]], Awaitable[list[str | None]]],
) -> Steps[Shortened]:
    """The cut with a summary in the place of each span."""
    rows = conversation.messages
    made = yield Ask(functools.partial(ask, [[rows[index] for index in span.indices] for span in wanted]))
    kept = [index for index in range(len(rows)) if index not in done.choice.dropped]
    dropped: dict[int, int | None] = dict.fromkeys(done.choice.dropped)
    before: dict[int, list[Message]] = {}
    tokens = done.tokens
    for span, text in zip(wanted, made, strict=True):
        if text is None:
            text = yield functools.partial(_extract, conversation, span, texts)
        message = _fitted(text, span, costs, encoding)
        if message is None:
            continue
        cost = costs.message(message)
        tokens += cost
        for index in span.indices:
            dropped[index] = cost // len(span.indices)
        dropped[span.indices[0]] = cost - cost // len(span.indices) * (len(span.indices) - 1)
        at = sum(index < span.indices[0] for index in kept)
        before.setdefault(_place(conversation, kept, at), []).append(message)
    out: list[Message] = []
    origin: list[int] = []
    for at, (index, message) in enumerate(zip(kept, done.out, strict=True)):
        new = before.get(at, [])
        out += [*new, message]
        origin += [*[-1] * len(new), index]
    new = before.get(len(kept), [])
    return Shortened([*out, *new], tokens, [*origin, *[-1] * len(new)], dropped)


def _place(conversation: Conversation, kept: Sequence[int], at: int) -> int:
    """Before which of the kept messages a summary may stand: there, or at the nearest place above it."""
    if conversation.form == "openai":
        return at
    rows = [conversation.messages[index] for index in kept]
    if not any(map(thinks_first, rows)):
        return at
    while 0 < at < len(rows) and rows[at]["role"] == "assistant" and not thinks_first(rows[at]):
        at -= 1
        while at > 0 and any(kind_of(block) == "tool_result" for block in blocks_of(rows[at])):
            at -= 1  # the results of the call above belong to it
    return at


def _fitted(text: str, span: Span, costs: Costs, encoding: str) -> Message | None:
    """The message with as much of the text as there is room for; None where that is next to nothing."""
    head = f"[Summary of {len(span.indices)} messages that are left out here]\n"
    limit = span.room
    while limit >= _SHORTEST // 2:
        message: Message = {"role": "user", "content": head + truncate(text, limit, encoding=encoding, marker="…")}
        over = costs.message(message) - span.room
        if over <= 0:
            return message
        limit -= max(over, limit // 8)
    return None


def _extract(conversation: Conversation, span: Span, texts: Texts) -> str:
    """The lines that are worth most of the room: what an optimizer chooses from any text."""
    documents = [
        texts.document(part.text, compact=part.kind == "result")
        for index in span.indices
        for part in parts_of(conversation.parts, index)
    ]
    if not documents:
        return ""
    chosen, _ = context_select(
        [(document, number, False, 1.0) for number, document in enumerate(documents)],
        [0] * len(documents),
        budget=span.room,
    )
    lines = [
        document.text if one is True else one
        for document, one in zip(documents, chosen, strict=True)
        if one is not None
    ]
    return "\n".join(line for line in lines if isinstance(line, str))
