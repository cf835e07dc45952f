"""The compiled core. Import the faces (``sparecall.digest``, ``sparecall.tokens``, ``sparecall.cache``), not this module."""

from typing import Literal, TypeAlias, TypedDict, final

from typing_extensions import Buffer

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

_Reason: TypeAlias = Literal[
    "", "not_chat", "stream_type", "stream_options_type", "temperature_type", "temperature", "n_type", "n"
]

@final
class Inspection:
    """What one pass over a request body found: its digest, and whether its answer may be cached. Immutable."""

    @property
    def digest(self) -> bytes:
        """BLAKE3-256 of scope, version, salt and the canonical body: 32 bytes."""
    @property
    def model(self) -> str:
        """The model asked for; empty where the body names none."""
    @property
    def stream(self) -> bool:
        """Whether the client asked for a stream."""
    @property
    def include_usage(self) -> bool:
        """Whether the client asked for a usage chunk at the end of its stream."""
    @property
    def cacheable(self) -> bool:
        """Whether the answer may be cached."""
    @property
    def why(self) -> _Reason:
        """Why not, in one word of a closed list; empty where it may.

        ``not_chat``: no object with a non-empty ``messages`` array of objects and a non-empty string ``model``.
        ``temperature``, ``n``: above the limit (absent counts as 1). ``stream_type``, ``stream_options_type``,
        ``temperature_type``, ``n_type``: not what the field may hold. The first that applies, in this order:
        ``not_chat``, ``stream_type``, ``stream_options_type``, ``temperature_type``, ``temperature``, ``n_type``, ``n``.
        """
    @property
    def messages(self) -> int:
        """How many messages there are."""
    @property
    def temperature(self) -> float | None:
        """As the body has it; None where absent, null or no number."""
    @property
    def n(self) -> int:
        """How many choices are asked for; 1 where absent or odd."""
    @property
    def has_tools(self) -> bool:
        """Whether there is a non-empty ``tools`` or ``functions`` array."""

@final
class Difference:
    """Where two bodies first differ. Its texts quote the bodies: for the eyes of their owner, not for logs. Immutable."""

    @property
    def path(self) -> str:
        """Such as ``messages[0].content``; ``$`` is the whole document."""
    @property
    def left(self) -> str:
        """What the first body has there, shortened; ``absent`` where nothing."""
    @property
    def right(self) -> str:
        """What the second body has there, shortened; ``absent`` where nothing."""
    @property
    def offset(self) -> int | None:
        """Where two strings are: the character at which they begin to differ."""
    def __eq__(self, other: object, /) -> bool: ...

def digest_inspect(
    body: Buffer,
    *,
    scope: str,
    version: int = 0,
    salt: bytes | None = None,
    max_temperature: float = 1.0,
    max_n: int = 1,
) -> Inspection:
    """Read a chat-completion body once: its digest, and what a gateway must know to answer it from a cache.

    Bodies of the same meaning have the same digest: key order, white space, escapes and the spelling of numbers (exact
    decimals: ``1`` is ``1.0``, and 2**53 + 1 keeps its value) do not count, nor do the top-level fields ``stream``,
    ``stream_options``, ``user``, ``safety_identifier``, ``metadata``, ``store``, ``service_tier`` and
    ``prompt_cache_key``. Every other field counts, known or not; null is not absence; text is not normalised.

    ``scope`` is the tenant boundary, ``version`` (0 to 2**64 - 1) the user's cache-bust number and ``salt`` whatever
    else changes the answer, such as settings of a router: each is part of the digest. ``max_temperature`` and
    ``max_n`` decide ``cacheable`` only. A body that is valid JSON but odd is not cacheable, and ``why`` says so.

    Raises `sparecall.errors.InvalidDocument`, with the byte ``offset``, where the body is not JSON by RFC 8259 (NaN,
    trailing commas, control characters, invalid UTF-8, a byte order mark, ...), holds a key twice in one object, is
    nested deeper than 128 levels, is larger than 2 GiB or has a number whose exponent is beyond 64 bits. Raises
    `sparecall.errors.InvalidArgument` where ``max_temperature`` is NaN.

    ``bytes`` is read in place, other buffers are copied first. O(n log n) at worst, for the sorting of keys; linear
    otherwise. Thread-safe; releases the interpreter lock above 500 kB. BLAKE3: O'Connor, Aumasson, Neves,
    Wilcox-O'Hearn, 2020.
    """

def digest_compare(a: Buffer, b: Buffer) -> Difference | None:
    """Find the first field, in canonical order, in which two bodies differ; None exactly where their digests are equal.

    Canonical order is that of keys sorted by their UTF-8 bytes; the fields `digest_inspect` leaves out are left out here.
    Raises `sparecall.errors.InvalidDocument` as `digest_inspect` does. O(n log n). Thread-safe; releases the
    interpreter lock above 500 kB in all.
    """

def digest_scope_of_key(key: str) -> str:
    """Derive a scope from a client's key: 32 hex characters that do not reveal the key.

    The first 16 bytes of its BLAKE3 under a domain of its own; the whole key counts. Raises
    `sparecall.errors.InvalidArgument` for an empty key. O(n). Thread-safe.
    """

# --- tokens --------------------------------------------------------------------------------------

# --- cache ---------------------------------------------------------------------------------------

# --- metrics -------------------------------------------------------------------------------------
