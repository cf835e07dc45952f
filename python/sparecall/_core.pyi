"""The compiled core. Import the faces (``sparecall.digest``, ``sparecall.tokens``, ``sparecall.cache``), not this module."""

from collections.abc import Iterable
from typing import TypedDict

# --- build ---------------------------------------------------------------------------------------

class _BuildInfo(TypedDict):
    profile: str
    version: str
    target: str
    cpu_level: str

def build_info() -> _BuildInfo:
    """How this module was built and what it found: ``profile`` (``release`` or ``debug``), ``version``, ``target``, ``cpu_level``."""

def _set_cpu_level(name: str) -> str:
    """For tests: dispatch kernels on ``scalar``, ``avx2`` or ``avx512``, or on the highest this processor has where that is lower.

    Returns the level now in force. Raises `sparecall.errors.UnknownName` for another name.
    """

# --- digest --------------------------------------------------------------------------------------

# --- tokens --------------------------------------------------------------------------------------

def tokens_count(text: str, encoding: str = "o200k_base") -> int:
    """Count the tokens of ``text``: equal to tiktoken's ``len(get_encoding(encoding).encode_ordinary(text))``.

    Special tokens such as ``<|endoftext|>`` count as the plain text they are. Surrogates are read as UTF-16, as tiktoken
    does: a pair is its character, a lone one U+FFFD.

    Linear in the text, whatever it is: a megabyte of one letter or of random ones too. ASCII text is not copied. The
    first call for an encoding expands its vocabulary: about 35 ms, once for all threads, the GIL released. Thread-safe; texts above 32 KiB are counted with the GIL released.

    Raises `TypeError` where ``text`` is no ``str``, `sparecall.errors.UnknownName` for an encoding that is not in
    ``tokens_encodings()``, `sparecall.errors.InvalidArgument` for a text that may be longer than 4 GiB.

    Algorithm: byte-pair encoding (Sennrich et al., 2016) on the pieces of OpenAI's cl100k and o200k patterns, which are
    matched by hand-written scanners over the character classes of Unicode 16; pieces above 128 bytes by the
    backtracking of van Antwerpen and Neubeck (2024).
    """

def tokens_count_many(texts: Iterable[str], encoding: str = "o200k_base") -> list[int]:
    """Count the tokens of each of ``texts``, in their order: ``[tokens_count(text, encoding) for text in texts]``.

    Raises as `tokens_count` does, and names the place of what is no ``str``; one ``str`` in place of an iterable is a
    `TypeError`. Thread-safe; the GIL is released when the texts together are above 32 KiB.
    """

def tokens_encodings() -> tuple[str, ...]:
    """List the names of the encodings that are shipped."""

def _tokens_encode(text: str, encoding: str) -> list[int]:
    """For tests: the tokens of ``text``."""

def _tokens_ranks(encoding: str) -> dict[bytes, int]:
    """For tests: the bytes of every token and its rank."""

# --- cache ---------------------------------------------------------------------------------------

# --- metrics -------------------------------------------------------------------------------------
