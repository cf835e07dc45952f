"""What messages cost in tokens: each by itself, so that a choice can be summed, and a request as a whole, which is what counts.

Without a model a message is its texts, the names and arguments of its calls, and 4 for itself, under `encoding`; tools are
their JSON. What is no text (images, audio, documents) costs what `Counter` guesses for a model it does not know. With a model
everything is what `Counter` counts for it, the high bound where it has bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from sparecall.tokens import Counter
from sparecall.tokens import count as count_tokens
from sparecall.tokens.bounds import exactly
from sparecall.tokens.content import as_json
from sparecall.tokens.memo import Memo, key_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from sparecall.context.parts import Message
    from sparecall.tokens.bounds import Bounds

PER_MESSAGE = 4
"""Tokens of a message beside its texts and calls, where no model says better."""

_encode = msgspec.json.encode
_TEXTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal", "thinking": "thinking"}


class Costs:
    """Counts tokens and remembers them by content, so that a conversation that grew by a message costs that message.

    Thread-safe; keep one for as long as conversations go on. `memo_bytes` bounds what is remembered, the texts included,
    which are the caller's own and not copies.
    """

    __slots__ = ("_counter", "_encoding", "_memo", "per_request")

    def __init__(
        self, *, encoding: str = "o200k_base", model: str | None = None, memo_bytes: int = 32 * 1024 * 1024
    ) -> None:
        count_tokens("", encoding=encoding)  # an unknown encoding is an error here
        self._encoding = encoding
        self._memo = Memo(memo_bytes)
        self._counter = None if model is None else Counter(model, memo_bytes=memo_bytes)
        self.per_request = 0 if self._counter is None else self._counter.messages([]).high
        """Tokens of a request beside its messages and tools."""

    def __repr__(self) -> str:
        return f"<Costs under {self._encoding}>" if self._counter is None else f"<Costs for {self._counter.model!r}>"

    @property
    def is_sum(self) -> bool:
        """Whether a request costs exactly what its messages and tools do, each by itself."""
        return self._counter is None

    def text(self, text: str) -> int:
        """The tokens of a text by itself; at most so many where the model's tokenizer is not public. O(n), once."""
        found = self._memo.get(text)
        if found is None:
            if self._counter is None:
                found = exactly(count_tokens(text, encoding=self._encoding))
            else:
                found = exactly(self._counter.count(text).high)
            self._memo.put(text, found)
        return found[2]  # type: ignore[return-value]  # bounds of texts are whole here

    def message(self, message: Message) -> int:
        """The tokens of one message in a request: with `per_request` and the tools' the sum is no less than the whole.

        Raises `TypeError`, naming the place, for what is no message.
        """
        if self._counter is not None:
            return self._counted(self._counter, message)
        content = message.get("content")
        total = PER_MESSAGE
        if type(content) is str:
            total += self.text(content)
        elif content is not None:
            total += self._blocks(content)
        calls = message.get("tool_calls")
        if calls:
            for call in calls:
                total += self._call(call)
        if message.get("function_call"):
            total += self._call(message["function_call"])
        refusal = message.get("refusal")
        if type(refusal) is str:
            total += self.text(refusal)
        return total

    def request(
        self,
        messages: Sequence[Message],
        tools: Iterable[Mapping[str, Any]] | None = None,
        *,
        system: str | Iterable[Mapping[str, Any]] | None = None,
        known: Mapping[int, Bounds] | None = None,
    ) -> int:
        """The tokens of a request as a whole: what must not exceed a budget. `system` is what Anthropic's requests keep beside.

        ``known``: the `bounds` of messages, by ``id``.
        """
        if self._counter is not None:
            counter = self._counter
            of = known or {}
            found = [of.get(id(message)) or self._bounds(counter, message) for message in messages]
            return counter.joined(messages, found, tools, system=system).high
        total = sum(map(self.message, messages))
        if system is not None:
            total += self.message({"role": "system", "content": system if isinstance(system, str) else list(system)})
        return total + self.tools(tools)

    def tools(self, tools: Iterable[Mapping[str, Any]] | None) -> int:
        """The tokens of tool definitions."""
        if not tools:
            return 0
        if self._counter is not None:
            return self._counter.messages([], tools).high - self.per_request
        return self._json(list(tools), "tools")

    def _blocks(self, blocks: Any) -> int:
        if type(blocks) is not list:
            raise TypeError(f"content must be str, a list of blocks or None, not {type(blocks).__name__}")
        total = 0
        for block in blocks:
            if not isinstance(block, dict):
                raise TypeError(f"a block of content must be a dict, not {type(block).__name__}")
            kind = block.get("type")
            field = _TEXTS.get(kind) if type(kind) is str else None
            text = None if field is None else block.get(field)
            if type(text) is str:
                total += self.text(text)
            elif kind == "tool_use":
                total += self._call(block)
            elif kind == "tool_result":
                content = block.get("content")
                if type(content) is str:
                    total += self.text(content)
                elif content is not None:
                    total += self._blocks(content)
            else:
                total += self._guess(block)
        return total

    def _call(self, call: Any) -> int:
        inner = call.get("function", call.get("custom", call)) if isinstance(call, dict) else None
        if not isinstance(inner, dict):
            raise TypeError(f"a tool call must be a dict that holds one, not {type(call).__name__}")
        name, arguments = inner.get("name"), inner.get("arguments", inner.get("input"))
        total = self.text(name) if type(name) is str else 0
        if type(arguments) is str:
            return total + self.text(arguments)
        return total if arguments is None else total + self._json(arguments, "arguments")

    def _json(self, value: Any, where: str) -> int:
        """The tokens of a value as compact JSON."""
        try:
            key: Hashable = _encode(value)
        except (TypeError, ValueError, RecursionError):  # lone surrogates among others
            key = as_json(value, where)
        found = self._memo.get(key)
        if found is None:
            text = key.decode() if isinstance(key, bytes) else str(key)
            found = exactly(count_tokens(text, encoding=self._encoding))
            self._memo.put(key, found)
        return found[2]  # type: ignore[return-value]

    def _guess(self, block: dict[str, Any]) -> int:
        key = key_of(block, "a block of content")
        found = None if key is None else self._memo.get(key)
        if found is None:
            counter = Counter("unknown", encoding=self._encoding, memo_bytes=0)
            empty: dict[str, Any] = {"role": "user", "content": []}
            whole = counter.messages([{"role": "user", "content": [block]}]).total
            found = exactly(whole - counter.messages([empty]).total)
            if key is not None:
                self._memo.put(key, found)
        return found[2]  # type: ignore[return-value]

    def _counted(self, counter: Counter, message: Message) -> int:
        return counter.joined([message], [self._bounds(counter, message)]).high - self.per_request

    def bounds(self, message: Message) -> Bounds | None:
        """What `request` makes of a message before it sums; None where that is `message`."""
        return None if self._counter is None else self._bounds(self._counter, message)

    def _bounds(self, counter: Counter, message: Message) -> Bounds:
        key = message_key(message)
        found = None if key is None else self._memo.get(key)
        if found is None:
            found = counter.bounds(message)
            if key is not None:
                self._memo.put(key, found)
        return found


def message_key(message: Message) -> Hashable | None:
    """A key equal only to that of a message that counts the same; None for what has none, which is then counted anew.

    Texts are hashed, which a string does once. What is small and nested, calls above all, is quicker written out as JSON.
    """
    try:
        return tuple([(name, one if type(one) is str else _frozen(name, one)) for name, one in message.items()])
    except (TypeError, ValueError, RecursionError):  # lone surrogates in the arguments of a call, among others
        return key_of(message, "a message")


def _frozen(name: str, value: Any) -> Hashable:
    if type(value) is list and name == "content":
        return tuple(
            [
                tuple([(field, one if type(one) is str else _frozen(field, one)) for field, one in block.items()])
                if type(block) is dict
                else _encode(block)
                for block in value
            ]
        )
    return _encode(value)
