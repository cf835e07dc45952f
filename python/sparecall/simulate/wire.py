"""What a wire is: how one API's requests are read, and how answers, streams, errors and limits are written on it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from sparecall import sse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sparecall.simulate.answer import Answer
    from sparecall.simulate.problem import Problem
    from sparecall.simulate.quota import Limit
    from sparecall.simulate.request import ChatRequest

# About a token each: a word's beginning with the space before it, or the rest of a long word.
_PIECE = re.compile(r"\s*\S{1,7}|\s+")


def pieces(text: str) -> list[str]:
    """Return the text in pieces of about a token; joined they are the text."""
    return _PIECE.findall(text)


class Event(NamedTuple):
    """One event of a stream; ``progress`` is the share of the answer (0 to 1) that ends with it."""

    progress: float
    data: bytes
    name: str | None = None

    @classmethod
    def of(cls, progress: float, value: dict[str, Any]) -> Event:
        """Return the event of an object that names its own kind in ``type``."""
        return cls(progress, msgspec.json.encode(value), value["type"])

    def encode(self, data: bytes | None = None) -> bytes:
        """Return the event as it is sent, or with other data in its place."""
        return sse.encode(self.data if data is None else data, event=self.name)


class Refusal(NamedTuple):
    """A reply with an error object."""

    status: int
    headers: dict[str, str]
    error: dict[str, Any]


class Wire(ABC):
    """One API. ``kind`` names its requests in the counters; ``prompt_fields`` are those that the prompt's tokens are counted of."""

    kind: str
    prompt_fields: tuple[str, ...]

    @abstractmethod
    def read(self, body: dict[str, Any]) -> ChatRequest:
        """Return what a body asks for, in the one form that is answered; raise the `Problem` of one that is malformed."""

    @abstractmethod
    def whole(self, answer: Answer, body: dict[str, Any], *, created: int) -> dict[str, Any]:
        """Return the object of a reply that is not streamed."""

    @abstractmethod
    def events(self, answer: Answer, body: dict[str, Any], *, created: int) -> Iterator[Event]:
        """Yield the events of a streamed reply; the last says that it is over."""

    @abstractmethod
    def demand(self, headers: Mapping[str, str], *, key: bool) -> None:
        """Raise the `Problem` of a request without the headers it needs; its key only where ``key`` says so."""

    @abstractmethod
    def refusal(self, problem: Problem, request_id: str) -> Refusal:
        """Return the reply that carries a problem."""

    @abstractmethod
    def error_event(self, problem: Problem, request_id: str, number: int) -> Event:
        """Return the event with which a stream fails after ``number`` others."""

    @abstractmethod
    def headers(self, *, request_id: str, seconds: float, limits: list[Limit], now: float) -> dict[str, str]:
        """Return what every reply carries; ``seconds`` is its age and ``now`` the time since the epoch."""
