"""Handles: what was left out of a conversation can be fetched back by the digest of its text. In memory, bounded, per scope.

A handle is a pure function of the text, so that every worker writes the same one. It means nothing to this package where it
stands in a message: texts are never searched for handles.
"""

from __future__ import annotations

import hashlib
import sys

from sparecall.cache import Cache
from sparecall.errors import InvalidArgument, UnknownHandle

_PREFIX = "h:"
_DIGITS = 16
_TWO_TEXTS = ""
# What an entry takes beside its text, in bytes.
_BESIDE = 120


def handle_of(text: str) -> str:
    """The handle of a text: ``h:`` and 16 hex digits of its BLAKE2b-64 (RFC 7693), lone surrogates included. O(n)."""
    content = text.encode("utf-8", "surrogatepass")
    return _PREFIX + hashlib.blake2b(content, digest_size=_DIGITS // 2, person=b"context.handles").hexdigest()


class Handles:
    """Removed texts by their handles, at most `max_bytes` of them: what is asked for least leaves first. Thread-safe.

    A text is found only in the scope it was put in. Two texts of one handle, which take a deliberate 2^32 tries to make, are
    both refused, so that neither is given for the other.
    """

    __slots__ = ("_texts",)

    def __init__(self, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._texts: Cache[str, str] = Cache(max_bytes)

    def __repr__(self) -> str:
        return f"<Handles of {len(self._texts)} texts>"

    def __len__(self) -> int:
        """How many texts are kept, of all scopes."""
        return len(self._texts)

    def put(self, text: str, *, scope: str = "", handle: str | None = None) -> str:
        """Keeps a text and gives its handle, the same for the same text. One that is larger than the bound is not kept.

        ``handle``: that of the text, where it is known from before, which spares reading the text where it is kept already.
        Raises `sparecall.errors.InvalidArgument` for an empty text, of which nothing can have been removed.
        """
        if not text:
            raise InvalidArgument("text is empty; there is nothing to keep")
        if handle is None:
            handle = handle_of(text)
        key = handle + scope
        known = self._texts.get(key)
        if known is None:
            self._texts.set(key, text, weight=sys.getsizeof(text) + len(key) + _BESIDE)
        elif known != text:
            self._texts.set(key, _TWO_TEXTS, weight=len(key) + _BESIDE)
        return handle

    def get(self, handle: str, *, scope: str = "") -> str:
        """The text that was removed. Raises `sparecall.errors.UnknownHandle` where it is not there, or not any more."""
        if len(handle) != len(_PREFIX) + _DIGITS:  # a longer one could reach into another scope
            raise UnknownHandle(
                f"a handle of {len(handle)} characters; one has {len(_PREFIX) + _DIGITS}, such as the report names"
            )
        text = self._texts.get(handle + scope)
        if text is None:
            raise UnknownHandle(
                "nothing is kept under this handle in this scope; give Handles a larger max_bytes, or the scope it was put in"
            )
        if text == _TWO_TEXTS:
            raise UnknownHandle("two texts were put that have this handle; neither is given for the other")
        return text
