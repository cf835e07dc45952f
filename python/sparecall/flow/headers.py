"""What a provider's reply tells of its limits: OpenAI's ``x-ratelimit-*``, Anthropic's ``anthropic-ratelimit-*``, ``retry-after``.

Whatever cannot be read is left out, header by header: junk is no error of the call it came with.
"""

from __future__ import annotations

import email.utils
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST = 7 * 86400.0  # seconds; whatever claims to last longer is junk
_EPOCH = 1e9  # a plain number beyond it is a date and no duration
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|s|m|h|d)")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|us|µs|s|m|h|d))+")
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Told(NamedTuple):
    """What was told of one limit; ``reset``: seconds until all of it is there again, too long by at most ``rounded``."""

    limit: float | None = None
    remaining: float | None = None
    reset: float | None = None
    rounded: float = 0.0


class Limits(NamedTuple):
    """What one reply told; ``retry_after`` in seconds."""

    requests: Told | None
    tokens: Told | None
    retry_after: float | None


def read(headers: Mapping[str, str], *, wall: float) -> Limits:
    """What these headers tell, whatever the case of their names. `wall`: seconds since the epoch, for dates where the reply has none.

    Dates are read against the reply's own ``date``: a server whose clock is wrong is wrong in both.
    """
    found = {
        name.lower(): value.strip()
        for name, value in headers.items()
        if isinstance(name, str) and isinstance(value, str) and len(value) <= 64
    }
    said = _date(found.get("date", ""))
    now = wall if said is None else said
    retry = _number(found.get("retry-after-ms", ""))
    retry = _seconds(found.get("retry-after", ""), now) if retry is None else retry / 1000
    if retry is not None and retry > _LONGEST:
        retry = None
    return Limits(
        _told(found, "requests", now), _told(found, "tokens", now) or _told(found, "input-tokens", now), retry
    )


def _told(found: dict[str, str], name: str, now: float) -> Told | None:
    for limit, remaining, reset in (
        (f"x-ratelimit-limit-{name}", f"x-ratelimit-remaining-{name}", f"x-ratelimit-reset-{name}"),
        (
            f"anthropic-ratelimit-{name}-limit",
            f"anthropic-ratelimit-{name}-remaining",
            f"anthropic-ratelimit-{name}-reset",
        ),
    ):
        when = found.get(reset, "")
        told = Told(
            _number(found.get(limit, "")), _number(found.get(remaining, "")), _seconds(when, now), _rounded(when)
        )
        if told[:3] != (None, None, None):
            return told
    return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and 0 <= number < 1e15 else None


def _seconds(text: str, now: float) -> float | None:
    """A duration (``6m0s``, ``17ms``, ``3``) or the time until a date (RFC 3339, HTTP, seconds since the epoch)."""
    if not text:
        return None
    number = _number(text)
    if number is not None:
        seconds = number - now if number > _EPOCH else number
    elif _DURATION.fullmatch(text):
        seconds = math.fsum(float(part) * _SECONDS[unit] for part, unit in _PART.findall(text))
    else:
        date = _date(text)
        if date is None:
            return None
        seconds = date - now
    return max(0.0, seconds) if seconds <= _LONGEST else None


def _rounded(text: str) -> float:
    """Seconds by which a time is rounded up: a date is a whole second, and so is the reply's own that it is read against."""
    if not text or _DURATION.fullmatch(text):
        return 0.001 if text else 0.0
    return 1.0 if text.isdigit() and len(text) < 10 else 2.0


def _date(text: str) -> float | None:
    if len(text) < 10:
        return None
    try:
        date = datetime.fromisoformat(text) if text[:4].isdigit() else email.utils.parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
