"""The compiled core. Import the faces (``sparecall.digest``, ``sparecall.tokens``, ``sparecall.cache``), not this module."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Self, TypedDict, TypeVar, final, overload

_T = TypeVar("_T")
_Child = TypeVar("_Child", MetricCounter, MetricGauge, MetricHistogram, covariant=True)

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

# --- cache ---------------------------------------------------------------------------------------

@final
class BytesCache:
    """An in-process cache of ``bytes`` bounded by weight, least recently used out first.

    Keys are ``str``, or ``bytes`` of length 16 or 32 (digests); a text and the same bytes are two keys. Values are
    ``bytes``. Both must be of exactly these classes, so that no Python code runs to hash, compare or drop them. An entry
    weighs its key (1, 2 or 4 bytes a character, as Python holds it) + its value + 64 bytes.

    Every operation is O(1), or O(items) where it takes many; each is atomic and may be called from any thread. A hit
    returns the very object that was stored. Expired entries are never returned; they leave when they are met, and every
    set looks at four more. Without a ``clock``, time is the operating system's coarse monotonic clock, so that an expiry
    may come a few milliseconds late.

    Any method that takes a key raises ``TypeError`` for a key of another class, and `sparecall.errors.InvalidArgument`
    for ``bytes`` of another length.
    """

    def __new__(
        cls,
        max_bytes: int,
        *,
        policy: str = "lru",
        ttl: float | None = None,
        clock: Callable[[], float] | None = None,
    ) -> Self:
        """Make a cache that never weighs more than ``max_bytes``, which are not allocated ahead; 0 stores nothing.

        ``policy``: ``"lru"``. ``ttl``: the life of an entry in seconds where `set` gives none; ``None`` or ``inf`` for no
        end. ``clock``: returns seconds, for tests and simulations; `save` and `load` then use it as the time of day too.

        Raises `sparecall.errors.InvalidArgument` (a negative ``max_bytes``, a negative or NaN ``ttl``) and
        `sparecall.errors.UnknownName` (another ``policy``).
        """

    @overload
    def get(self, key: str | bytes, default: None = None) -> bytes | None: ...
    @overload
    def get(self, key: str | bytes, default: _T) -> bytes | _T:
        """Return the value under ``key``, or ``default``. The entry becomes the most recently used."""

    def __getitem__(self, key: str | bytes, /) -> bytes:
        """Return the value under ``key``; raise ``KeyError`` where there is none. The entry becomes the most recently used."""

    def __contains__(self, key: str | bytes, /) -> bool:
        """Say whether ``key`` has a live entry. Neither the order of use nor the statistics change."""

    def __len__(self) -> int:
        """Count the entries held, expired ones that have not been met yet included."""

    def set(self, key: str | bytes, value: bytes, *, ttl: float | None = None) -> bool:
        """Store ``value`` for ``ttl`` seconds (``None``: the cache's own, ``inf``: no end) and say whether it did.

        An entry heavier than the whole cache is refused, and so is one with a ``ttl`` of 0; an older value under ``key``
        is removed all the same, since it has been overtaken. Raises ``TypeError`` (a value that is not ``bytes``) and
        `sparecall.errors.InvalidArgument` (a negative or NaN ``ttl``).
        """

    def delete(self, key: str | bytes) -> bool:
        """Remove ``key`` and say whether it had a live entry."""

    def get_many(self, keys: Iterable[str | bytes]) -> list[bytes | None]:
        """Do `get` for every key, in one crossing. A key that is refused raises before anything is read."""

    def set_many(
        self,
        items: dict[str | bytes, bytes] | dict[str, bytes] | dict[bytes, bytes] | Iterable[tuple[str | bytes, bytes]],
        *,
        ttl: float | None = None,
    ) -> int:
        """Do `set` for every pair, in one crossing; return how many were stored. A bad pair raises before anything is stored."""

    def clear(self) -> None:
        """Remove every entry. Statistics go on. O(entries)."""

    def stats(self) -> CacheStats:
        """Return what happened since the cache was made, and what it holds now."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write every live entry to ``path``: order of use, remaining life, time of day, BLAKE3 checksum.

        The file is written beside ``path``, flushed to disk and renamed, so that ``path`` is always whole; only its owner
        may read it. Raises ``OSError``. The interpreter is held while entries are listed and free while the file is made;
        the whole file is in memory for that time. O(bytes held).
        """

    def load(self, path: str | os.PathLike[str]) -> int:
        """Add the entries of a file that `save` wrote, as if each were set again in order; return how many were stored.

        Entries keep the life they had left, less the time of day gone by since (a clock set back counts as none); the
        dead are left out. Raises ``OSError``, and `sparecall.errors.SnapshotError` for a file that is damaged, cut short
        or of another version: then the cache is unchanged. The checksum guards against damage, not against forgery: load
        only files from places you trust. O(bytes of the file).
        """

@final
class CacheStats:
    """What a `BytesCache` has done and holds: one moment, frozen. ``sets`` = ``entries`` + all ``evictions``."""

    @property
    def hits(self) -> int:
        """Reads that found a live entry."""
    @property
    def misses(self) -> int:
        """Reads that found none."""
    @property
    def sets(self) -> int:
        """Entries stored."""
    @property
    def refused(self) -> int:
        """Sets that stored nothing: too heavy for the whole cache, or already expired."""
    @property
    def evictions(self) -> dict[str, int]:
        """Entries that left, by reason: ``size``, ``expired``, ``replaced``, ``deleted``."""
    @property
    def entries(self) -> int:
        """Entries held, expired ones that have not been met yet included."""
    @property
    def weight(self) -> int:
        """Bytes held, 64 for each entry included."""
    @property
    def max_bytes(self) -> int:
        """The bound of ``weight``."""

# --- metrics -------------------------------------------------------------------------------------

@final
class MetricRegistry:
    """Families of counters, gauges and histograms, and their Prometheus text.

    Every method of this and the next four classes may be called from any thread.
    """

    def __new__(cls, *, max_series: int = 1000) -> Self:
        """Make an empty registry whose families hold at most ``max_series`` series each, and one called ``other``."""

    def counter(self, name: str, help: str, labels: Sequence[str] = ()) -> MetricFamily[MetricCounter]:  # noqa: A002
        """Register a family of numbers that only grow; by custom their ``name`` ends in ``_total``.

        The same name with the same kind, labels and buckets is the same family, whatever its ``help``. Raises
        `sparecall.errors.InvalidArgument` for a name or label that Prometheus does not allow, and for a name that is
        taken by another family. The same holds for `gauge` and `histogram`.
        """

    def gauge(self, name: str, help: str, labels: Sequence[str] = ()) -> MetricFamily[MetricGauge]:  # noqa: A002
        """Register a family of numbers that go up and down."""

    def histogram(
        self,
        name: str,
        help: str,  # noqa: A002
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float],
    ) -> MetricFamily[MetricHistogram]:
        """Register a family of distributions; ``buckets`` are finite upper bounds, ascending, to which infinity is added."""

    def render(self) -> str:
        """Return every series as Prometheus text format 0.0.4, families by name and series by label values.

        O(series log series). A histogram's count is that of its last bucket; its sum may run a few observations ahead.
        """

@final
class MetricFamily(Generic[_Child]):
    """Series that share a name and are told apart by label values. A family without labels has one series, ``labels()``."""

    def labels(self, *values: str) -> _Child:
        """Return the series of these label values: fetch it once and keep it. O(total length of the values).

        Past ``max_series`` different lists of values, or for a value above 256 bytes of UTF-8, it is the series whose
        labels are all ``other``. Lone surrogates are replaced by U+FFFD. Raises `sparecall.errors.InvalidArgument` for another
        number of values and ``TypeError`` for one that is not ``str``.
        """

@final
class MetricCounter:
    """A number that only grows. Whole numbers are exact up to 2**53."""

    def add(self, n: float = 1) -> None:
        """Add ``n``; raise `sparecall.errors.InvalidArgument` where it is negative or NaN."""

    @property
    def value(self) -> float:
        """What was added so far."""

@final
class MetricGauge:
    """A number that goes up and down."""

    def add(self, n: float = 1) -> None:
        """Add ``n``; a negative one takes away."""

    def set(self, x: float) -> None:
        """Make the value ``x``."""

    @property
    def value(self) -> float:
        """The value now."""

@final
class MetricHistogram:
    """A distribution over buckets."""

    def observe(self, x: float) -> None:
        """Count ``x`` in the first bucket whose bound it does not exceed; raise `sparecall.errors.InvalidArgument` for NaN."""

    @property
    def count(self) -> int:
        """How many were observed."""
    @property
    def sum(self) -> float:
        """The sum of what was observed."""
