"""Text to unit vectors by an OpenAI-compatible ``/v1/embeddings``: a cache before it, identical texts asked once. No SDK."""

from __future__ import annotations

import asyncio
import binascii
import hashlib
import re
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

import aiohttp
import msgspec
import numpy as np

from sparecall import __version__
from sparecall.batch import Batcher
from sparecall.cache import BytesCache
from sparecall.errors import EmbedderError, InvalidArgument
from sparecall.flight import Flight

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    from sparecall.batch import BatchEvent

__all__ = ["MAX_INPUTS", "MAX_TOKENS", "RemoteEmbedder"]

MAX_INPUTS = 2048
"""The most texts that OpenAI takes in one call."""
MAX_TOKENS = 300_000
"""The most tokens that OpenAI takes in one call."""
_MAX_DIM = 16_384
# What the JSON of one vector of so many numbers may come to, and of all that surrounds them.
_MAX_BYTES_PER_INPUT, _MAX_BYTES_AROUND = 25 * _MAX_DIM, 1024 * 1024
# Above these, reading an answer or hashing texts takes longer than an event loop should wait.
_INLINE_BYTES, _INLINE_TEXTS = 64 * 1024, 256
_SOCKET_ERRORS = (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError)
_WORD = re.compile(r"[a-z][a-z0-9_]{0,63}")


class _Item(msgspec.Struct):
    index: int
    embedding: str | list[float]


class _Answer(msgspec.Struct):
    data: list[_Item]


class _Problem(msgspec.Struct):
    code: Any = None
    type: Any = None


class _Refusal(msgspec.Struct):
    error: _Problem


_ANSWER = msgspec.json.Decoder(_Answer)
_REFUSAL = msgspec.json.Decoder(_Refusal)


class RemoteEmbedder:
    """Embeds texts by an OpenAI-compatible server, over one keep-alive session that belongs to one event loop.

    ``url``: the server's base, to which ``/embeddings`` is added. ``key``: sent as a bearer token, and found nowhere else: not in
    `repr`, errors or logs. ``dimensions``: asked for, where the model can give fewer. ``encoding``: the form of the vectors on
    the wire; either is understood. ``max_inputs``: the most texts of one call, 1 to 2,048; ``max_tokens``: the most tokens, at most one for each
    byte of UTF-8; ``max_concurrent``: calls that run at once. ``timeout``: seconds for one call.
    ``cache_bytes``: what the vectors that were received may take in memory; 0 keeps none. ``on_event``: called with the
    `sparecall.batch.BatchEvent` of each call.

    Raises `sparecall.errors.InvalidArgument` for an argument outside its range.
    """

    __slots__ = (
        "_batcher", "_cache", "_closed", "_dim", "_dimensions", "_encoding", "_flight", "_key", "_max_inputs", "_model", "_prefix", "_session",
        "_timeout", "_url",
    )  # fmt: skip

    def __init__(
        self,
        model: str,
        *,
        url: str = "https://api.openai.com/v1",
        key: str | None = None,
        dimensions: int | None = None,
        encoding: Literal["base64", "float"] = "base64",
        max_inputs: int = MAX_INPUTS,
        max_tokens: int = MAX_TOKENS,
        max_concurrent: int = 4,
        timeout: float = 30.0,
        cache_bytes: int = 64 * 1024 * 1024,
        on_event: Callable[[BatchEvent], None] | None = None,
    ) -> None:
        _check(model, url, key, dimensions, encoding, max_inputs, timeout, cache_bytes)
        self._model = model
        self._url = url.rstrip("/")
        self._key = key
        self._dimensions = dimensions
        self._encoding = encoding
        self._max_inputs = max_inputs
        self._batcher: Batcher[tuple[bytes, str], bytes] = Batcher(
            self._embed,
            max_items=max_inputs,
            max_tokens=max_tokens,
            # One of more than that goes alone: the server judges it by its tokens.
            size_of=lambda asked: min(_bytes_at_most(asked[1]), max_tokens),
            max_concurrent=max_concurrent,
            on_event=on_event,
        )
        self._timeout = timeout
        self._cache = BytesCache(cache_bytes) if cache_bytes else None
        self._dim = dimensions
        self._flight: Flight[bytes, bytes] = Flight()
        # One embedder has one model, yet a digest says which: two caches' keys are never mistaken for each other's.
        self._prefix = hashlib.blake2b(msgspec.json.encode([self._url, model, dimensions]) + b"\0", digest_size=32)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"RemoteEmbedder({self._model!r}, url={self._url!r}, dim={self._dim})"

    @property
    def dim(self) -> int | None:
        """How many numbers a vector has; None until the first answer, unless ``dimensions`` says it."""
        return self._dim

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the session; calls under way raise `EmbedderError`, later ones ``RuntimeError``. May be called again."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def aembed(self, texts: str | Sequence[str]) -> NDArray[np.float32]:
        """Returns the vectors of `texts` (n, `dim`), each of length 1, a row each; one ``str`` is one text.

        Texts that are cached or stand there twice are not asked for. The rest is, in as few calls as its limits allow, together
        with what other tasks ask for while all calls that may run at once are under way; each answer is cached as it comes. Of
        several tasks that wait for the same single text one asks. A lone surrogate is sent as U+FFFD. An empty list gives an empty array.

        Raises `sparecall.errors.EmbedderError` where the server cannot be reached, takes too long, refuses or answers
        with anything but one finite vector other than zero for each text, all of one length; ``TypeError`` for what is no
        text.
        """
        listed = [texts] if isinstance(texts, str) else list(texts)
        large = len(listed) > _INLINE_TEXTS or sum(map(len, filter(_is_text, listed))) > 1024 * _INLINE_TEXTS
        keys = await asyncio.to_thread(self._keys, listed) if large else self._keys(listed)
        found: dict[bytes, bytes] = {}
        if self._cache is not None:
            cached = self._cache.get_many(keys)
            found = {key: value for key, value in zip(keys, cached, strict=True) if value is not None}
        missing = {key: text for key, text in zip(keys, listed, strict=True) if key not in found}
        if len(missing) == 1:
            ((key, text),) = missing.items()
            found[key], _led = await self._flight.run(key, lambda: self._one(key, text))
        elif missing:
            found |= await self._ask(missing)
        dim = self._dim or 0
        # A copy, so that the array can be written to.
        return np.frombuffer(b"".join(map(found.__getitem__, keys)), np.float32).reshape(len(keys), dim).copy()

    def _keys(self, texts: list[str]) -> list[bytes]:
        keys = []
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"texts[{i}] must be str, not {type(text).__name__}")
            digest = self._prefix.copy()
            digest.update(text.encode("utf-8", "surrogatepass"))
            keys.append(digest.digest())
        return keys

    async def _one(self, key: bytes, text: str) -> bytes:
        return (await self._ask({key: text}))[key]

    async def _ask(self, missing: dict[bytes, str]) -> dict[bytes, bytes]:
        """Asks for the texts, in batches; raises the first error when all have ended."""
        asked = list(missing.items())
        futures: list[asyncio.Future[bytes]] = []
        try:
            for start in range(0, len(asked), self._max_inputs):
                if start:
                    await self._batcher.ready()
                    await asyncio.sleep(0)
                futures += self._batcher.submit_many(asked[start : start + self._max_inputs])
            results = await asyncio.gather(*futures, return_exceptions=True)
        except asyncio.CancelledError:
            for future in futures:
                future.cancel()
            raise
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return dict(zip(missing, results, strict=True))  # type: ignore[arg-type]  # no error is among them

    async def _embed(self, asked: list[tuple[bytes, str]]) -> list[bytes]:
        """One call: the batch function. What it gets is cached, whoever still waits for it."""
        body = await self._call([text for _, text in asked])
        long = len(body) > _INLINE_BYTES
        vectors = await asyncio.to_thread(self._read, body, len(asked)) if long else self._read(body, len(asked))
        dim = vectors.shape[1]
        if self._dim not in {None, dim}:
            raise self._broken(f"vectors of {dim} numbers instead of {self._dim}")
        self._dim = dim
        received = [row.tobytes() for row in vectors]
        if self._cache is not None:
            self._cache.set_many({key: row for (key, _), row in zip(asked, received, strict=True)})
        return received

    async def _call(self, texts: list[str]) -> bytes:
        request: dict[str, Any] = {"model": self._model, "input": texts, "encoding_format": self._encoding}
        if self._dimensions is not None:
            request["dimensions"] = self._dimensions
        try:
            body = msgspec.json.encode(request)
        except UnicodeEncodeError:
            body = msgspec.json.encode(request | {"input": list(map(_without_surrogates, texts))})
        try:
            async with self._opened().post(f"{self._url}/embeddings", data=body, allow_redirects=False) as response:
                content = await self._whole(response, _MAX_BYTES_AROUND + len(texts) * _MAX_BYTES_PER_INPUT)
                if response.status != 200:
                    raise self._refused(response.status, content)
                return content
        except TimeoutError:
            message = f"{self._url} did not answer in {self._timeout} s; raise timeout or call again"
            raise EmbedderError(message, code="timeout") from None
        except aiohttp.ClientConnectorError as error:
            reason = error.os_error.strerror or "no address"
            raise EmbedderError(f"{self._url} cannot be reached ({reason})", code="unreachable") from None
        except _SOCKET_ERRORS as error:
            raise self._broken(f"an answer that breaks off ({type(error).__name__})") from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._closed:
            raise RuntimeError("the embedder is closed: make a new one")
        if self._session is None:
            headers = {"content-type": "application/json", "user-agent": f"sparecall/{__version__}"}
            if self._key is not None:
                headers["authorization"] = f"Bearer {self._key}"
            self._session = aiohttp.ClientSession(
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def _whole(self, response: aiohttp.ClientResponse, limit: int) -> bytes:
        pieces, size = [], 0
        while piece := await response.content.readany():
            size += len(piece)
            if size > limit:
                raise self._broken(f"an answer of over {limit} bytes, the limit here")
            pieces.append(piece)
        return b"".join(pieces)

    def _read(self, body: bytes, count: int) -> NDArray[np.float32]:
        """The unit vectors of an answer to `count` texts, in their order."""
        try:
            items = _ANSWER.decode(body).data
        except (msgspec.DecodeError, UnicodeDecodeError):  # their words may quote the answer
            raise self._broken("an answer that is no list of embeddings") from None
        if len(items) != count or {item.index for item in items} != set(range(count)):
            raise self._broken(f"{len(items)} vectors, or not each index once, for {count} texts")
        rows: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * count
        for item in items:
            rows[item.index] = self._row(item.embedding)
        if len({len(row) for row in rows}) != 1 or not 1 <= len(rows[0]) <= _MAX_DIM:
            raise self._broken(f"vectors of different lengths, or not of 1 to {_MAX_DIM} numbers")
        vectors = np.stack(rows).astype(np.float64)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(lengths) & (lengths > 0)).all():
            raise self._broken("a vector of zeros, or with numbers that are not finite")
        unit: NDArray[np.float32] = (vectors / lengths).astype(np.float32)
        return unit

    def _row(self, embedding: str | list[float]) -> NDArray[np.float32]:
        try:
            if isinstance(embedding, str):
                return np.frombuffer(binascii.a2b_base64(embedding, strict_mode=True), "<f4")
            with np.errstate(over="ignore"):  # what is beyond float32 is refused as infinite
                return np.array(embedding, np.float32)
        except ValueError:
            raise self._broken("an embedding that is no base64 of float32 numbers") from None

    def _broken(self, what: str) -> EmbedderError:
        return EmbedderError(f"{self._url} sent {what}", code="broken")

    def _refused(self, status: int, body: bytes) -> EmbedderError:
        """Names the provider's own word for it; its sentences may quote the texts or the key."""
        word = ""
        try:
            problem = _REFUSAL.decode(body).error
            words = [each for each in (problem.code, problem.type) if isinstance(each, str) and _WORD.fullmatch(each)]
            word = f" ({words[0]})" if words else ""
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        return EmbedderError(f"{self._url} answered {status}{word} to embeddings", code="refused", status=status)


def _bytes_at_most(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_base(url: str) -> bool:
    try:
        parts = urlsplit(url)
        odd = parts.query or parts.fragment or "@" in parts.netloc or parts.port == 0
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and not odd


def _without_surrogates(text: str) -> str:
    """Surrogates read as UTF-16: a pair is its character, a lone one U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _check(
    model: str,
    url: str,
    key: str | None,
    dimensions: int | None,
    encoding: str,
    max_inputs: int,
    timeout: float,
    cache_bytes: int,
) -> None:
    if not _is_base(url):
        # Not quoted: it may hold a password.
        raise InvalidArgument("url must be that of a server, http:// or https://, without user, query or fragment")
    if not model:
        raise InvalidArgument("model is empty; name one that the server has")
    if key is not None and not (key.isascii() and key.isprintable()):
        raise InvalidArgument("key holds a character that no header may hold, such as a line end")
    if dimensions is not None and not 1 <= dimensions <= _MAX_DIM:
        raise InvalidArgument(f"dimensions is {dimensions}; give 1 to {_MAX_DIM}, or None for the model's own")
    if encoding not in {"base64", "float"}:
        raise InvalidArgument(f"encoding is {encoding!r}; give base64 or float")
    if not 1 <= max_inputs <= MAX_INPUTS:
        raise InvalidArgument(f"max_inputs is {max_inputs}; give 1 to {MAX_INPUTS}")
    if not 0 < timeout < float("inf"):
        raise InvalidArgument(f"timeout is {timeout}; give seconds above 0")
    if cache_bytes < 0:
        raise InvalidArgument(f"cache_bytes is {cache_bytes}; give 0 or more")
