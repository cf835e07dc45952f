"""The official SDK before a pipeline in process, for tests: asynchronous or synchronous, over httpx2 or httpx."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import openai

import sparecall
from gateway.site import KEY
from sparecall.httpx import AsyncTransport, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sparecall.pipeline import Pipeline

LIBRARIES: tuple[Any, ...] = (httpx2, httpx)


def async_sdk(pipeline: Pipeline, key: str = KEY, *, library: Any = httpx2, **options: Any) -> openai.AsyncOpenAI:
    """The asynchronous client through an open pipeline."""
    client = library.AsyncClient(transport=AsyncTransport(pipeline))
    return openai.AsyncOpenAI(**{"api_key": key, "max_retries": 0, "http_client": client, **options})


@asynccontextmanager
async def in_process(upstream: str, *, library: Any = httpx2, **config: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    """The asynchronous client before a pipeline of its own."""
    async with (
        sparecall.open({"upstream": {"url": upstream}, **config}) as pipeline,
        async_sdk(pipeline, library=library) as client,
    ):
        yield client


@contextmanager
def in_thread(upstream: str, key: str = KEY, *, library: Any = httpx2, **config: Any) -> Iterator[openai.OpenAI]:
    """The synchronous client before a pipeline in a thread."""
    transport = Transport({"upstream": {"url": upstream}, **config})
    with openai.OpenAI(api_key=key, max_retries=0, http_client=library.Client(transport=transport)) as client:
        yield client


def transport_of(client: openai.OpenAI) -> Transport:
    """The transport behind a client of `in_thread`."""
    transport = client._client._transport
    assert isinstance(transport, Transport)
    return transport
