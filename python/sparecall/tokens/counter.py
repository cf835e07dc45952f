"""`Counter`: how many tokens a model reads for messages and tools; exact where that is public, with bounds where it is not."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from sparecall._core import tokens_count
from sparecall.errors import InvalidArgument
from sparecall.tokens.bounds import NOTHING, Bounds, exactly, plus
from sparecall.tokens.calibration import Calibration, Calibrator
from sparecall.tokens.content import Content, as_json, between
from sparecall.tokens.families import estimated_family, openai_family
from sparecall.tokens.memo import LONGEST, Memo, key_of
from sparecall.tokens.models import encoding_for_model
from sparecall.tokens.schema import cookbook, function_of, is_flat, typescript
from sparecall.tokens.waiting import INLINE, STEP, size_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparecall.tokens.families import Ratios

Usage = int | Mapping[str, Any] | object
"""What a provider reported: the number of input tokens, or its `usage` with `prompt_tokens` or `input_tokens`."""


class TextCounter(Protocol):
    """Whatever counts a text, such as a tokenizer loaded from a file."""

    def count(self, text: str, /) -> int:
        """The tokens of `text`."""


class TokenCount(msgspec.Struct, frozen=True):
    """How many tokens: `total` is the best guess, between `low` and `high`; all three are equal where it is exact."""

    total: int
    low: int
    high: int
    exact: bool
    basis: float = 0.0
    """What the rules alone make of it, before any correction by `observe`, which needs it."""


class Counter:
    """Counts for one model. Thread-safe; keep one for as long as you talk to the model, for what it remembers and learns.

    `encoding` says how texts are counted where the name of the model does not tell: a name of `encodings()`, or an object
    with a `count(text)` method. `memo_bytes` bounds what is remembered of messages that were counted.
    """

    __slots__ = ("_calibrator", "_content", "_count", "_family", "_memo", "encoding", "model")

    def __init__(
        self, model: str, *, encoding: str | TextCounter | None = None, memo_bytes: int = 16 * 1024 * 1024
    ) -> None:
        if not isinstance(model, str):
            raise TypeError(f"model must be str, not {type(model).__name__}")
        if not model:
            raise InvalidArgument("model is empty; name one, such as gpt-4o")
        if memo_bytes < 0:
            raise InvalidArgument(f"memo_bytes is {memo_bytes}; it must be at least 0")
        self.model = model
        name = model.removeprefix("openai/")
        public = encoding_for_model(name)
        family = estimated_family(model) if public is None else openai_family(name)
        self._family = family if encoding is None else family._replace(ratios=None)  # what the wire adds stays a margin
        self.encoding = encoding if encoding is not None else public or "o200k_base"
        self._count: Callable[[str], int] = (
            functools.partial(tokens_count, encoding=self.encoding)
            if isinstance(self.encoding, str)
            else self.encoding.count
        )
        self._count("")  # an unknown encoding is an error here, not at the first message
        self._memo = Memo(memo_bytes)
        self._calibrator = Calibrator()
        self._content = Content(_text_rule(self._count, self._family.ratios), self._family)

    def __repr__(self) -> str:
        return (
            f"<Counter for {self.model!r}, {'exact' if self._family.is_exact else 'estimated'} by {self._family.name}>"
        )

    def count(self, text: str) -> TokenCount:
        """The tokens of one bare text."""
        if not isinstance(text, str):
            raise TypeError(f"text must be str, not {type(text).__name__}")
        return self._corrected(self._content.content(text, "text"))

    def messages(
        self,
        messages: Iterable[Mapping[str, Any]],
        tools: Iterable[Mapping[str, Any]] | None = None,
        *,
        system: str | Iterable[Mapping[str, Any]] | None = None,
    ) -> TokenCount:
        """The tokens the model reads for a request: messages of chat completions or of Anthropic, or items of Responses.

        `system` is what those two wires keep beside the messages: `instructions`, `system`. Linear in what was not counted
        before, plus a fraction of a microsecond for each message that was. Raises `TypeError`, naming the place, for what
        is no message, and `sparecall.errors.InvalidArgument` for one nested too deeply.
        """
        rows = _listed(messages, "messages")
        low, total, high = self._family.rules.per_request
        known = self._memo.young
        for i, message in enumerate(rows):
            found = None
            if (
                type(message) is dict
                and len(message) == 2
                and type(content := message.get("content")) is str
                and type(role := message.get("role")) is str
                and len(content) <= LONGEST
            ):
                found = known.get((role, content))
            if found is None:
                found = self._message(message, i)
            low += found[0]
            total += found[1]
            high += found[2]
        if system is None and tools is None:
            return self._corrected((low, total, high))
        return self._corrected(plus((low, total, high), self._beside(rows, tools, system)))

    def bounds(self, message: Mapping[str, Any]) -> Bounds:
        """Low, likely and high of one message in a request, before any correction: what `joined` takes. Nothing is remembered."""
        return self._content.message(message, "a message")

    def joined(
        self,
        messages: Sequence[Mapping[str, Any]],
        found: Iterable[Bounds],
        tools: Iterable[Mapping[str, Any]] | None = None,
        *,
        system: str | Iterable[Mapping[str, Any]] | None = None,
    ) -> TokenCount:
        """`messages` for whoever remembers the `bounds` of each message: a tenth of a microsecond for each."""
        low, total, high = self._family.rules.per_request
        for one in found:
            low += one[0]
            total += one[1]
            high += one[2]
        if system is None and tools is None:
            return self._corrected((low, total, high))
        return self._corrected(plus((low, total, high), self._beside(list(messages), tools, system)))

    async def messages_async(
        self,
        messages: Iterable[Mapping[str, Any]],
        tools: Iterable[Mapping[str, Any]] | None = None,
        *,
        system: str | Iterable[Mapping[str, Any]] | None = None,
    ) -> TokenCount:
        """`messages`, without holding the running loop over a millisecond: what is new is counted in steps, others run between.

        A message or tools above 32 KiB are counted by a thread of the loop's executor. What is changed meanwhile counts as
        it was or as it is.
        """
        rows = _listed(messages, "messages")
        bounds, spent = self._family.rules.per_request, 0
        for i, row in enumerate(rows):
            size = size_of(row)
            found = self._found(row, i) if size <= 4 * LONGEST else None
            if found is not None:
                spent += 128 + size // 16  # looking it up takes about so much less
            elif size > INLINE:
                found = await asyncio.to_thread(self._message, row, i)
            else:
                found = self._message(row, i)
                spent += 128 + size
            bounds = plus(bounds, found)
            if spent > STEP:
                await asyncio.sleep(0)
                spent = 0
        beside = functools.partial(self._beside, rows, tools, system)
        is_long = size_of(system) + size_of(tools) > INLINE
        return self._corrected(plus(bounds, await asyncio.to_thread(beside) if is_long else beside()))

    def observe(self, counted: TokenCount | Iterable[Mapping[str, Any]], usage: Usage) -> None:
        """Learn from what the provider reported for a request: its count, or its messages where there were no tools.

        The bounds of later estimates follow the ratios of reported to estimated. Raises `TypeError` or
        `sparecall.errors.InvalidArgument` for a usage that is no count above 0.
        """
        truth = _input_tokens(usage)
        if not isinstance(counted, TokenCount):
            counted = self.messages(counted)
        if counted.exact:
            self._calibrator.confirm(holds=counted.total == truth)
        elif counted.basis > 0:
            self._calibrator.observe(counted.basis, truth)

    @property
    def calibration(self) -> Calibration:
        """What the bounds rest on: the family's margins, and what `observe` was told."""
        return self._calibrator.state(self._family.name)

    def _found(self, message: Any, i: int) -> Bounds | None:
        """What is remembered of a message."""
        key = key_of(message, f"messages[{i}]") if isinstance(message, Mapping) else None
        return None if key is None else self._memo.get(key)

    def _message(self, message: Any, i: int | None) -> Bounds:
        where = "system" if i is None else f"messages[{i}]"
        if not isinstance(message, Mapping):
            dump = getattr(message, "model_dump", None)  # an SDK's own message, as it came in a reply
            if dump is None:
                raise TypeError(f"{where} must be a dict, not {type(message).__name__}")
            message = dump(exclude_none=True)
        key = key_of(message, where)
        found = None if key is None else self._memo.get(key)
        if found is None:
            found = self._content.message(message, where)
            # Changed by another thread in the meantime, it must not be remembered as what it was.
            if key is not None and key_of(message, where) == key:
                self._memo.put(key, found)
        return found

    def _beside(self, messages: list[Any], tools: Any, system: Any) -> Bounds:
        """What stands beside the messages."""
        bounds = NOTHING
        if system is not None:
            content = system if isinstance(system, str) else _listed(system, "system")
            messages = [{"role": "system", "content": content}, *messages]
            bounds = self._message(messages[0], None)
        if tools is not None:
            tools = _listed(tools, "tools")
            bounds = plus(bounds, self._tools(tools), self._newline(messages) if tools else NOTHING)
        return bounds

    def _tools(self, tools: list[Any]) -> Bounds:
        if not tools:
            return NOTHING
        text = as_json(tools, "tools")
        key = ("tools", text, None)
        found = self._memo.get(key)
        if found is None:
            found = self._definitions(tools, text)
            self._memo.put(key, found)
        return found

    def _definitions(self, tools: list[Any], text: str) -> Bounds:
        for i, tool in enumerate(tools):
            if not isinstance(tool, Mapping):
                raise TypeError(f"tools[{i}] must be a dict, not {type(tool).__name__}")
        functions = [function for tool in tools if (function := function_of(tool)) is not None]
        others = [tool for tool in tools if function_of(tool) is None]
        count = self._content.content
        rendered = count(typescript(functions), "tools") if functions else NOTHING
        # What a provider's own tool says of itself to the model is seen by nobody.
        beside = (
            plus(between(0, 1, 2, count(as_json(others, "tools"), "tools")), (0, 100, 1_000)) if others else NOTHING
        )
        if not self._family.name.startswith("openai"):
            # Every provider has its own form; JSON as it came is about the longest.
            whole = count(text, "tools")
            low = min(rendered[0], whole[0])
            return plus(self._family.tools, (low * 0.8, whole[1], whole[2] + 12 * len(tools)), beside)
        if not functions:
            return beside
        total = rendered[1] + 9
        other = cookbook(functions, self._count) if is_flat(functions) else total
        return plus((min(total, other) * 0.9 - 8, total, max(total, other) * 1.15 + 24), beside)

    def _newline(self, messages: list[Any]) -> Bounds:
        """OpenAI's definitions join the first system message, after a line end, and so need none of their own."""
        if not self._family.name.startswith("openai"):
            return NOTHING
        first = next((one for one in messages if isinstance(one, Mapping) and one.get("role") == "system"), None)
        if first is None:
            return NOTHING
        content = first.get("content")
        if not isinstance(content, str):
            return exactly(-4)
        key = ("newline", content, None)
        found = self._memo.get(key)
        if found is None:
            found = exactly(self._count(content + "\n") - self._count(content) - 4)
            self._memo.put(key, found)
        return found

    def _corrected(self, bounds: Bounds) -> TokenCount:
        low, total, high = bounds
        if low == high:
            return TokenCount(int(total), int(total), int(total), exact=True)
        learnt = self._calibrator.stratum(total)
        likely = total * learnt.ratio
        if learnt.is_measured:
            low, high = total * learnt.low, total * learnt.high
        elif learnt.observations:
            low, high = min(low, total * learnt.low), max(high, total * learnt.high)
        whole = round(likely)
        return TokenCount(
            whole, min(whole, max(0, math.floor(low))), max(whole, math.ceil(high)), exact=False, basis=total
        )


def _listed(values: Any, name: str) -> list[Any]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list of dicts, not {type(values).__name__}")
    return list(values)


def _text_rule(count: Callable[[str], int], ratios: Ratios | None) -> Callable[[str], Bounds]:
    if ratios is None:

        def exact(text: str) -> Bounds:
            number = count(text)
            return number, number, number

        return exact

    def estimated(text: str) -> Bounds:
        number = count(text)
        if not text.isascii():
            low, likely, high = ratios.wide
        elif 2 * len(text) < 5 * number:
            low, likely, high = ratios.dense
        else:
            low, likely, high = ratios.prose
        return number * low, number * likely, number * high

    return estimated


def _input_tokens(usage: Usage) -> int:
    if isinstance(usage, bool) or usage is None or isinstance(usage, str | bytes | float):
        raise TypeError(f"usage must be int or a usage object, not {type(usage).__name__}")
    if isinstance(usage, int):
        number: Any = usage
    else:
        get = usage.get if isinstance(usage, Mapping) else functools.partial(_attribute, usage)
        number = get("prompt_tokens")
        if number is None:
            number = get("input_tokens")
            # Anthropic counts what its cache held apart.
            parts = [get("cache_read_input_tokens"), get("cache_creation_input_tokens")]
            if type(number) is int:
                number += sum(part for part in parts if isinstance(part, int))
        if type(number) is not int:
            raise TypeError("usage must have prompt_tokens or input_tokens that is int")
    if not 0 < number <= 2**53:
        raise InvalidArgument(f"usage says {number} input tokens; it must be above 0")
    return int(number)


def _attribute(usage: object, name: str) -> Any:
    return getattr(usage, name, None)
