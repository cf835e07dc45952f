"""The embeddings wire: takes a body apart into its inputs, a reply into its vectors, and puts a reply together from vectors."""

from __future__ import annotations

import asyncio
import base64
import itertools
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec
import numpy as np
import orjson

from sparecall import tokens
from sparecall.digest import inspect
from sparecall.pipeline.answer import Summary, TokenCount

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

T = TypeVar("T")
Input = str | list[int]
# To read or write so many bytes of numbers takes about half a millisecond, as do so many inputs looked up: after each such
# slice the loop has its turn. A thread would not help, since this work holds the interpreter.
SLICE_BYTES = 32 * 1024
SLICE_INPUTS = 128

_decode = msgspec.json.decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError)


class Vector(msgspec.Struct, frozen=True, array_like=True):
    """One input's embedding, as stored. `digest` and `scope` stand inside and are checked on every read."""

    digest: bytes
    scope: str
    stored_at: float
    """Seconds since the epoch."""
    served_by: str
    model: str
    """As the provider names it."""
    tokens: int
    data: bytes
    """float32, little endian."""


class _Body(msgspec.Struct):
    model: str
    input: str | list[Any]
    encoding_format: Literal["float", "base64"] | None = None


class Parts(msgspec.Struct, frozen=True):
    """A body taken apart, before its inputs have keys."""

    model: str
    fields: dict[str, msgspec.Raw]
    inputs: list[Input]
    as_base64: bool

    def keys(self, *, scope: str, version: int) -> Iterator[bytes]:
        """The digest of each input with all else that shapes its vector."""
        shape = {name: value for name, value in self.fields.items() if name not in {"input", "encoding_format"}}
        for item in self.inputs:
            yield inspect(msgspec.json.encode({**shape, "input": item}), scope=scope, version=version).digest


class Question(msgspec.Struct, frozen=True):
    """A body of which each input has a key of its own."""

    parts: Parts
    keys: list[bytes]

    def asking(self, keys: Sequence[bytes]) -> bytes:
        """The body that asks for the inputs with these keys, in their order."""
        return msgspec.json.encode({**self.parts.fields, "input": self.inputs_of(keys)})

    def inputs_of(self, keys: Iterable[bytes]) -> list[Input]:
        """The inputs with these keys."""
        inputs = dict(zip(self.keys, self.parts.inputs, strict=True))
        return [inputs[key] for key in keys]


async def in_slices(work: Iterable[T], size: int) -> list[T]:
    """What an iterable gives, each for about `size` bytes of work; the loop has its turn after every slice."""
    each = min(SLICE_INPUTS, max(1, SLICE_BYTES // max(1, size)))
    done = []
    for count, result in enumerate(work, 1):
        done.append(result)
        if count % each == 0:
            await asyncio.sleep(0)
    return done


def parts_of(body: bytes) -> Parts | None:
    """The body taken apart; None where it is valid JSON but odd, which is the provider's to judge.

    Raises `InvalidDocument` where it is no JSON or ambiguous. Linear in the body.
    """
    inspect(body, scope="")
    try:
        read = _decode(body, type=_Body)
        fields = _decode(body, type=dict[str, msgspec.Raw])
    except _UNREADABLE:
        return None
    inputs = [read.input] if isinstance(read.input, str) or _is_tokens(read.input) else read.input
    if not read.model or not inputs or not all(item and (isinstance(item, str) or _is_tokens(item)) for item in inputs):
        return None
    return Parts(read.model, fields, inputs, read.encoding_format == "base64")


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(token) is int for token in value)


class _Usage(msgspec.Struct):
    prompt_tokens: TokenCount = 0


class _Item(msgspec.Struct):
    index: int
    embedding: msgspec.Raw


class _Reply(msgspec.Struct, kw_only=True):
    """A reply without a look at the numbers, which are nearly all of it."""

    data: list[_Item]
    model: str = ""
    usage: _Usage | None = None

    @property
    def tokens(self) -> int:
        return 0 if self.usage is None else self.usage.prompt_tokens


class Found(msgspec.Struct, frozen=True):
    """A reply that has one item for each input, in their order; the numbers are not read yet."""

    model: str
    tokens: int
    items: list[msgspec.Raw]


_reply_decoder = msgspec.json.Decoder(_Reply)
_embedding_decoder = msgspec.json.Decoder(str | list[float])


def found_in(body: bytes, count: int) -> Found | None:
    """What a reply to so many inputs holds; None where that is not one item for each."""
    try:
        reply = _reply_decoder.decode(body)
    except _UNREADABLE:
        return None
    items = sorted(reply.data, key=lambda item: item.index)
    if [item.index for item in items] != list(range(count)):
        return None
    return Found(reply.model, reply.tokens, [item.embedding for item in items])


def numbers_of(found: Found) -> Iterator[bytes | None]:
    """The vectors of a reply as float32, each read when it is asked for; None for one that is none."""
    for item in found.items:
        try:
            yield _float32(_embedding_decoder.decode(item))
        except _UNREADABLE:
            yield None


def _float32(embedding: str | list[float]) -> bytes:
    if isinstance(embedding, list):
        return np.array(embedding, dtype="<f4").tobytes()
    data = base64.b64decode(embedding, validate=True)
    if len(data) % 4:
        raise ValueError("not a whole number of float32")
    return data


def counts_of(found: Found, inputs: Sequence[Input]) -> Iterator[int]:
    """Tokens of each input by the model's tokenizer; of none where that is not known, or where the total needs no sharing."""
    encoding = tokens.encoding_for_model(found.model)
    if encoding is not None and len(inputs) > 1:
        yield from (tokens.count(item, encoding) if isinstance(item, str) else len(item) for item in inputs)


def shares(total: int, counts: Sequence[int], inputs: Sequence[Input]) -> list[int]:
    """Tokens of each input: as counted where that gives the provider's total, else the total divided by the inputs' lengths."""
    if counts and sum(counts) == total:
        return list(counts)
    lengths = [len(item) for item in inputs]
    ends = [total * reached // sum(lengths) for reached in itertools.accumulate(lengths)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def render(vectors: Sequence[Vector], *, as_base64: bool) -> Iterator[bytes]:
    """The pieces of the reply for these vectors, one for each and one more. Floats are written with the fewest digits that make the same float32."""
    before = b'{"object":"list","data":['
    for index, vector in enumerate(vectors):
        data = base64.b64encode(vector.data).decode() if as_base64 else np.frombuffer(vector.data, "<f4")
        item = {"object": "embedding", "index": index, "embedding": data}
        yield before + orjson.dumps(item, option=orjson.OPT_SERIALIZE_NUMPY)
        before = b","
    total = sum(vector.tokens for vector in vectors)
    usage = {"prompt_tokens": total, "total_tokens": total}
    yield b"]," + orjson.dumps({"model": vectors[0].model, "usage": usage})[1:]


def summarise(body: bytes) -> Summary | None:
    """Model and tokens of a whole reply; None where it is none. It is never stored as a whole."""
    try:
        reply = _reply_decoder.decode(body)
    except _UNREADABLE:
        return None
    return Summary(reply.model, reply.tokens, 0, storable=False)
