"""What OpenAI's APIs have in common: the bearer key, the error object and the headers of a reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sparecall.simulate.problem import Problem
from sparecall.simulate.quota import openai_headers
from sparecall.simulate.wire import Event, Refusal, Wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sparecall.simulate.quota import Limit


class OpenAIWire(Wire):
    """A wire of OpenAI's."""

    def demand(self, headers: Mapping[str, str], *, key: bool) -> None:
        """Demand a bearer key."""
        if key and not bearer(headers):
            raise Problem(401, "You didn't provide an API key (simulated: any will do).", code="invalid_api_key")

    def refusal(self, problem: Problem, request_id: str) -> Refusal:
        """Return ``{"error": {"message", "type", "param", "code"}}``; the request's id stands in a header only."""
        return Refusal(problem.status, problem.headers, {"error": problem.error})

    def error_event(self, problem: Problem, request_id: str, number: int) -> Event:
        """Return the error object as an event without a name."""
        return Event(1.0, msgspec.json.encode(self.refusal(problem, request_id).error))

    def headers(self, *, request_id: str, seconds: float, limits: list[Limit], now: float) -> dict[str, str]:
        """Return ``x-request-id``, ``openai-processing-ms`` and ``x-ratelimit-*``."""
        return {
            "x-request-id": request_id,
            "openai-processing-ms": str(round(seconds * 1000)),
            **openai_headers(limits),
        }


def bearer(headers: Mapping[str, str]) -> str:
    """Return the key of ``Authorization: Bearer ...``, or an empty text."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""
