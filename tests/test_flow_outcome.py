"""What an ended call says of its endpoint: by the status an error carries, else by its kind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sparecall.errors import BreakerOpen, LimitExceeded, UpstreamError
from sparecall.flow import outcome_of, outcome_of_status


class Carries(Exception):
    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self.__dict__.update(fields)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "success"),
        (TimeoutError(), "failure"),
        (ConnectionRefusedError(), "failure"),
        (UpstreamError("", code="timeout"), "failure"),
        (Carries(), "failure"),
        (Carries(status_code=500), "failure"),
        (Carries(status_code=429), "limited"),
        (Carries(status_code=404), "ignored"),
        (Carries(status=529), "failure"),
        (Carries(status=200), "failure"),
        (Carries(response=Carries(status_code=401)), "ignored"),
        (Carries(status_code="oops", status=True), "failure"),
        (BreakerOpen("", retry_after=1.0), "limited"),
        (LimitExceeded("", retry_after=None), "ignored"),
        (LimitExceeded("", retry_after=3.0), "limited"),
        (KeyError("mine"), "ignored"),
        (asyncio.CancelledError(), "ignored"),
        (GeneratorExit(), "ignored"),
    ],
)
def test_what_an_exception_says_of_the_endpoint(error: BaseException | None, outcome: str) -> None:
    assert outcome_of(error) == outcome


def test_what_a_status_says_of_the_endpoint() -> None:
    found = {status: outcome_of_status(status) for status in (200, 304, 400, 408, 409, 429, 500, 529)}
    assert list(found.values()) == [
        "success", "success", "ignored", "failure", "ignored", "limited", "failure", "failure",
    ]  # fmt: skip
