"""What a reply tells of its limits: both providers' spellings, dates against the reply's own clock, and junk passed over."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparecall.flow.headers import Limits, Told, read
from sparecall.simulate import quota

WALL = 1_700_000_000.25
NAMES = st.sampled_from(
    [
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-requests",
        "anthropic-ratelimit-tokens-reset",
        "anthropic-ratelimit-requests-limit",
        "retry-after",
        "retry-after-ms",
        "date",
    ]
)
VALUES = st.one_of(
    st.text(max_size=70),
    st.text("0123456789.-+eE:smhdµ TZ", max_size=20),
    st.sampled_from(
        ["1e400", "nan", "-0", "9" * 60 + "d", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59+14:00", "1" * 64]
    ),
)


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_what_the_simulated_provider_tells_is_read(wire: str) -> None:
    found = quota.Quota(requests_per_minute=60, tokens_per_minute=9_000)
    assert found.admit(1_000, WALL) is None
    limits = found.limits(WALL + 2.5)
    headers = quota.openai_headers(limits) if wire == "openai" else quota.anthropic_headers(limits, WALL + 2.5)
    told = read(headers, wall=WALL + 2.5)
    assert told.requests is not None
    assert told.tokens is not None
    assert told.requests[:2] == (60.0, 59.0)
    assert told.tokens[:2] == (9_000.0, 8_000.0)
    assert told.tokens.reset == pytest.approx(57.5, abs=1.0)
    assert told.retry_after is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("17ms", 0.017),
        ("8.64s", 8.64),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("1d", 86400.0),
        ("250us", 0.00025),
        ("3", 3.0),
        ("0.5", 0.5),
        (str(WALL + 30), 30.0),
        ("2023-11-14T22:13:50.25Z", 30.0),
        ("2023-11-14T22:13:50.25", 30.0),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 29.75),
        ("2023-11-14T00:00:00Z", 0.0),
        ("8d", None),
        ("2033-01-01T00:00:00Z", None),
        ("-5", None),
        ("5 parsecs", None),
        ("", None),
    ],
)
def test_times_are_read_however_they_are_written(text: str, seconds: float | None) -> None:
    told = read({"x-ratelimit-reset-requests": text, "x-ratelimit-limit-requests": "5"}, wall=WALL)
    assert told.requests == Told(5.0, None, None if seconds is None else pytest.approx(seconds), told.requests.rounded)


def test_dates_are_read_against_the_reply_s_own() -> None:
    headers = {
        "Date": "Tue, 14 Nov 2023 23:13:20 GMT",  # an hour ahead
        "Anthropic-Ratelimit-Requests-Reset": "2023-11-14T23:14:20Z",
        "Retry-After": "Tue, 14 Nov 2023 23:13:27 GMT",
    }
    assert read(headers, wall=WALL) == Limits(Told(reset=60.0, rounded=2.0), None, 7.0)


def test_the_finer_of_two_pauses_counts_and_input_tokens_stand_for_tokens() -> None:
    told = read(
        {"retry-after": "2", "retry-after-ms": "1250", "anthropic-ratelimit-input-tokens-remaining": "7"}, wall=WALL
    )
    assert told == Limits(None, Told(remaining=7.0), 1.25)


@given(st.dictionaries(NAMES, VALUES, max_size=8))
def test_whatever_is_in_them_is_read_or_passed_over(headers: dict[str, str]) -> None:
    told = read(headers, wall=WALL)
    for each in (told.requests, told.tokens, Told(reset=told.retry_after)):
        for number in each or ():
            assert number is None or (math.isfinite(number) and number >= 0)
        if each is not None and each.reset is not None:
            assert each.reset <= 7 * 86400
