"""`POST /sparecall/feedback`: a client says whether an answer that it got by meaning was right. Only on answers of its own scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sparecall.errors import UnknownName
from sparecall.exchange import Refusal
from sparecall.pipeline import Semantic
from sparecall.pipeline.scope import scope_in

if TYPE_CHECKING:
    from sparecall.pipeline import Pipeline, Request

PATH = "/sparecall/feedback"


class Feedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of such a request."""

    id: str
    """What ``x-sparecall-semantic-id`` said."""
    correct: bool


def take(pipeline: Pipeline, request: Request) -> None:
    """Passes the feedback on. Raises a 400 for a body that is none, a 404 for an id that names nothing in the request's scope."""
    try:
        feedback = msgspec.json.decode(request.body, type=Feedback)
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = 'The body is to be {"id": <x-sparecall-semantic-id of the answer>, "correct": true or false}.'
        raise Refusal(400, message, code="invalid_body") from None
    semantic: Semantic | None = pipeline.stage(Semantic)
    scope = scope_in(pipeline, request)
    # The same words for all: an id of another scope looks like one that never was.
    unknown = Refusal(
        404, "There is no such answer here: it is of another scope or process, or is gone.", code="unknown_id"
    )
    if semantic is None or scope is None:
        raise unknown
    try:
        semantic.feedback(feedback.id, correct=feedback.correct, scope=scope)
    except UnknownName:
        raise unknown from None
