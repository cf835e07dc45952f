"""What every section asks of its values. Rules are checked in order; what must not be repeated, such as a key, raises by itself."""

from __future__ import annotations

import math
from typing import TypeAlias
from urllib.parse import urlsplit

from sparecall.errors import ConfigError

Rules: TypeAlias = list[tuple[bool, str, object, str]]
"""Whether it holds, the key, its value, and what is allowed."""

A_LIFE = "0 or more seconds, inf for no end"
A_TIMEOUT = "0.001 or more seconds"


def is_life(ttl: float | None) -> bool:
    """Whether it is a time to live."""
    return ttl is None or ttl >= 0


def is_amount(value: int | None) -> bool:
    """Whether it is a number of bytes or of things, or none."""
    return value is None or 0 <= value < 2**63


def is_share(value: float) -> bool:
    """Whether it is above 0, up to 1."""
    return 0 < value <= 1


def at_least(value: float, least: float) -> bool:
    """Whether it is finite, and not less."""
    return math.isfinite(value) and value >= least


def plain(text: str) -> bool:
    """Whether it is a text of printable characters."""
    return text != "" and text.isprintable()


def check_text(key: str, value: str | None) -> None:
    """Raises for a key that no header could carry. The message never repeats it."""
    if value is not None and not (plain(value) and value.isascii() and value == value.strip()):
        raise ConfigError(f"{key} is empty, begins or ends with a space, or holds a line end or what is not ASCII")


def check_url(key: str, url: str) -> None:
    """Raises for an address that is no provider's. A password in it is never repeated."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an end, a port that is no number
        raise ConfigError(f"{key} is no address; allowed: http(s)://host/v1") from None
    if "@" in parts.netloc:
        raise ConfigError(f"{key} holds a user name or password; leave it out and use api_key_env")
    if not plain(url) or " " in url:
        raise ConfigError(f"{key} holds white space, a line end or another character that no address may hold")
    if not fits:
        raise ConfigError(f"{key} is {url}; allowed: http(s)://host/v1")
    if "?" in url or "#" in url:
        # Not repeated: a query may hold a key.
        raise ConfigError(f"{key} holds a query or a fragment; allowed: http(s)://host/v1")
