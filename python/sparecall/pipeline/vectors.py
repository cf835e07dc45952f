"""The embeddings wire: takes a body apart into its inputs, a reply into its vectors, and puts a reply together from vectors."""

from __future__ import annotations

import base64
import itertools
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import orjson

from sparecall import tokens
from sparecall.digest import inspect
from sparecall.pipeline.answer import Summary, TokenCount

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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


class Question(msgspec.Struct, frozen=True):
    """A body of which each input has a key of its own."""

    fields: dict[str, msgspec.Raw]
    inputs: list[str | list[int]]
    keys: list[bytes]
    """The digest of each input with all else that shapes its vector."""
    as_base64: bool

    def asking(self, keys: Sequence[bytes]) -> bytes:
        """The body that asks for the inputs with these keys, in their order."""
        return msgspec.json.encode({**self.fields, "input": self.inputs_of(keys)})

    def inputs_of(self, keys: Iterable[bytes]) -> list[str | list[int]]:
        """The inputs with these keys."""
        inputs = dict(zip(self.keys, self.inputs, strict=True))
        return [inputs[key] for key in keys]


def question_of(body: bytes, *, scope: str, version: int) -> Question | None:
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
    shape = {name: value for name, value in fields.items() if name not in {"input", "encoding_format"}}
    keys = [
        inspect(msgspec.json.encode({**shape, "input": item}), scope=scope, version=version).digest for item in inputs
    ]
    return Question(fields, inputs, keys, read.encoding_format == "base64")


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(token) is int for token in value)


class _Usage(msgspec.Struct):
    prompt_tokens: TokenCount = 0


class _Embedding(msgspec.Struct):
    index: int
    embedding: str | list[float]


class _Skipped(msgspec.Struct):
    index: int
    embedding: msgspec.Raw


class _Reply(msgspec.Struct, kw_only=True):
    model: str = ""
    usage: _Usage | None = None

    @property
    def tokens(self) -> int:
        return 0 if self.usage is None else self.usage.prompt_tokens


class _List(_Reply):
    data: list[_Embedding]


class _Heads(_Reply):
    """The same without a look at the numbers, which are nearly all of it."""

    data: list[_Skipped]


class Found(msgspec.Struct, frozen=True):
    """The model's name, and the vectors and tokens of a reply in the order of the inputs."""

    model: str
    data: list[bytes]
    tokens: list[int]


_list_decoder = msgspec.json.Decoder(_List)
_heads_decoder = msgspec.json.Decoder(_Heads)


def found_in(body: bytes, inputs: Sequence[str | list[int]]) -> Found | None:
    """What a reply to these inputs holds; None where that is not one vector of the same length for each."""
    try:
        reply = _list_decoder.decode(body)
        items = sorted(reply.data, key=lambda item: item.index)
        data = [_float32(item.embedding) for item in items]
    except _UNREADABLE:
        return None
    whole = [item.index for item in items] == list(range(len(inputs)))
    if not whole or len({len(vector) for vector in data}) != 1 or not data[0]:
        return None
    return Found(reply.model, data, _shares(reply.tokens, inputs, reply.model))


def _float32(embedding: str | list[float]) -> bytes:
    if isinstance(embedding, list):
        return np.array(embedding, dtype="<f4").tobytes()
    data = base64.b64decode(embedding, validate=True)
    if len(data) % 4:
        raise ValueError("not a whole number of float32")
    return data


def _shares(total: int, inputs: Sequence[str | list[int]], model: str) -> list[int]:
    """Tokens of each input: counted where that gives the provider's total, else its total divided by the inputs' lengths."""
    if len(inputs) == 1:
        return [total]
    encoding = tokens.encoding_for_model(model)
    if encoding is not None:
        counts = [tokens.count(item, encoding) if isinstance(item, str) else len(item) for item in inputs]
        if sum(counts) == total:
            return counts
    lengths = [len(item) for item in inputs]
    ends = [total * reached // sum(lengths) for reached in itertools.accumulate(lengths)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def render(vectors: Sequence[Vector], *, as_base64: bool) -> bytes:
    """The reply for these vectors. Floats are written with the fewest digits that make the same float32."""
    total = sum(vector.tokens for vector in vectors)
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(vector.data).decode() if as_base64 else np.frombuffer(vector.data, "<f4"),
        }
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": total, "total_tokens": total}
    reply = {"object": "list", "data": data, "model": vectors[0].model, "usage": usage}
    return orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)


def summarise(body: bytes) -> Summary | None:
    """Model and tokens of a whole reply; None where it is none. It is never stored as a whole."""
    try:
        reply = _heads_decoder.decode(body)
    except _UNREADABLE:
        return None
    return Summary(reply.model, reply.tokens, 0, storable=False)
