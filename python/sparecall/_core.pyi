"""The compiled core. Import the faces (``sparecall.digest``, ``sparecall.tokens``, ``sparecall.cache``), not this module."""

import asyncio
import os
from collections.abc import Callable, Collection, Generator, Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal, Self, TypeAlias, TypedDict, TypeVar, final, overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer, disjoint_base

_K = TypeVar("_K", bound=Hashable)
_T = TypeVar("_T")
_D = TypeVar("_D")
_R = TypeVar("_R", covariant=True)
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
    """For tests: dispatch kernels on ``scalar``, ``avx2``, ``avx512`` or ``avx512vbmi``, or on the highest this processor has where that is lower.

    Returns the level now in force. Raises `sparecall.errors.UnknownName` for another name.
    """

# --- digest --------------------------------------------------------------------------------------

_Wire: TypeAlias = Literal["chat", "responses", "messages"]
_Reason: TypeAlias = Literal[
    "", "not_chat", "not_responses", "not_messages", "stream_type", "stream_options_type", "temperature_type",
    "temperature", "n_type", "n", "state", "hosted_tool",
]  # fmt: skip

@final
class ContextDocument:
    """A text in segments (lines, and sentences of long lines), with the tokens, words and values of each. Immutable, thread-safe."""

    def __new__(
        cls,
        text: str,
        encoding: str | TokenEncoding,
        /,
        *,
        compact: bool = False,
        tokens: int | None = None,
        kind: str | None = None,
        worth: Sequence[float] | None = None,
        owners: Sequence[str] | None = None,
    ) -> Self:
        """Read ``text``; where it may be ``compact``, JSON becomes its compact form if that has fewer tokens. O(bytes).

        ``tokens``: how many it has, for whoever knows. ``kind``: what it is, in place of what it looks like. ``worth``: what speaks
        for each line, 0 or more, where that is more than its kind says; not of what is compact. ``owners``, beside ``worth``: the dotted path
        of what each line belongs to, or ``""``. Above 32 KiB without the interpreter's lock. Raises ``TypeError``, for another
        encoding `sparecall.errors.UnknownName`, and `sparecall.errors.InvalidArgument` for another kind and another number of lines.
        """
    @property
    def text(self) -> str:
        """The text, in its compact form where that has fewer tokens."""
    @property
    def is_compact(self) -> bool:
        """Whether ``text`` is the compact form of what came."""
    @property
    def kind(self) -> str:
        """What the text is: ``json``, ``diff``, ``test``, ``log``, ``code``, ``data`` or ``prose``."""
    @property
    def without_data(self) -> str | None:
        """The text with what says what they are in place of encoded bytes of 2,048 letters and more; None without such. O(bytes)."""
    @property
    def tokens(self) -> int:
        """The tokens of ``text``."""
    @property
    def size(self) -> int:
        """The bytes it takes in memory, about."""
    def __len__(self) -> int: ...

@final
class ContextRepeats:
    """The texts so far, by their lines: what stands above is said by a pointer. Thread-safe, one call at a time."""

    def __new__(cls, encoding: str | TokenEncoding, /) -> Self:
        """Begin with none. Raises `sparecall.errors.UnknownName` for another encoding."""
    def push(self, text: str, /) -> str | None:
        """Take a text in; return it with pointers for runs of three or more lines of earlier texts, None where nothing is gained.

        Lines compare without numbers before them, and the trailing white space. O(bytes), and as many again are kept.
        """

@final
class ContextBoard:
    """What a choice leaves for the next one of the same conversation. Thread-safe, one call at a time."""

    def __new__(cls) -> Self: ...
    @property
    def size(self) -> int:
        """The bytes it takes in memory, about."""

def context_documents(
    texts: Sequence[tuple[str, bool, int | None]], encoding: str | TokenEncoding, /
) -> list[ContextDocument]:
    """Read each text, as `ContextDocument` does with this ``compact`` and ``tokens``.

    O(bytes), above 32 KiB without the interpreter's lock, above 128 KiB on several processors. Raises what that raises.
    """

def context_same(earlier: list[Any], later: list[Any], /) -> int:
    """Count the first messages that are the same in both lists: as JSON letter by letter, the order of keys included.

    ``1``, ``1.0`` and ``True`` differ, and so does whatever is no plain JSON value or is nested more than 64 deep: no Python
    code runs. O(their texts), under the interpreter's lock: a tenth of a microsecond a message and 10 GB/s.
    """

def context_reduce(
    document: ContextDocument,
    encoding: str | TokenEncoding,
    /,
    *,
    budget: int,
    query: str | None = None,
    handle: str = "",
) -> tuple[str, list[str]]:
    """Cut one document to ``budget`` tokens: its text then, with marks for its gaps, and what is not in it, piece by piece.

    ``query``: whose words make a line worth more; ``handle``: what the first mark ends with. The text is empty where not even a
    mark fits. O(segments log segments + values), without the interpreter's lock above 1,000 segments.
    """

def context_select(
    items: Sequence[tuple[ContextDocument, int, bool, float]],
    costs: Sequence[int],
    *,
    budget: int,
    query: str | None = None,
    similar: Sequence[float] | None = None,
    whole: int = 0,
    half_life: float = 12.0,
    relevance: float = 0.2,
    prior: float = 0.2,
    again: float = 0.1,
    later: float = 0.3,
    named: float = 0.6,
    crowd: float = 64.0,
    instructions: Sequence[str] | None = None,
    handles: Sequence[str] | None = None,
    board: ContextBoard | None = None,
    same: int = 0,
) -> tuple[list[str | Literal[True] | None], int]:
    """Choose segments worth most for their tokens, each value counted once, until ``budget`` is spent; return what each item is then, and the tokens.

    ``items``: a document, its atom (in order), whether it is part of the atom's cost, and how much what stands there weighs.
    ``costs``: of each atom without its other items, in tokens. Of an item is returned ``True`` where all is kept, the text with
    marks for its gaps, or ``None`` where its atom is left out. ``similar``: a similarity to ``query`` for each item.
    ``whole``: documents of no more tokens are kept or left out whole. ``half_life`` in atoms. ``relevance``, ``prior``,
    ``later``, ``named``: the worth of a token of the most relevant text, of a line that its kind speaks for, of one with an
    identifier that comes again later, and of one whose owner the query names, or as an identifier a later text without owners; ``again``: of further places of a value, where a word's is 0.5 and an identifier's 3. ``crowd``: where a text has
    more identifiers, each is worth less by the root of how many times as many. ``instructions``: texts;
    the names of commands that they list, at the beginnings of lines, are worth 3 each. ``handles``: of each item what its first mark ends with. ``board``: that of an earlier choice, of which the first ``same`` items are the first
    here, too, before ``items``; the choice is the same as of all of them without.

    Where there are more than 8,192 segments, neighbours are chosen together, so that there are about as many stretches.

    Greedy by worth per token, lazily (Minoux 1978). Deterministic. O(segments log segments + values), without the
    interpreter's lock above 1,000 segments. Raises `sparecall.errors.InvalidArgument` where the lists do not fit.
    """

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
        """Whether the client wants usage at the end of its stream: on the chat wire it asked for it, on others it always comes."""
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
        On other wires ``not_responses`` or ``not_messages`` first, and last ``state``: the answer depends on what the provider
        remembers of other calls; ``hosted_tool``: the provider is to use tools of its own, whose results change.
        """
    @property
    def messages(self) -> int:
        """How many messages there are, or items of input; text is one."""
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
    wire: _Wire = "chat",
    version: int = 0,
    salt: bytes | None = None,
    max_temperature: float = 1.0,
    max_n: int = 1,
) -> Inspection:
    """Read a request body once: its digest, and what a gateway must know to answer it from a cache.

    Bodies of the same meaning have the same digest: key order, white space, escapes and the spelling of numbers (exact
    decimals: ``1`` is ``1.0``, and 2**53 + 1 keeps its value) do not count, nor do the top-level fields ``stream``,
    ``stream_options``, ``user``, ``safety_identifier``, ``metadata``, ``store``, ``service_tier`` and
    ``prompt_cache_key``. Every other field counts, known or not; null is not absence; text is not normalised.

    ``wire`` is the form of the body: ``"chat"``; ``"responses"``, where ``store`` counts too; or ``"messages"``
    (Anthropic's), where only ``stream``, ``metadata`` and ``service_tier`` do not. Equal bodies of two wires have two digests.

    ``scope`` is the tenant boundary, ``version`` (0 to 2**64 - 1) the user's cache-bust number and ``salt`` whatever
    else changes the answer, such as settings of a router: each is part of the digest. ``max_temperature`` and
    ``max_n`` decide ``cacheable`` only. A body that is valid JSON but odd is not cacheable, and ``why`` says so.

    Raises `sparecall.errors.InvalidDocument`, with the byte ``offset``, where the body is not JSON by RFC 8259 (NaN,
    trailing commas, control characters, invalid UTF-8, a byte order mark, ...), holds a key twice in one object, is
    nested deeper than 128 levels, is larger than 2 GiB or has a number whose exponent is beyond 64 bits. Raises
    `sparecall.errors.InvalidArgument` where ``max_temperature`` is NaN or ``wire`` is unknown.

    ``bytes`` is read in place, other buffers are copied first. O(n log n) at worst, for the sorting of keys; linear
    otherwise. Thread-safe; releases the interpreter lock above 500 kB. BLAKE3: O'Connor, Aumasson, Neves,
    Wilcox-O'Hearn, 2020.
    """

def _digest_inspect_work(
    body: bytes, scope: str, wire: _Wire, version: int, max_temperature: float, max_n: int
) -> Work[Inspection]:
    """`digest_inspect`, as work for the workers."""

def digest_compare(a: Buffer, b: Buffer, *, wire: _Wire = "chat") -> Difference | None:
    """Find the first field, in canonical order, in which two bodies of a wire differ; None exactly where their digests are equal.

    Canonical order is that of keys sorted by their UTF-8 bytes; the fields `digest_inspect` leaves out are left out here.
    Raises `sparecall.errors.InvalidDocument` as `digest_inspect` does. O(n log n). Thread-safe; releases the
    interpreter lock above 500 kB in all.
    """

def digest_scope_of_key(key: str) -> str:
    """Derive a scope from a client's key: 32 hex characters that do not reveal the key.

    The first 16 bytes of its BLAKE3 under a domain of its own; the whole key counts. Raises
    `sparecall.errors.InvalidArgument` for an empty key. O(n). Thread-safe.
    """

# --- semantic ------------------------------------------------------------------------------------

@final
class SemanticProfile:
    """A text's side of a decision, made once when the text is stored or asked: words, numbers, names, digests. Immutable.

    Bounded: at most 192 words are kept and the rest counts by its digest, so that comparing two profiles takes the same time
    whatever the texts. Making one is linear in the text; the interpreter is let go of above 40 kB. Lone surrogates are read
    as U+FFFD. Raises `TypeError` where ``text`` is no ``str``.
    """

    def __new__(cls, text: str, /) -> Self: ...
    @staticmethod
    def _work(text: str) -> Work[SemanticProfile]:
        """The profile, as work for the workers."""
    def to_bytes(self) -> bytes:
        """Bytes for `from_bytes`: about 20 for each word."""
    @staticmethod
    def from_bytes(data: bytes, /) -> SemanticProfile:
        """The profile that `to_bytes` wrote. Raises `sparecall.errors.InvalidDocument` for anything else."""
    def same(self, other: SemanticProfile, /) -> bool:
        """Whether the texts differ only in case, spacing, punctuation and contractions."""
    @property
    def empty(self) -> bool:
        """Whether the text has no word at all."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class SemanticVerdict:
    """What was decided about one candidate. Immutable; `SemanticDecision.learn` takes it with the verdict on the answer."""

    @property
    def probability(self) -> float:
        """That the candidate's answer serves the query, 0 to 1."""
    @property
    def upper(self) -> float:
        """The upper limit (97.5 %, one side) of the share of wrong answers among all that is served down to this one, 0 to 1."""
    @property
    def serve(self) -> bool:
        """Whether to serve it."""
    @property
    def audit(self) -> bool:
        """Whether it is a hit that goes upstream all the same, so that its answer gets a verdict. Never with ``serve``."""
    @property
    def compare(self) -> bool:
        """Whether a fresh answer, should one come, is worth comparing with the candidate's: audits, and likely misses."""
    @property
    def kind(self) -> Literal["respelt", "plain", "guarded"]:
        """``respelt``: the same text but for its spelling. ``guarded``: a guard fired, so that it must prove itself apart."""
    @property
    def guards(self) -> list[str]:
        """What in the texts speaks for another question, such as ``numbers differ``, ``negation``, ``opposites: on/off``."""
    @property
    def why(self) -> str:
        """The guards, and last one of ``within bound``, ``respelling``, ``audit``, ``below bound``, ``bound not met yet``."""

@final
class SemanticReport:
    """What is known of a decision's errors. Immutable."""

    @property
    def judged(self) -> int:
        """Candidates judged."""
    @property
    def hits(self) -> int:
        """Of those, found good enough: served or audited."""
    @property
    def served(self) -> int:
        """Of those, served."""
    @property
    def audits(self) -> int:
        """Hits whose answer got a verdict."""
    @property
    def wrong(self) -> int:
        """Of those, wrong."""
    @property
    def verdicts(self) -> int:
        """Verdicts of any kind that were learnt from."""
    @property
    def error(self) -> float:
        """The share of wrong answers among audited hits; 0.0 without any."""
    @property
    def error_interval(self) -> tuple[float, float]:
        """Its 95 % interval (Wilson 1927)."""
    @property
    def alarms(self) -> int:
        """How often the world was found changed, upon which everything has to prove itself anew."""
    @property
    def open(self) -> bool:
        """Whether anything but respellings may be served now."""
    @property
    def threshold(self) -> float:
        """The probability from which on unguarded candidates are served; 1.0 where none is."""
    @property
    def why(self) -> str:
        """Whether it serves, and if not, why."""

@final
class SemanticDecision:
    """Judges candidates under a limit on the share of wrong hits, and learns from verdicts on answers. Thread-safe.

    ``max_error`` is the limit, in (0, 1]; at 1.0 every candidate is served. ``audit_share`` of the hits, in [0, 1], goes
    upstream for a verdict, drawn from ``seed``. ``embedder`` says whose cosines come: ``minilm``, ``static`` or ``other``.
    Raises `sparecall.errors.InvalidArgument` for numbers outside, `sparecall.errors.UnknownName` for another embedder.
    """

    def __new__(
        cls, *, max_error: float = 0.02, audit_share: float = 0.05, seed: int = 0, embedder: str = "other"
    ) -> Self: ...
    def stored(self, profile: SemanticProfile, /) -> None:
        """Counts the words of a text that was stored: words that few stored texts have weigh more."""
    def judge(
        self,
        query: SemanticProfile,
        candidate: SemanticProfile,
        cosine: float,
        *,
        second: float = -2.0,
        density: float = 1.0,
        age: float = 0.0,
        scope: str = "",
        category: str = "",
        entry: int | None = None,
        max_error: float | None = None,
    ) -> SemanticVerdict:
        """Decides about the best candidate of a query, in microseconds.

        ``cosine`` is that of query and candidate, ``second`` that of the next best entry (-2.0 without one), ``density`` the
        number of live entries within 0.05 below the candidate's cosine, itself among them, ``age`` the entry's in seconds.
        ``scope``, ``category`` and ``entry`` name the offsets of the pooled model. ``max_error`` replaces the decision's
        own. Raises `sparecall.errors.InvalidArgument` where a number is not finite or outside.
        """
    def learn(self, verdict: SemanticVerdict, *, correct: bool, weight: float = 1.0) -> None:
        """Learns whether the candidate's answer was right. ``weight`` in (0, 1] is how much that is to be believed.

        Raises `sparecall.errors.InvalidArgument` for a weight outside.
        """
    def report(self) -> SemanticReport:
        """What is known of the decision's own errors."""
    def to_bytes(self) -> bytes:
        """All that was learnt, for `restore`; not the arguments."""
    def restore(self, data: bytes, /) -> None:
        """Takes over what another decision had learnt. Raises `sparecall.errors.InvalidDocument`, and changes nothing, for other bytes."""

def semantic_error_interval(wrong: int, audits: int, /) -> tuple[float, float]:
    """The 95 % interval (Wilson 1927) of a share of which ``wrong`` of ``audits`` were seen; 0.0 to 1.0 without any."""

def _semantic_feature_names() -> list[str]:
    """The names of the features, in order."""

def _semantic_features(pairs: Sequence[tuple[str, str]], stored: Sequence[str]) -> list[list[float]]:
    """For training: the features of pairs of texts, with how rare words are among ``stored``."""

def _semantic_stems(text: str) -> list[int]:
    """For training: the hashes of a text's stems."""

# --- tokens --------------------------------------------------------------------------------------

def tokens_count(text: str, encoding: str = "o200k_base") -> int:
    """Count the tokens of ``text``: equal to tiktoken's ``len(get_encoding(encoding).encode_ordinary(text))``.

    Special tokens such as ``<|endoftext|>`` count as the plain text they are. Surrogates are read as UTF-16, as tiktoken
    does: a pair is its character, a lone one U+FFFD.

    Linear in the text, whatever it is: a megabyte of one letter or of random ones too. ASCII text is not copied. The
    first call for an encoding expands its vocabulary: about 45 ms, once for all threads, the GIL released. Thread-safe; texts above 32 KiB are counted with the GIL released.

    Raises `TypeError` where ``text`` is no ``str``, `sparecall.errors.UnknownName` for an encoding that is not in
    ``tokens_encodings()``, `sparecall.errors.InvalidArgument` for a text that may be longer than 4 GiB and for a
    `TokenEncoding` that `Meter` would refuse.

    Algorithm: byte-pair encoding (Sennrich et al., 2016) on the pieces of OpenAI's cl100k and o200k patterns, which are
    matched by hand-written scanners over the character classes of Unicode 16; pieces above 128 bytes by the
    backtracking of van Antwerpen and Neubeck (2024).
    """

def tokens_count_many(texts: Iterable[str], encoding: str = "o200k_base") -> list[int]:
    """Count the tokens of each of ``texts``, in their order: ``[tokens_count(text, encoding) for text in texts]``.

    Raises as `tokens_count` does, and names the place of what is no ``str``; one ``str`` in place of an iterable is a
    `TypeError`. Thread-safe; the GIL is released when the texts together are above 32 KiB.
    """

def _tokens_count_work(text: str, encoding: str) -> Work[int]:
    """`tokens_count`, as work for the workers."""

def _tokens_count_many_work(texts: Iterable[str], encoding: str) -> Work[list[int]]:
    """`tokens_count_many`, as work for the workers."""

def tokens_encodings() -> tuple[str, ...]:
    """List the names of the encodings that are shipped."""

_Special: TypeAlias = Literal["all"] | Collection[str]

@final
class TokenEncoding:
    """Texts to tokens and back, with the method names of tiktoken's ``Encoding``: it can stand in for that. Immutable.

    Made by ``tokens_get_encoding`` and ``tokens_load_encoding``. Token ids are ``int`` from 0 to 4,294,967,295; another
    number is an `OverflowError`. Every method is thread-safe and linear in what it is given, special tokens included;
    above 32 KiB of text or 32,768 tokens the work is done with the GIL released. A text that is no ``str`` is a
    `TypeError`. ``encode_with_unstable`` and the names with an underscore are left out.

    A shipped encoding is pickled and copied by its name; one from a file cannot be (`TypeError`).
    """

    @property
    def name(self) -> str:
        """The name of the encoding."""
    @property
    def max_token_value(self) -> int:
        """The highest token id, special tokens included."""
    @property
    def n_vocab(self) -> int:
        """``max_token_value + 1``."""
    @property
    def eot_token(self) -> int:
        """The id of ``<|endoftext|>``; raises `KeyError` where there is no such special token."""
    @property
    def special_tokens_set(self) -> set[str]:
        """The texts of the special tokens, in a new set."""
    def count(self, text: str) -> int:
        """Count the tokens of ``text`` as ``len(encode_ordinary(text))``, without making them."""

    def count_many(self, texts: Iterable[str]) -> list[int]:
        """Count the tokens of each of ``texts``, in their order; one ``str`` in place of an iterable is a `TypeError`."""

    def encode_ordinary(self, text: str) -> list[int]:
        """Encode ``text``. Special tokens in it are the plain text they are; surrogates are read as UTF-16."""

    def encode(self, text: str, *, allowed_special: _Special = (), disallowed_special: _Special = "all") -> list[int]:
        """Encode ``text`` with special tokens.

        ``allowed_special``: those that are encoded as the tokens they are. ``disallowed_special``: texts that are an
        error where they stand in ``text``; ``"all"`` is all special tokens that are not allowed. What is neither is
        plain text.

        Raises `sparecall.errors.InvalidArgument`, a `ValueError`, for a disallowed one; `TypeError` for names that are
        neither ``"all"`` nor a collection of ``str``. The search is that of Aho and Corasick (1975).
        """

    def encode_to_numpy(
        self, text: str, *, allowed_special: _Special = (), disallowed_special: _Special = "all"
    ) -> NDArray[np.uint32]:
        """Encode ``text`` as `encode` does, into a read-only array."""

    def encode_ordinary_batch(self, text: Iterable[str], *, num_threads: int = 8) -> list[list[int]]:
        """Encode each of the texts as `encode_ordinary` does.

        Up to ``num_threads`` threads, and no more than there are cores or 256 KiB of text for each. A number below 0 is an
        `OverflowError`.
        """

    def encode_batch(
        self,
        text: Iterable[str],
        *,
        num_threads: int = 8,
        allowed_special: _Special = (),
        disallowed_special: _Special = "all",
    ) -> list[list[int]]:
        """Encode each of the texts as `encode` does, on threads as `encode_ordinary_batch` has them."""

    def encode_single_token(self, text_or_bytes: str | bytes) -> int:
        """Return the id of the token that is this text or these bytes, special ones too; raise `KeyError` where there is none."""

    def decode_bytes(self, tokens: Sequence[int]) -> bytes:
        """Return the bytes that the tokens spell; raise `KeyError` for an id that is no token."""

    def decode(self, tokens: Sequence[int], errors: str = "replace") -> str:
        """Return the text that the tokens spell; ``errors`` is that of ``bytes.decode``. Raises as `decode_bytes` does."""

    def decode_single_token_bytes(self, token: int) -> bytes:
        """Return the bytes of a token; raise `KeyError` for an id that is none."""

    def decode_tokens_bytes(self, tokens: Sequence[int]) -> list[bytes]:
        """Return the bytes of each token; raise `KeyError` for an id that is none."""

    def decode_with_offsets(self, tokens: Sequence[int]) -> tuple[str, list[int]]:
        """Return the text, and for each token the index of the first character with a byte of it.

        Raises `UnicodeDecodeError` where the tokens spell no text, `KeyError` for an id that is no token.
        """

    def decode_batch(
        self, batch: Iterable[Sequence[int]], *, errors: str = "replace", num_threads: int = 8
    ) -> list[str]:
        """Return the text of each list of tokens. ``num_threads`` is tiktoken's: decoding is a copy and uses none."""

    def decode_bytes_batch(self, batch: Iterable[Sequence[int]], *, num_threads: int = 8) -> list[bytes]:
        """Return the bytes of each list of tokens. ``num_threads`` is tiktoken's: decoding is a copy and uses none."""

    def token_byte_values(self) -> list[bytes]:
        """Return the bytes of every token of the vocabulary, sorted; special tokens that were added to it are left out."""

    def is_special_token(self, token: int) -> bool:
        """Say whether the id is that of a special token."""

def tokens_get_encoding(name: str) -> TokenEncoding:
    """Get a shipped encoding, one object for each name.

    The first call for a vocabulary expands it: about 45 ms, the GIL released; ``o200k_harmony`` shares that of
    ``o200k_base``. Raises `sparecall.errors.UnknownName` for a name that is not in ``tokens_encodings()``.
    """

def tokens_load_encoding(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    pattern: str | None = None,
    special_tokens: dict[str, int] | None = None,
) -> TokenEncoding:
    """Load an encoding from a file: byte-level BPE as ``tokenizer.json`` (Hugging Face) or ``.tiktoken`` ranks.

    ``name``: that of the encoding; the file's name where there is none. ``pattern``: how text is cut, by name (``o200k``,
    ``cl100k``, ``llama3``, ``qwen2``, ``qwen3.5``, ``gpt2``, ``tekken``) or as the regex under which one of these is
    published; ``special_tokens``: texts and their ids. Both are for ranks alone: a ``tokenizer.json`` brings its own.

    The tokens are those of ``tokenizers`` with ``add_special_tokens=False``, and of ``tiktoken.Encoding`` over the same
    ranks. Added tokens that are not special are always found.

    Reads with the GIL released: half a second for 200,000 tokens, and at worst the file's bytes times its longest token's.
    At most 64 MiB, 2,000,000 tokens of up to 512 bytes with ids up to 8,388,607, 8,000,000 pairs that merge, 16,384 special
    and added tokens of 1 MiB together.

    Raises `OSError` where the file cannot be read, `sparecall.errors.TokenizerFileError` (a `ValueError`) for a file that
    is damaged, too large or not supported, `sparecall.errors.UnknownName` for another pattern. Nothing is left half-loaded.
    """

def tokens_truncate(
    text: str,
    limit: int,
    encoding: str | TokenEncoding = "o200k_base",
    *,
    keep: Literal["head", "tail", "both"] = "head",
    marker: str = "",
) -> str:
    """Cut ``text`` so that it has at most ``limit`` tokens, with ``marker`` in place of what is left out.

    ``tokens_count`` of the result is at most ``limit``, always. A text that fits is returned as it is, the same object,
    without a marker. Else the result is ``head + marker``, ``marker + tail`` or, for ``"both"``, ``head + marker +
    tail``, where ``head`` and ``tail`` are the text's first and last characters, at least one of which is left out.
    Characters stay whole, what they join to on a screen (a letter and its accent, a family of emoji) need not.

    As long as possible means: with any of the next 32 characters more, it would have too many. (One character more can
    make it one token less; a longer text still that happened to fit is not looked for.) For ``"both"``, ``head`` is as
    long as possible for the marker and half of the tokens it leaves, rounded down; then ``tail`` for the limit.

    Raises `TypeError` where ``text`` is no ``str`` or ``limit`` no ``int``, `sparecall.errors.InvalidArgument` for a
    limit below 1 and for a marker that alone has more tokens, `sparecall.errors.UnknownName` for another word in
    ``keep`` and for the name of an encoding that is not shipped; a `TokenEncoding` is taken as by `Meter`. Where a text with surrogates is cut, it comes back as it is
    counted: a pair as its character, a lone one as U+FFFD.

    Linear in what is kept, whatever the length of ``text``; where that may fit, by its length, in what it takes to count
    it up to the limit. Thread-safe; texts above 8 KiB are cut with the GIL released.
    """

@final
class Meter:
    """The exact number of tokens of a text that grows at its end, such as an answer that streams in.

    After every `append`, ``total`` is ``tokens_count`` of everything appended so far, joined. Text whose tokens no
    longer change is let go; what is kept is the last word, or a run of one kind of characters (a megabyte of one
    letter, of spaces, of ideographs) at 9 bytes a byte, at most 17 where the run is of two parts.

    ``encoding`` is a name out of ``tokens_encodings()``, another raises `sparecall.errors.UnknownName`, or a
    `TokenEncoding`; one that normalizes its text or has added tokens that are always found raises
    `sparecall.errors.InvalidArgument`. Thread-safe.

    Algorithm: pieces are let go once no text that follows can change them; inside a long open piece the last token of
    each prefix gives that of the next (van Antwerpen and Neubeck, 2024).
    """

    def __new__(cls, encoding: str | TokenEncoding = "o200k_base") -> Self: ...
    def append(self, piece: str) -> int:
        """Add ``piece`` and return the number of tokens of everything added so far.

        The total may fall: ``"don"`` and ``"don't"`` have one token each. A pair of surrogates may come in two pieces;
        until its second half comes, the first counts as U+FFFD, and open text is counted anew for that. Raises
        `TypeError` where ``piece`` is no ``str``, `sparecall.errors.InvalidArgument` where it may be longer than 4 GiB.

        Amortised linear in ``piece``, whatever came before. The first open piece of over 128 bytes in a process makes
        an index of the encoding: about 20 ms, 5 MB. The GIL is released for what takes over about 500 us.
        """

    def reset(self) -> None:
        """Begin anew, with an empty text. O(1)."""

    def copy(self) -> Meter:
        """Return a meter of its own that goes on from here. Linear in the text that is kept."""

    def __copy__(self) -> Meter: ...
    @property
    def total(self) -> int:
        """The number of tokens of everything added so far. O(1)."""

    @property
    def encoding(self) -> str:
        """The name of the encoding."""

@final
class Prefix:
    """The exact number of tokens of any part of one text, without counting that part anew.

    Reads ``text`` once, in linear time, and keeps it as UTF-8 with 8 bytes for each piece (about a word) beside it, 16
    for each byte of pieces above 256 bytes, and half a bit for each character where not all are ASCII; ``sys.getsizeof``
    has the sum. Never changes, and is thread-safe; texts above 8 KiB are read with the GIL released.

    Raises `TypeError` where ``text`` is no ``str``, `sparecall.errors.UnknownName` for an encoding that is not in
    ``tokens_encodings()``, `sparecall.errors.InvalidArgument` for a text that may be longer than 4 GiB and for a
    `TokenEncoding` that `Meter` would refuse.

    Algorithm: sums over the pieces, as a scan from anywhere falls in with the text's own pieces soon; inside a long
    piece the tree of its prefixes (van Antwerpen and Neubeck, 2024), and text that repeats itself is leapt over.
    """

    def __new__(cls, text: str, encoding: str | TokenEncoding = "o200k_base") -> Self: ...
    def count(self, start: int | None = None, stop: int | None = None) -> int:
        """Return ``tokens_count(text[start:stop])``; the ends are those of a slice: negative ones count from the end.

        O(log n) and the recount of the pieces at both ends, whatever lies between. In a piece of over 256 bytes the
        recount goes on until it meets the piece's own tokens, some ten bytes in most texts; text that repeats itself
        every 128 bytes or less is leapt over. Linear in that piece at worst, as with a text where pairs of surrogates
        stand: there each part is counted anew.
        """

    def __len__(self) -> int: ...
    def __sizeof__(self) -> int: ...
    @property
    def total(self) -> int:
        """The number of tokens of the whole text. O(1)."""

    @property
    def encoding(self) -> str:
        """The name of the encoding."""

def _tokens_encode(text: str, encoding: str) -> list[int]:
    """For tests: the tokens of ``text``."""

def _tokens_ranks(encoding: str) -> dict[bytes, int]:
    """For tests: the bytes of every token and its rank."""

# --- cache ---------------------------------------------------------------------------------------

@final
class Cache(Generic[_K, _T]):
    """An in-process cache of any objects under any hashable keys, bounded by weight.

    Keys of exactly ``str``, ``bytes``, ``int``, ``float``, ``bool`` and ``None``, and tuples of these, are hashed and compared
    natively. Other keys are compared by their own ``__eq__``, and no lock is held while it runs, nor while any other Python
    code does (``__hash__``, a weigher, a clock, the end of an object that left): such code may use the cache itself.

    Every operation is O(1), or O(items) where it takes many, evictions included (O(log entries) each with the policy
    ``"cost"``); each step is atomic and may be called from any thread. A hit returns the very object that was stored. An entry
    past its life, or invalidated, is never returned; it leaves when it is met, and every set sees to a few more. Without a
    ``clock``, time is the operating system's coarse monotonic clock, so that an expiry may come a few milliseconds late.

    Any method that takes a key raises ``TypeError`` for one that is not hashable, and whatever its ``__hash__`` or ``__eq__``
    raises; the cache is then as it was.
    """

    def __new__(
        cls,
        max_weight: int,
        *,
        policy: str = "adaptive",
        ttl: float | None = None,
        jitter: float = 0.0,
        second_price: float = 0.001,
        weigher: Callable[[_K, _T], int] | None = None,
        seed: int | None = None,
        clock: Callable[[], float] | None = None,
    ) -> Self:
        """Make a cache whose entries never weigh more than ``max_weight`` together; nothing is allocated ahead.

        ``policy``: who leaves when room is needed. ``"adaptive"``: whoever is least likely to be asked for again, by recency
        and frequency, in shares that follow the load. ``"lru"``: the least recently used. ``"cost"``: whoever saves least for
        its weight, by the ``cost`` given to `set`, in which a second counts as ``second_price`` dollars. ``ttl``: the life of an entry in seconds where `set` gives none; ``None`` or
        ``inf`` for no end. ``jitter``: the share of each life, from 0 to 1, by which chance may shorten it. ``weigher``: gives
        the weight of an entry where `set` gives none; without one it is 1. ``seed``: for the chance of ``jitter``; ``None`` for
        another one each time. ``clock``: returns seconds, for tests and simulations; `save` and `load` then use it as the time
        of day too.

        Raises `sparecall.errors.InvalidArgument` (a negative ``max_weight``, a negative or NaN ``ttl``, a ``jitter`` outside 0
        to 1) and `sparecall.errors.UnknownName` (another ``policy``).
        """

    @overload
    def get(self, key: _K, default: None = None) -> _T | None: ...
    @overload
    def get(self, key: _K, default: _D) -> _T | _D:
        """Return the value under ``key``, or ``default``. The read counts for the policy and the statistics."""

    def __getitem__(self, key: _K, /) -> _T:
        """Return the value under ``key``; raise ``KeyError`` where there is none. Counts like `get`."""

    def __contains__(self, key: _K, /) -> bool:
        """Say whether ``key`` has a live entry. Nothing is counted or reordered."""

    def __len__(self) -> int:
        """Count the entries held, those included that are over but have not been met yet."""

    def set(
        self,
        key: _K,
        value: _T,
        *,
        ttl: float | None = None,
        weight: int | None = None,
        cost: float | tuple[float, float] | None = None,
        tags: Iterable[str] | None = None,
    ) -> bool:
        """Store ``value`` and say whether it was stored.

        ``ttl``: its life in seconds (``None``: the cache's own, ``inf``: no end). ``weight``: ``None`` asks the weigher.
        ``cost``: dollars, or dollars and seconds, that a miss would cost, for the policy ``"cost"`` and for the
        statistics. ``tags``: names by which
        `invalidate_tag` finds it.

        An entry heavier than the whole cache is refused, and so is one with a ``ttl`` of 0; an older value under ``key`` is
        removed all the same, since it has been overtaken. Raises ``TypeError``, `sparecall.errors.InvalidArgument` (a negative
        or NaN ``ttl``, ``weight`` or ``cost``) and whatever the weigher raises; then nothing has changed.
        """

    def __setitem__(self, key: _K, value: _T, /) -> None:
        """Do `set` with nothing but key and value."""

    def delete(self, key: _K) -> bool:
        """Remove ``key`` and say whether it had a live entry."""

    def __delitem__(self, key: _K, /) -> None:
        """Remove ``key``; raise ``KeyError`` where it had no live entry."""

    def get_many(self, keys: Iterable[_K]) -> list[_T | None]:
        """Do `get` for every key, in one crossing."""

    def set_many(
        self,
        items: dict[_K, _T] | Iterable[tuple[_K, _T]],
        *,
        ttl: float | None = None,
        weight: int | None = None,
        cost: float | tuple[float, float] | None = None,
        tags: Iterable[str] | None = None,
    ) -> int:
        """Do `set` for every pair with the same options, in one crossing; return how many were stored.

        A bad value, weight or option raises before anything is stored.
        """

    def delete_many(self, keys: Iterable[_K]) -> int:
        """Do `delete` for every key, in one crossing; return how many had a live entry."""

    def invalidate_tag(self, tag: str) -> int:
        """Invalidate every entry that carries ``tag`` and return how many there are.

        O(1), however many: from now on none of them is returned, and they leave as they are met. Entries that are set later
        may carry the tag again.
        """

    def invalidate_prefix(self, prefix: str) -> None:
        """Invalidate every entry whose key is a ``str`` that equals ``prefix`` or goes on after it with a ``/``.

        Where ``prefix`` ends with a ``/``, every key that goes on after it, but not the path itself. O(length of ``prefix``);
        until the entries from before have all been met, a few of them with every set, reads look for the prefixes of their
        keys. Raises `sparecall.errors.InvalidArgument` for an empty prefix.
        """

    def sweep(self, *, limit: int = 1000) -> int:
        """Remove entries that have expired or were invalidated, in at most ``limit`` steps; return how many left.

        Sets do this by and by. Call it from a timer where a cache is read but seldom set.
        """

    def resize(self, max_weight: int, *, limit: int = 1000) -> bool:
        """Set another bound; say whether it is reached. At once where what is held fits, else as far as ``limit`` evictions go.

        Until it is reached the bound is what is held: call again, on the event loop once a turn. Who leaves is the policy's
        choice, and counts as evicted for size. O(evictions), about a microsecond each. Raises `sparecall.errors.InvalidArgument`
        for a negative number.
        """

    def clear(self) -> None:
        """Remove every entry. Statistics go on. O(entries)."""

    def stats(self) -> CacheStats:
        """Return what happened since the cache was made, and what it holds now."""

    def save(self, path: str | os.PathLike[str], *, encode: Callable[[_T], bytes] | None = None) -> None:
        """Write every live entry to ``path``: order, what the policy remembers, weight, cost, tags, remaining life, checksum.

        Keys, and values without ``encode``, are plain data: ``None``, ``bool``, ``int``, ``float``, ``str``, ``bytes``, and
        tuples, lists and dicts of these, nested up to 100 deep. ``encode`` makes bytes of a value of any class.

        The file is written beside ``path``, flushed to disk and renamed, so that ``path`` is always whole; only its owner may
        read it. Other threads run in between: entries that change meanwhile are saved as they were or as they are. Raises
        ``OSError``, ``TypeError`` (an object that is no plain data), `sparecall.errors.InvalidArgument` (nested too deep), and
        whatever ``encode`` raises. O(entries).
        """

    def load(self, path: str | os.PathLike[str], *, decode: Callable[[bytes], _T] | None = None) -> int:
        """Add the entries of a file that `save` wrote, as if each were set again in order; return how many were stored.

        Entries keep the life they had left, less the time of day gone by since (a clock set back counts as none); the dead
        are left out. Raises ``OSError``, whatever ``decode`` raises, and `sparecall.errors.SnapshotError` for a file that is
        damaged, cut short, of another version or of a `BytesCache`: then the cache is unchanged. The checksum guards against
        damage, not against forgery: load only files from places you trust. O(bytes of the file).
        """

@final
class BytesCache:
    """An in-process cache of ``bytes`` bounded by weight, which the garbage collector need not visit.

    Keys are ``str``, or ``bytes`` of length 16 or 32 (digests); a text and the same bytes are two keys. Values are
    ``bytes``. Both must be of exactly these classes, so that no Python code runs to hash, compare or drop them. An entry
    weighs its key (1, 2 or 4 bytes a character, as Python holds it) + its value, as it is held + 64 bytes, and 32 bytes + its
    name for each tag.

    What `Cache` says of complexity, threads and lives holds here too. A hit returns the very object that was stored, or a new
    one where the value was compressed.

    Any method that takes a key raises ``TypeError`` for a key of another class, and `sparecall.errors.InvalidArgument`
    for ``bytes`` of another length; then nothing has changed.
    """

    SNAPSHOT_MAGIC: ClassVar[bytes]
    """What every file that `save` wrote begins with."""

    def __new__(
        cls,
        max_bytes: int,
        *,
        policy: str = "adaptive",
        ttl: float | None = None,
        jitter: float = 0.0,
        second_price: float = 0.001,
        compress_above: int | None = None,
        seed: int | None = None,
        clock: Callable[[], float] | None = None,
    ) -> Self:
        """Make a cache that never weighs more than ``max_bytes``, which are not allocated ahead.

        ``compress_above``: values longer than so many bytes are held as LZ4 blocks where that saves an eighth or more; each
        hit then costs the time to decompress (about 0.5 ms a megabyte; other threads run meanwhile above 256 KiB). The rest is
        as in `Cache`.
        """

    @overload
    def get(self, key: str | bytes, default: None = None) -> bytes | None: ...
    @overload
    def get(self, key: str | bytes, default: _T) -> bytes | _T:
        """Return the value under ``key``, or ``default``. The read counts for the policy and the statistics."""

    def __getitem__(self, key: str | bytes, /) -> bytes:
        """Return the value under ``key``; raise ``KeyError`` where there is none. Counts like `get`."""

    def __contains__(self, key: str | bytes, /) -> bool:
        """Say whether ``key`` has a live entry. Nothing is counted or reordered."""

    def __len__(self) -> int:
        """Count the entries held, those included that are over but have not been met yet."""

    def set(
        self,
        key: str | bytes,
        value: bytes,
        *,
        ttl: float | None = None,
        cost: float | tuple[float, float] | None = None,
        tags: Iterable[str] | None = None,
    ) -> bool:
        """Store ``value`` and say whether it was stored: `Cache.set`, whose weight is here always the entry's own."""

    def __setitem__(self, key: str | bytes, value: bytes, /) -> None:
        """Do `set` with nothing but key and value."""

    def delete(self, key: str | bytes) -> bool:
        """Remove ``key`` and say whether it had a live entry."""

    def __delitem__(self, key: str | bytes, /) -> None:
        """Remove ``key``; raise ``KeyError`` where it had no live entry."""

    def get_many(self, keys: Iterable[str | bytes]) -> list[bytes | None]:
        """Do `get` for every key, in one crossing. A key that is refused raises before anything is read."""

    def set_many(
        self,
        items: dict[str | bytes, bytes] | dict[str, bytes] | dict[bytes, bytes] | Iterable[tuple[str | bytes, bytes]],
        *,
        ttl: float | None = None,
        cost: float | tuple[float, float] | None = None,
        tags: Iterable[str] | None = None,
    ) -> int:
        """Do `set` for every pair with the same options, in one crossing; return how many were stored.

        A bad pair or option raises before anything is stored.
        """

    def delete_many(self, keys: Iterable[str | bytes]) -> int:
        """Do `delete` for every key, in one crossing; return how many had a live entry."""

    def invalidate_tag(self, tag: str) -> int:
        """Do what `Cache.invalidate_tag` does."""

    def invalidate_prefix(self, prefix: str) -> None:
        """Do what `Cache.invalidate_prefix` does. Digests have no prefixes."""

    def sweep(self, *, limit: int = 1000) -> int:
        """Do what `Cache.sweep` does."""

    def resize(self, max_bytes: int, *, limit: int = 1000) -> bool:
        """Do what `Cache.resize` does."""

    def clear(self) -> None:
        """Remove every entry. Statistics go on. O(entries)."""

    def stats(self) -> CacheStats:
        """Return what happened since the cache was made, and what it holds now."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write every live entry to ``path``, as `Cache.save` does; values stay compressed. Raises ``OSError``."""

    def load(self, path: str | os.PathLike[str]) -> int:
        """Add the entries of a file that `save` wrote, as `Cache.load` does; return how many were stored."""

@final
class CacheStats:
    """What a cache has done and holds: one moment, frozen. ``sets`` = ``entries`` + all ``evictions``."""

    @property
    def hits(self) -> int:
        """Reads that found a live entry."""
    @property
    def misses(self) -> int:
        """Reads that found none."""
    @property
    def hit_ratio(self) -> float:
        """Hits among all reads, from 0 to 1; 0 where there was none."""
    @property
    def sets(self) -> int:
        """Entries stored."""
    @property
    def refused(self) -> int:
        """Sets that stored nothing: too heavy for the whole cache, or already expired."""
    @property
    def saved(self) -> float:
        """Dollars that hits spared: the costs of the entries they returned."""
    @property
    def saved_seconds(self) -> float:
        """Seconds of waiting that hits spared."""
    @property
    def spent(self) -> float:
        """Dollars that misses cost: the costs of the entries that were stored; those that `load` brought back left out."""
    @property
    def spent_seconds(self) -> float:
        """Seconds that misses took."""
    @property
    def dollar_hit_ratio(self) -> float:
        """Dollars saved among all dollars, from 0 to 1; 0 where no cost was given."""
    @property
    def evictions(self) -> dict[str, int]:
        """Entries that left, by reason: ``size``, ``expired``, ``replaced``, ``deleted``, ``invalidated``."""
    @property
    def entries(self) -> int:
        """Entries held, those included that are over but have not been met yet."""
    @property
    def weight(self) -> int:
        """The sum of their weights."""
    @property
    def max_weight(self) -> int:
        """The bound of ``weight``."""

# --- flow ----------------------------------------------------------------------------------------

@final
class Done(Generic[_T]):
    """An awaitable that is done: awaiting it gives its value at once. Half the cost of a coroutine that returns it."""

    def __new__(cls, value: _T, /) -> Self: ...
    def __await__(self) -> Generator[None, None, _T]: ...
    def __next__(self) -> None: ...

@final
class Gcra:
    """One limit's arithmetic: the generic cell rate algorithm (ITU-T I.371), and what the server tells of the same limit.

    ``limit`` units each ``per`` seconds; after a pause the share ``burst`` of them at once. An unknown limit is None, and so is a
    period that is to be learned. `now` is monotonic seconds. Every step is O(1). Belongs to one event loop, as all of flow.
    """

    def __new__(cls, limit: float | None, *, per: float | None, burst: float, now: float) -> Self: ...
    def ready_at(self, amount: float, now: float) -> float:
        """When `amount` can be taken, as far as is known at `now`; not after `now` where it can be now."""

    def take(self, amount: float, now: float) -> None:
        """Take it, whether it is there or not."""

    def give_back(self, amount: float, mark: float, sent: float) -> None:
        """Give back `amount` of what was taken at `sent`, when `mark` had passed."""

    def refused(self, now: float) -> None:
        """No more than the limit goes in any period from now on: the server refused what it should have taken."""

    def hold(self, until: float) -> None:
        """One unit at `until`, none before: the server said so."""

    def told(
        self,
        *,
        limit: float | None,
        remaining: float | None,
        reset: float | None,
        rounded: float,
        mark: float,
        sent: float,
        now: float,
    ) -> None:
        """Believe the server's count where it is the newest. `mark`: what had passed with the call it came with; `sent`: when that was, or minus infinity.

        ``reset`` is the seconds until all of the limit is there again, too long by at most `rounded`. For a server that refills as time goes by, that is when
        the missing units will have been refilled. Another time that comes means that it counts in windows: then no more than
        ``remaining`` is taken until the window ends. One that moves with each call is of a log of the last period: then no
        more than the limit is taken in any period.
        """

    def learned(self, limit: float, *, per: float, used: float, now: float) -> None:
        """So many in any `per` seconds, as was found out, of which the present period had `used`; no more of its period is to be learned."""

    def lower(self, share: float) -> None:
        """Only this share of the limit, which is too high."""

    def spent(self, now: float) -> float:
        """The share of the limit spent in about the last period: by our count, exponentially averaged, or by the server's if that is more."""

    @property
    def limit(self) -> float:
        """Units a period; infinite where unknown."""

    @property
    def per(self) -> float:
        """Seconds of the period, given or learned."""

    @property
    def interval(self) -> float:
        """Seconds a unit; 0 where there is no limit."""

    @property
    def tolerance(self) -> float:
        """Seconds that the virtual clock may run ahead."""

    @property
    def tat(self) -> float:
        """The virtual clock: the "theoretical arrival time"."""

    @property
    def taken(self) -> float:
        """Taken and not given back."""

    @property
    def passed(self) -> float:
        """Taken ever, which never shrinks: the order of takes, and what the ceiling is for."""

    @property
    def mark(self) -> float:
        """What had passed with the call that the server's newest count came with."""

    @property
    def ceiling(self) -> float:
        """The most that may pass until `ceiling_until`."""

    @property
    def ceiling_until(self) -> float:
        """When the ceiling ends."""

@disjoint_base
class LimitGate:
    """The part of an `AdaptiveLimit` that every call goes through. Without a clock it reads the system's monotonic one.

    Calls that wait inside the endpoint are, by Little's law, the excess of the mean time over what it should be, times the calls that
    come back a second. What it should be is a line through the tokens, by weighted recursive least squares with forgetting; what the
    capacity is, and how slow the endpoint by itself, is weighed on a grid of probabilities (a histogram filter). O(log n) of calls in
    flight a call; a few in a round trip cost 30 us.
    """

    _waiters: int
    def __new__(cls, *arguments: object, **options: object) -> Self: ...
    def try_acquire(
        self, kind: Literal["light", "standard", "heavy"] = "standard", *, prompt_tokens: int = 0
    ) -> AdaptivePermit | None:
        """A permit if the call may go now, else None. Never before one that waits. Use it as ``async with``, or `release` it."""

    def acquire(
        self,
        kind: Literal["light", "standard", "heavy"] = "standard",
        *,
        max_wait: float | None = None,
        prompt_tokens: int = 0,
    ) -> AdaptivePermit:
        """A permit; ``async with`` waits until the call may go.

        Entering raises `LimitExceeded` where the queue is full, and where the call would wait, or has waited, for longer than
        ``max_wait`` seconds. ``prompt_tokens`` tell a long prompt from a slow endpoint.
        """

    @property
    def limit(self) -> int:
        """Calls that may be in flight at once now."""

    @property
    def in_flight(self) -> int:
        """Calls under way."""

    @property
    def waiting(self) -> int:
        """How many calls wait."""

    def _open_gate(
        self,
        *,
        initial: float,
        least: float,
        most: float,
        lease_for: float,
        clock: Callable[[], float] | None,
        signals: object,
    ) -> None: ...
    def _grant(self, permit: AdaptivePermit, now: float) -> None: ...
    def _reclaim(self, now: float) -> bool: ...
    def _ended(self, permit: AdaptivePermit, how: str) -> None: ...
    def _now(self) -> float: ...
    def _lost_at(self) -> float | None: ...
    @property
    def _kinds(self) -> list[int]: ...
    @property
    def _duration(self) -> float: ...
    @property
    def _lately(self) -> float: ...

@final
class AdaptivePermit:
    """The right to make one call under an `AdaptiveLimit`, for the length of an ``async with``, or until `release`.

    How it ends is what the limit learns from: `report` says so where no exception does, `answered` when a stream's first
    token came, and `settle` how many tokens the answer had. One that is lost is taken back after the limit's ``lease_for``
    seconds; ending it later changes nothing. What ``__aenter__`` gives is done already where the call may go at once.
    """

    # No coroutines where nothing waits, but to whom it is an asynchronous context manager they are as good.
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, kind: object, error: object, traceback: object, /) -> None: ...
    def __await__(self) -> Generator[None, None, Self]: ...
    def __next__(self) -> Self: ...
    def release(self, error: BaseException | None = None) -> None:
        """End it: the call is over, well or with `error`. For permits of `AdaptiveLimit.try_acquire`; again is nothing."""

    def answered(self) -> None:
        """Say that a stream's first token came."""

    def settle(self, tokens: int, *, prompt_tokens: int | None = None) -> None:
        """Say how many tokens the answer had: a long answer is not a slow one. Before the permit ends; the last counts.

        ``prompt_tokens``: those that were read for it, less what the provider had in its cache; None: as `AdaptiveLimit.acquire` was told.
        Raises `sparecall.errors.InvalidArgument` for numbers below 0.
        """

    def report(self, outcome: Literal["success", "failure", "limited", "ignored"] | int) -> None:
        """Say how the call went where no exception tells: a word, or the HTTP status of the reply. The last report counts."""

    @property
    def _running(self) -> bool: ...
    @property
    def _kind(self) -> Literal["light", "standard", "heavy"]: ...
    @property
    def _max_wait(self) -> float | None: ...
    @property
    def _outcome(self) -> Literal["success", "failure", "limited", "ignored"] | int | None: ...

@final
class Expected:
    """How long a call should take: ``fixed + each * tokens + each_read * prompt`` seconds, by recursive least squares with forgetting.

    Errors count as shares of the length. About the last 512 calls count. Until prompts of different lengths were seen, ``each_read`` is a
    fiftieth of ``each``. Sizes and seconds are at least 0, which the caller sees to. O(1) a call; belongs to one event loop.
    """

    def __new__(cls) -> Self: ...
    def learn(self, tokens: float, prompt: float, seconds: float, /) -> None:
        """A call of `tokens` tokens after a prompt of `prompt` took `seconds`."""

    def seconds(self, tokens: float, prompt: float, /) -> float:
        """What such a call should take; above 0."""

    @property
    def each(self) -> float | None:
        """Seconds a token of an answer; None where answers of different lengths were not seen, or longer ones took no longer."""

@final
class Window:
    """Counts of calls, failures and slow calls over the last ``seconds``, forgotten a tenth at a time; O(1) a call.

    `now` never goes back; the caller sees to that.
    """

    def __new__(cls, seconds: float) -> Self: ...
    def clear(self) -> None:
        """Forget everything."""

    def pass_to(self, now: float) -> None:
        """Forget what is older than the window at `now`."""

    def add(self, now: float, *, calls: int, failed: bool, slow: bool) -> None:
        """Count at `now`; ``calls`` is 0 where the call itself has been counted already."""

    @property
    def calls(self) -> int:
        """Calls that ended, or that are slow, within the window."""

    @property
    def failed(self) -> int:
        """Of those, how many failed."""

    @property
    def slow(self) -> int:
        """Of those, how many were slow."""

@disjoint_base
class BreakerGate:
    """The part of a `Breaker` that every call goes through. Without a clock it reads the system's monotonic one."""

    _plain: bool
    _generation: int
    def __new__(cls, *arguments: object, **options: object) -> Self: ...
    def call(self) -> Permit:
        """A permit, to be used by ``async with``. Entering it raises `BreakerOpen` where no call may be made now."""

    def _open_gate(
        self,
        window: Window,
        *,
        clock: Callable[[], float] | None,
        now: float,
        minimum: int,
        failure_rate: float,
    ) -> None: ...
    def _tick(self) -> float: ...
    @property
    def _window(self) -> Window: ...

@final
class Permit:
    """The right to make one call through a breaker, for the length of an ``async with``.

    How the block ends is the outcome, unless `report` named another. One that never ends, is cancelled, or ends after the
    breaker has changed its mind leaks nothing: it is a lease of one generation. What ``__aenter__`` gives is done already.
    """

    _generation: int
    _started: float
    _slow_at: float | None
    # No coroutines, but to whom it is an asynchronous context manager they are as good.
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, kind: object, error: object, traceback: object, /) -> None: ...
    def __await__(self) -> Generator[None, None, Self]: ...
    def __next__(self) -> Self: ...
    def report(self, outcome: Literal["success", "failure", "limited", "ignored"] | int) -> None:
        """Say how the call went where no exception tells: a word, or the HTTP status of the reply. The last report counts."""

    def answered(self) -> None:
        """Say that the answer begins: from here on a long answer is not a slow one."""

    @property
    def _answered(self) -> float | None: ...
    @property
    def _outcome(self) -> Literal["success", "failure", "limited", "ignored"] | None: ...

@disjoint_base
class RateGate:
    """The part of a `RateLimit` that every call goes through. Without a clock it reads the system's monotonic one."""

    _waiters: int
    _learning: bool
    _held_until: float
    def __new__(cls, *arguments: object, **options: object) -> Self: ...
    def try_acquire(
        self, tokens: int = 0, *, route: str | None = None, max_tokens: int | None = None, background: bool = False
    ) -> Lease | None:
        """A lease if the call may go now, else None. Never before one that waits. Arguments and errors: `acquire`. O(1)."""

    def acquire(
        self,
        tokens: int = 0,
        *,
        route: str | None = None,
        max_tokens: int | None = None,
        background: bool = False,
        max_wait: float | None = None,
    ) -> Lease:
        """A lease of one request and `tokens` tokens; ``async with`` waits until it may go. O(1).

        With a ``route``, `tokens` are the prompt's, and what answers on that route had lately is reserved on top, at most
        ``max_tokens``. Raises `LimitExceeded` where the call is larger than a whole limit; entering raises it at once
        where the call would wait for longer than ``max_wait`` seconds, as far as can be told now.
        """

    def _open(
        self, requests: Gcra, tokens: Gcra, *, clock: Callable[[], float] | None, learning: bool, whole: float
    ) -> None: ...
    def _ready_at(self, lease: Lease, now: float) -> float: ...
    def _grant_if_due(self, lease: Lease, now: float) -> float | None: ...
    def _now(self) -> float: ...
    def _make_room(self) -> None: ...
    def _begin_again(self, until: float) -> None: ...
    def _background_turn(self, now: float) -> bool: ...
    @property
    def _requests(self) -> Gcra: ...
    @property
    def _tokens(self) -> Gcra: ...

@final
class Lease:
    """What one call has reserved. The holder of an ``async with limit.acquire(...)``, or what `RateLimit.try_acquire` gave.

    Its end gives nothing back: what was sent counts at the server, however it ended. `settle` says what it came to, and
    `refund` that it was never sent. Entering one that may go at once makes no coroutine: what ``__aenter__`` gives is done
    already.
    """

    # No coroutines, but to whom it is an asynchronous context manager they are as good.
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, kind: object, error: object, traceback: object, /) -> None: ...
    def __await__(self) -> Generator[None, None, Self]: ...
    def __next__(self) -> Self: ...
    @property
    def tokens(self) -> float:
        """Tokens now reserved for the call; once settled, those it used."""

    def settle(self, used: int, *, final: bool = True) -> None:
        """Say how many tokens the call used in all, prompt and completion: what was reserved above that is given back, what is missing taken.

        It may be said again, also after the ``async with`` has ended. ``final=False`` while a stream's count still grows: then the
        route's completions do not learn from it. Raises `InvalidArgument` where it was never let through, or refunded.
        """

    def refund(self) -> None:
        """Say that the call was never sent: all of it is given back. Once refunded, again is nothing."""

    def sync(self, headers: Mapping[str, str], *, status: int = 200) -> None:
        """Take over what the reply to this call tells of the limits; a status of 429 makes every caller wait. O(headers)."""

    @property
    def _at(self) -> float | None: ...
    @property
    def _marks(self) -> tuple[float, float]: ...
    @property
    def _background(self) -> bool: ...
    @property
    def _max_wait(self) -> float | None: ...

# --- frame ---------------------------------------------------------------------------------------

def frame_pack(obj: object, *, max_bytes: int = 67_108_864) -> bytes:
    """Write an object as a frame: MessagePack, LZ4 where that saves an eighth, a header of 16 bytes and a checksum.

    Takes dict, list, str, bytes, int, float, bool, None, aware datetime (comes back in UTC) and numpy arrays as they are; tuple,
    set and frozenset as list; bytearray and memoryview as bytes; msgspec Structs and dataclasses as dict; Enum as its value,
    UUID and Decimal as str, numpy's numbers as Python's. Keys are str, bytes, numbers, datetime or None.
    ``max_bytes``: the most bytes of MessagePack.

    Raises `sparecall.errors.FrameError` for anything else, for text with lone surrogates, for more than 128 levels and above the
    limits; the message names the place in the object (``$.messages[3].content``), never the content. Linear. The interpreter
    is let go while more than 250 kB are compressed. Safe in any thread; an object that another thread changes meanwhile is
    refused or packed as it was at some moment of each part.
    """

def frame_unpack(data: Buffer, *, copy: bool = False, max_bytes: int = 67_108_864) -> object:
    """Read the object in a frame.

    Arrays are read-only views of ``data`` (or of the one buffer that was decompressed) and keep it alive; with ``copy`` each has
    memory of its own and can be written. ``data`` that can change, such as a bytearray, is copied first.
    ``max_bytes``: the most bytes of MessagePack; there may be one value in containers for each 8 of them, and 65,536 more.

    Raises `sparecall.errors.FrameError` for anything that is not one whole, undamaged frame within the limits: at most ``max_bytes``,
    128 levels, 255 bytes for each stored one, and no container that promises more than there is. Allocates nothing for mere
    claims. Linear. The interpreter is let go while more than 1.5 MB are decompressed. Safe in any thread.
    """

@final
class FrameDraft:
    """An object that is written and not compressed yet: a worker does that."""

    def seal(self) -> Work[bytes]:
        """The work of making the frame, once; again it raises `sparecall.errors.InternalError`."""

def _frame_draft(obj: object, *, max_bytes: int) -> bytes | FrameDraft:
    """For ``write_frame``: the frame of an object, or what is to become one where LZ4 takes above 500 us."""

def _frame_lengths(header: bytes, *, max_bytes: int) -> tuple[int, int]:
    """For ``read_frame``: the raw and the stored length in bytes that a header says, once it is within the limits."""

@final
class FrameReader:
    """Cuts a stream that comes in pieces into frames. Holds at most one unfinished frame.

    Safe in any thread, but one call at a time: one that comes meanwhile is refused with `sparecall.errors.FrameError`.
    """

    def __new__(cls, *, copy: bool = False, max_bytes: int = 67_108_864) -> Self: ...
    def feed(self, data: Buffer) -> list[object]:
        """Take the next bytes of the stream and return the objects of the frames that they complete, in order.

        Raises `sparecall.errors.FrameError` at the first bad frame, and from then on: a stream has no way back. Objects of frames
        before it in the same piece are returned first; then the next call raises. Linear in the bytes and the objects.
        """
    def finish(self) -> None:
        """Say that the stream has ended. Raises `sparecall.errors.FrameError` where that is within a frame or after a bad one."""
    @property
    def pending(self) -> int:
        """Bytes held of a frame that is not complete."""

# --- index ---------------------------------------------------------------------------------------

_Vector: TypeAlias = NDArray[np.floating] | Sequence[float]
_Matrix: TypeAlias = NDArray[np.floating] | Sequence[Sequence[float]]

@final
class Matches:
    """What a search found, best first; of equally similar entries the lowest id first. Immutable."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids found."""
    @property
    def similarities(self) -> tuple[float, ...]:
        """The cosine similarity of each, from -1 to 1: computed in ``float64``, rounded to ``float32``; the same on every processor."""
    @property
    def low(self) -> tuple[float, ...]:
        """What the true similarity of each is at least: its ``similarities``, unless the index keeps no originals."""
    @property
    def high(self) -> tuple[float, ...]:
        """What the true similarity of each is at most: its ``similarities``, unless the index keeps no originals."""
    @property
    def exact(self) -> bool:
        """Whether nothing at or above the threshold can have been missed."""
    @property
    def verified_fraction(self) -> float:
        """The share of the namespace's entries whose vectors were read, 0 to 1: the price of the proof.

        1.0 in namespaces of some thousand entries and of short vectors, which are read whole.
        """
    def __len__(self) -> int: ...

@final
class VectorQuery:
    """A vector that was checked once and may be searched for many times. `VectorIndex.prepare` makes it. Immutable."""

    @property
    def dim(self) -> int:
        """How many numbers the vector has."""

@disjoint_base
class VectorIndex:
    """An index of vectors by cosine similarity. A search misses no live entry at or above its threshold.

    Ids are whole numbers of 64 bits, unique over all namespaces. A vector is a numpy array of ``float32``, ``float16`` or
    ``float64`` (used as ``float32``) or a list of numbers, of any length but 0. Entries may be added and removed at any
    time, from any thread; a search sees the namespace as it was at one moment and stalls no writer, nor is it stalled by
    one for longer than it takes to add a thousand entries. A namespace is a name; one without entries does not exist,
    costs nothing and finds nothing.

    A search reads two bits of each of some coordinates of every entry of the namespace, proves by a bound that most are
    below the threshold, and compares the rest: O(entries), about a nanosecond each where ``min_similarity`` is high. An
    entry of 384 numbers takes about 2.0 kB. The interpreter lock is released where more than half a millisecond is
    predicted. Wherever a vector is expected, `sparecall.errors.InvalidArgument` is raised for another number of
    dimensions, NaN, infinity or zeros alone, with the row's number, and ``TypeError`` for arrays of another type.
    Codes: Lloyd-Max quantisers on principal directions found by subspace iteration.
    """

    def __new__(cls, dim: int, *, originals: bool = True, clock: Callable[[], float] | None = None) -> Self:
        """Make an empty index for vectors of ``dim`` numbers, 1 to 16384.

        ``originals=False``: of a vector a byte a number is kept instead of its ``float32`` values, with how far that is off
        at most: a quarter of the memory. Matches then come with an interval, ``low`` to ``high``, which the similarity of
        the original is proven to be in: of MiniLM embeddings mostly less than 0.01 wide, wider where few coordinates
        outweigh the others.

        ``clock``: returns seconds, as ``time.time`` does, which is used without one; ``expires_at`` is compared with it.

        Raises `sparecall.errors.InvalidArgument` for another ``dim``.
        """

    @property
    def dim(self) -> int:
        """How many numbers a vector has."""

    @property
    def originals(self) -> bool:
        """Whether vectors are kept as they were given, so that similarities are certain."""

    def add(self, id: int, vector: _Vector, *, namespace: str = "", expires_at: float | None = None) -> None:  # noqa: A002
        """Store ``vector`` under ``id``, in place of an entry that was there, in whichever namespace.

        From the second ``expires_at`` on it is not found; its memory is reclaimed by later additions. O(dim), and now and
        then a block of 64 entries is encoded. Raises `sparecall.errors.InvalidArgument` (the vector, an id beyond 64 bits,
        a negative or NaN ``expires_at``).
        """

    def add_many(
        self,
        ids: NDArray[np.int64] | Iterable[int],
        matrix: _Matrix,
        *,
        namespace: str = "",
        expires_at: float | None = None,
    ) -> None:
        """Store each row of ``matrix`` under the id beside it, as `add` would in turn, or none where one is refused.

        The rows are copied first; the interpreter lock is released for the rest, about 3 microseconds a row. Raises
        `sparecall.errors.InvalidArgument` as `add` does, and where there are more or fewer ids than rows.
        """

    def remove(self, id: int) -> bool:  # noqa: A002
        """Remove the entry under ``id``, in whichever namespace; return whether there was one. O(1)."""

    def remove_many(self, ids: NDArray[np.int64] | Iterable[int]) -> int:
        """Remove the entries under ``ids`` and return how many there were. O(ids)."""

    def prepare(self, vector: _Vector) -> VectorQuery:
        """Check a vector once, for several searches."""

    def search(
        self,
        vector: _Vector | VectorQuery,
        *,
        k: int = 1,
        min_similarity: float = -1.0,
        namespace: str = "",
        exact: bool = True,
    ) -> Matches:
        """Return the ``k`` live entries of the namespace most similar to ``vector``, none below ``min_similarity``.

        ``exact=True``: no live entry that belongs to the answer is missed; this is proven for every entry that was not
        compared. ``exact=False`` allows for what the codes leave out by its spread among similar vectors, not by its worst
        case: two to three times as fast below ``min_similarity=0.8``, and an entry may be missed. A similarity is the sum of the exact products of the ``float32``
        values in 32 partial sums of ``float64``, divided by both lengths, rounded to ``float32``; it is within 4e-8 of the
        true cosine, and compared with ``min_similarity`` as it is returned.

        Of an index without originals it is the similarity of what is kept, entries are ordered by it, and those are returned
        whose interval reaches ``min_similarity``: an entry whose ``low`` is below may not belong to the answer, but where
        fewer than ``k`` are returned, no live entry at or above ``min_similarity`` is missing.

        Raises `sparecall.errors.InvalidArgument` (the vector, ``k`` below 1, ``min_similarity`` outside -1 to 1).
        """

    def search_many(
        self,
        vectors: _Matrix | Sequence[VectorQuery],
        *,
        k: int = 1,
        min_similarity: float = -1.0,
        namespace: str = "",
        exact: bool = True,
    ) -> list[Matches]:
        """Return what `search` finds for each row, or each prepared query; eight at a time share a pass over the entries."""

    def _search_or_work(
        self, vectors: Sequence[VectorQuery], k: int, min_similarity: float, namespace: str, exact: bool
    ) -> list[Matches] | Work[list[Matches]]:
        """`search_many` where it is predicted to take half a millisecond at most, else work for the workers."""

    def predict_seconds(
        self, *, queries: int = 1, k: int = 1, min_similarity: float = -1.0, namespace: str = "", exact: bool = True
    ) -> float:
        """Return about how many seconds so many searches of the namespace would take. O(entries / 1000).

        From the instruction sets of the processor and the share of entries that searches like them have read before; no
        time is measured. Raises what `search` raises for options out of range.
        """

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index as it is at this moment to ``path``, in place of a file that was there.

        The file is written beside, flushed to disk and renamed: a process that is killed meanwhile, or a disk that is full,
        leaves the old file or the new one. It is readable by its owner alone. Searches and changes go on; the interpreter
        lock is released. The vectors of removed entries are not in the file. O(bytes), about 2.0 kB an entry of 384
        numbers. Raises ``OSError``; then a file that was there is as it was.
        """

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, clock: Callable[[], float] | None = None) -> Self:
        """Return the index that was saved to ``path``; it finds what that found, alike to the last bit.

        All of the file is checked, with the interpreter lock released. Vectors then stay in the file, which is mapped into
        memory, until their chunk of 1024 changes; so nobody may write into the file or cut it while the index is in use.
        To replace it, as `save` does, is safe. Lives go on by the wall clock. ``clock`` is as in the constructor. O(bytes).

        Raises `sparecall.errors.IndexFileError` for a file that is damaged, cut short, of another version or no saved
        index, and ``OSError``. Checksums tell accidents, not forgers: of a forged file all numbers are checked for what
        could harm the process, but not whether its codes belong to its vectors.
        """

    def __len__(self) -> int: ...
    def __contains__(self, id: int, /) -> bool: ...  # noqa: A002

# --- embed ---------------------------------------------------------------------------------------

@disjoint_base
class MiniLMEmbedder:
    """A BERT-family sentence encoder, such as all-MiniLM-L6-v2, run in this process on one thread: no server, no framework.

    It gives the vectors that sentence-transformers gives for the same folder, normalised: cosine at least 0.9999 (measured:
    0.9999999). Immutable: any number of threads may embed at once. Weights are held as ``float32``, 90 MB for MiniLM.
    """

    def __new__(cls, folder: str | os.PathLike[str]) -> Self:
        """Load the model in ``folder``: ``model.safetensors`` (F32, F16 or BF16), ``config.json``, and ``tokenizer.json`` or ``vocab.txt``.

        ``1_Pooling/config.json`` (mean of all tokens, or the CLS token), ``sentence_bert_config.json`` (``max_seq_length``),
        ``modules.json`` and ``tokenizer_config.json`` are read where they are there. Supported are encoders of type ``bert``
        with absolute positions and exact GELU, up to 1,024 numbers wide, and WordPiece tokenizers.

        Everything is checked before it is used. Raises ``OSError`` (``FileNotFoundError``) for a file that cannot be read,
        `sparecall.errors.ModelFileError` for a model's file and `sparecall.errors.TokenizerFileError` for a tokenizer's that is
        damaged or not supported. Releases the interpreter lock; O(weights), about half a second for MiniLM.
        """

    @property
    def dim(self) -> int:
        """How many numbers a vector has."""

    @property
    def max_tokens(self) -> int:
        """How many tokens of a text are read, [CLS] and [SEP] with them; what follows is cut off."""

    def embed(self, texts: str | Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of ``texts`` (n, ``dim``), each of length 1, a row each; one ``str`` is one text.

        A vector does not depend on the other texts beyond rounding: they share passes over the weights without padding. Lone surrogates
        count as U+FFFD, which the tokenizer leaves out; an empty text has the vector of its two special tokens. O(tokens), plus
        a pass over the weights for each 128 of them. The interpreter lock is released where more than half a millisecond is
        predicted. Raises ``TypeError`` for what is no text, and `sparecall.errors.ModelFileError` where the weights, finite
        as they are, give a text a vector without a direction.
        """

    def _embed_work(self, texts: str | Sequence[str]) -> Work[NDArray[np.float32]]:
        """`embed`, as work for the workers."""

    def token_ids(self, text: str) -> list[int]:
        """Return the ids of the tokens of ``text`` that `embed` reads: those that the ``tokenizers`` library gives for the same file.

        They begin with [CLS], end with [SEP] and are at most ``max_tokens``. A special token's own text is that token. O(the
        part that is read). Raises ``TypeError`` for what is no ``str``.
        """

@disjoint_base
class StaticEmbedder:
    """The default embedder: a text's vector is the unit sum of its tokens' vectors, regressed onto those of all-MiniLM-L6-v2.

    It needs no files but the package's own, 7.9 MB that are mapped once a process, and microseconds a text. Words count, their
    order does not: of "dog bites man" and "man bites dog" the vectors are the same, and a negation moves them little. The
    same text gives the same bits on every processor. Immutable: any number of threads may embed at once.
    """

    def __new__(cls) -> Self:
        """Take the shipped model. Raises `sparecall.errors.InternalError` where its file is missing or damaged.

        The first call of a process reads the vocabulary and checks the model's digest, some 45 milliseconds.
        """

    @property
    def dim(self) -> int:
        """How many numbers a vector has: 256."""

    def embed(self, texts: str | Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of ``texts`` (n, 256), each of length 1, a row each; one ``str`` is one text.

        All of a text counts, however long. A text in which no token is known (an empty one, or symbols that the vocabulary
        lacks) says nothing and has a row of zeros: its cosine with anything is 0, and `VectorIndex` refuses it. Lone
        surrogates count as U+FFFD, which the tokenizer leaves out. O(characters). The interpreter lock is released where more
        than half a millisecond is predicted. Raises ``TypeError`` for what is no text.
        """

    def _embed_work(self, texts: str | Sequence[str]) -> Work[NDArray[np.float32]]:
        """`embed`, as work for the workers."""

# --- outline -------------------------------------------------------------------------------------

@final
class Symbol:
    """What a source defines at one place: a class, a function, a variable at the top of the file. Immutable.

    Lines count from 1. A symbol holds its whole outline.
    """

    @property
    def kind(self) -> str:
        """One of ``class``, ``struct``, ``enum``, ``interface``, ``type``, ``impl``, ``namespace``, ``function``, ``method``, ``variable``, ``macro``."""
    @property
    def name(self) -> str:
        """Its own name."""
    @property
    def name_path(self) -> str:
        """Its names from the outermost in, joined by dots: ``Class.method``. Not unique: an overload shares its name."""
    @property
    def signature(self) -> str:
        """Its text from its first word, decorators left out, to its body."""
    @property
    def docstring(self) -> str | None:
        """The first line of its docstring or doc comment."""
    @property
    def text(self) -> str:
        """All of it, with its decorators and the comments directly above."""
    @property
    def parent(self) -> Symbol | None:
        """The symbol that holds it."""
    @property
    def byte_range(self) -> tuple[int, int]:
        """The first byte of ``text`` in the source's UTF-8, and the one after its last."""
    @property
    def first_line(self) -> int:
        """The line on which ``text`` starts."""
    @property
    def last_line(self) -> int:
        """The line on which ``text`` ends."""

@final
class Outline:
    """What a source defines. Immutable, good for any thread. Its length is the number of its symbols."""

    @property
    def language(self) -> str:
        """The language's name."""
    @property
    def source(self) -> str:
        """The source as text; what bytes could not be read as, and lone surrogates, stand as U+FFFD."""
    @property
    def encoding(self) -> str | None:
        """By which encoding bytes were read: ``utf-8``, ``utf-8-sig``, ``utf-16-le``, ``utf-16-be`` or ``latin-1``; None where the source was text."""
    @property
    def lossy(self) -> bool:
        """Whether some bytes could not be read."""
    @property
    def has_errors(self) -> bool:
        """Whether parts could not be parsed. The symbols around them are there."""
    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """The symbols, in the order they start; a parent stands before its children."""
    def skeleton(self, keep: Sequence[str] = ()) -> Skeleton:
        """Return the source without what its functions do: a body is ``...``, in other languages ``{ /* ... */ }``.

        Signatures, what classes declare, imports and statements at the top stay as they stand; of docstrings and doc comments the first line;
        other comments go; so does the inside of literals of more than 160 bytes at the top. ``keep`` names symbols that stay whole, by name path
        or the end of one (``method`` for ``Class.method``), with all that is in them; names that are not there are passed over.
        Linear. The GIL is released above 32 KiB.
        """
    def tokens(self, encoding: str = "o200k_base") -> int:
        """Return how many tokens the source has, as `tokens.count`."""
    def __len__(self) -> int: ...

@final
class Skeleton:
    """A source without what its functions do. Immutable; ``str()`` of it is its text."""

    @property
    def text(self) -> str:
        """The text. It parses as the source did."""
    @property
    def kept(self) -> tuple[str, ...]:
        """The name paths of the symbols that stayed whole, as was asked."""
    @property
    def elided(self) -> int:
        """How many bodies were left out."""
    def tokens(self, encoding: str = "o200k_base") -> int:
        """Return how many tokens the text has, as `tokens.count`."""

@final
class IndexedSymbol:
    """A symbol of an indexed file, as it was when it was asked for; the first of each file is the file itself. Immutable, without its text."""

    @property
    def path(self) -> str:
        """The path of its file."""
    @property
    def number(self) -> int:
        """Which of the file's symbols it is, from 0."""
    @property
    def language(self) -> str:
        """The name of its language."""
    @property
    def kind(self) -> str:
        """As `Symbol.kind`; ``module`` for the file itself."""
    @property
    def name(self) -> str:
        """Its own name; of the file the empty one."""
    @property
    def name_path(self) -> str:
        """Its names from the outermost in, joined by dots; of the file the empty one."""
    @property
    def signature(self) -> str:
        """Its text from its first word, decorators left out, to its body."""
    @property
    def docstring(self) -> str | None:
        """The first line of its docstring or doc comment."""
    @property
    def parent(self) -> int | None:
        """The number of the symbol that holds it; None for the file."""
    @property
    def byte_range(self) -> tuple[int, int]:
        """The first byte of its text in the source's UTF-8, and the one after its last."""
    @property
    def first_line(self) -> int:
        """The line on which its text starts, from 1."""
    @property
    def last_line(self) -> int:
        """The line on which its text ends."""
    @property
    def hash(self) -> bytes:
        """The hash of all its text, 16 bytes of BLAKE3; of its code where only that counts."""
    @property
    def own_hash(self) -> bytes:
        """Likewise of its own text: of the symbols inside, kinds, names and order count."""

@final
class FormerSymbol:
    """A symbol as it was before an update. Immutable."""

    @property
    def path(self) -> str:
        """The path of its file."""
    @property
    def kind(self) -> str:
        """As `IndexedSymbol.kind`."""
    @property
    def name_path(self) -> str:
        """Its names from the outermost in, joined by dots."""
    @property
    def first_line(self) -> int:
        """The line on which its text started, from 1."""
    @property
    def last_line(self) -> int:
        """The line on which its text ended."""

@final
class SymbolDiff:
    """What an update changed. Each symbol of the file is in one of its tuples, and each that is gone in ``removed``. Immutable."""

    @property
    def added(self) -> tuple[IndexedSymbol, ...]:
        """The symbols that were not there before."""
    @property
    def modified(self) -> tuple[tuple[FormerSymbol, IndexedSymbol], ...]:
        """The symbols whose own text changed, each after what it was."""
    @property
    def enclosing(self) -> tuple[IndexedSymbol, ...]:
        """The symbols whose own text is as before, while that of a symbol inside, or the space around one, is not."""
    @property
    def moved(self) -> tuple[tuple[FormerSymbol, IndexedSymbol], ...]:
        """The symbols with the same text elsewhere, each after what it was: in another symbol, another order, another file."""
    @property
    def removed(self) -> tuple[FormerSymbol, ...]:
        """The symbols that are gone, as they were."""
    @property
    def unchanged(self) -> tuple[IndexedSymbol, ...]:
        """The symbols of which all text is as before, if on other lines."""

@disjoint_base
class SymbolIndex:
    """The symbols of many files, updated file by file. Good for any thread; no file is parsed under its lock."""

    def __new__(cls, *, max_bytes: int = 268435456, code_only: bool = False) -> Self:
        """Make an empty index.

        With ``code_only``, white space and comments do not count as changes. ``max_bytes`` bounds what is kept of syntax trees and sources,
        which go, trees first, of the files used longest ago; outlines and hashes, some 500 bytes a symbol, are kept beyond it.
        """
    def update(
        self, path: str, source: str | bytes, *, language: str | None = None, max_seconds: float = 60.0
    ) -> SymbolDiff:
        """Read ``source`` as what the file at ``path`` holds now, and return what that changed.

        A symbol is unchanged where the hash of its text is; the syntax tree is not asked. Symbols are paired by kind and name path; what leaves
        a file and comes into another later on has moved. The path is a name alone: no file is opened.

        Where the tree of the text before is kept, only what changed is parsed: about half a millisecond for a line of 2,000. The GIL is released for
        what is predicted to take over about 500 us. Raises what `outline_read` raises; the index is then as before.
        """
    def _update_or_work(
        self, path: str, source: str | bytes, language: str | None, max_seconds: float
    ) -> SymbolDiff | Work[SymbolDiff]:
        """What `update` returns where that is quick, else work for the workers."""
    def remove(self, path: str) -> SymbolDiff:
        """Forget the file at ``path`` and return which symbols that were: none where it is not known."""
    def symbols(self, path: str) -> tuple[IndexedSymbol, ...]:
        """Return the symbols of the file at ``path``, the file itself first, then in the order they start; none where it is not known."""
    def text(self, symbol: IndexedSymbol) -> str:
        """Return all text of ``symbol`` as its file has it now.

        Raises `sparecall.errors.InvalidArgument` where the file or the symbol is no longer there, or its source was given up for want of room.
        """
    def paths(self) -> list[str]:
        """Return the paths of the files, in no order."""
    def held(self) -> tuple[int, int, int]:
        """Return about how many bytes are held: in outlines, in sources, in trees."""
    @property
    def code_only(self) -> bool:
        """Whether white space and comments do not count."""
    def _key(self, symbol: IndexedSymbol, whole: bool) -> bytes:
        """Return the key of what is derived from ``symbol`` as its file has it now."""
    def _subject(
        self, symbol: IndexedSymbol, whole: bool
    ) -> tuple[bytes, tuple[str, str, str, str, str | None, str, list[tuple[str, str]]]]:
        """Return that key, and what a result may be derived from."""
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write outlines and hashes to ``path``, in place of a file that was there, whole or not at all.

        Sources and trees are not written; signatures and first docstring lines are. Raises ``OSError``.
        """
    @classmethod
    def load(cls, path: str | os.PathLike[str], *, max_bytes: int = 268435456) -> Self:
        """Return the index that was saved to ``path``. Each file is parsed whole at its next update.

        Raises `sparecall.errors.IndexFileError` for a file that is damaged, cut short, of another version or no saved index, and ``OSError``.
        """
    def __len__(self) -> int: ...
    def __contains__(self, path: object, /) -> bool: ...

def outline_read(
    source: str | bytes, language: str | None = None, *, path: str | None = None, max_seconds: float = 60.0
) -> Outline:
    """Return what ``source`` defines: classes, functions, methods, types, and the variables at its top, by tree-sitter.

    The language is the one named, else that of the path's ending, else that of a first line such as ``#!/usr/bin/env python3``.
    Bytes are read by their byte order mark, else as UTF-8, else as Latin-1; `Outline.encoding` says which.
    Around syntax errors, what parses is kept.

    Linear, about 10 MB a second; the GIL is released for what takes over about 500 us. Raises `sparecall.errors.UnknownName` for a
    language that is not known, which lists those that are; `InvalidArgument` above 64 MiB; `InvalidDocument` where the parse
    takes more than ``max_seconds``, or more steps than code of that length may.
    """

def _outline_work(source: str | bytes, language: str | None, path: str | None, max_seconds: float) -> Work[Outline]:
    """`outline_read` as work for the workers."""

def outline_languages() -> list[tuple[str, list[str]]]:
    """Return the names of the languages that can be read, each with the endings of its files' names."""

@final
class MergeConflict:
    """A place where the two sides of a merge do not agree. Immutable."""

    @property
    def reason(self) -> str:
        """One of ``both changed``, ``both added``, ``removed and changed``, ``defined twice``, ``symbol lost``, ``does not parse``.

        The last three are of lines that merge, into what one of the sides has not.
        """
    @property
    def symbol(self) -> str:
        """The name path of the symbol it is in; empty outside of all."""
    @property
    def base(self) -> str:
        """What the base has there."""
    @property
    def ours(self) -> str:
        """What our side has there."""
    @property
    def theirs(self) -> str:
        """What their side has there."""
    @property
    def base_lines(self) -> tuple[int, int] | None:
        """The first and last line of ``base``, from 1; the last is before the first where it is empty. None: nothing of it was there."""
    @property
    def our_lines(self) -> tuple[int, int] | None:
        """Likewise of ``ours``."""
    @property
    def their_lines(self) -> tuple[int, int] | None:
        """Likewise of ``theirs``."""

@final
class Merged:
    """The merge of two edits of a source, or the conflicts that stand in its way. Immutable."""

    @property
    def text(self) -> str | None:
        """The merged text; None where there are conflicts."""
    @property
    def conflicts(self) -> tuple[MergeConflict, ...]:
        """The places where the sides do not agree, in order."""
    @property
    def combined(self) -> tuple[str, ...]:
        """The name paths of the symbols that both sides changed, in lines apart, sorted: their text is neither side's."""
    @property
    def by(self) -> str | None:
        """How it was merged: ``side`` (at most one side changed anything), ``lines`` or ``symbols``; None where there are conflicts."""
    def marked(self, *, ours: str = "ours", theirs: str = "theirs", base: str | None = None) -> str:
        """Return the text with Git's markers at each conflict, each side by its name; the base's version too, where it is named."""

def outline_merge(
    base: str,
    ours: str,
    theirs: str,
    language: str | None = None,
    *,
    path: str | None = None,
    max_seconds: float = 10.0,
) -> Merged:
    """Return what ``ours`` and ``theirs`` made of ``base``, in one text.

    First by lines (diff3 over histogram differences, as Git); where these conflict, by symbols: edits of different symbols, symbols
    that both add at one place, imports as sets of names, one side's move of what the other changes. A merge is returned only if it parses
    as well as the sides, and each symbol that one side added, changed or took out is so in it; else there are conflicts. The same sides
    give the same text in either order. Line endings, and whether the last line has one, are merged as well.

    Linear but for differences, whose search is cut short; the GIL is released above about 500 us. Raises what `outline` does.
    """

def _outline_merge_work(
    base: str, ours: str, theirs: str, language: str | None, path: str | None, max_seconds: float
) -> Work[Merged]:
    """`outline_merge` as work for the workers."""

@final
class SymbolWords:
    """Symbols by the words they have: BM25, where a word of a name counts six times, of a signature twice. Good for any thread."""

    def __new__(cls) -> Self: ...
    def add(self, id: int, name_path: str, signature: str, text: str, context: str, /) -> None:  # noqa: A002
        """Enter a symbol under an id of 64 bits, in place of one that was there. O(characters)."""
    def remove(self, id: int, /) -> bool:  # noqa: A002
        """Forget it; whether it was there."""
    def search(self, question: str, k: int, /) -> list[tuple[int, float]]:
        """Return the ids of up to ``k`` symbols that have words of ``question``, with their scores, best first. O(symbols)."""
    def __len__(self) -> int: ...

# --- queue ---------------------------------------------------------------------------------------

_Priority: TypeAlias = Literal["critical", "high", "normal", "low"]

@disjoint_base
class Queue(Generic[_T]):
    """A bounded queue from any number of threads to one consumer, who takes out what is next by class, cost and deadline.

    Classes share the consumer by weight, 8 : 4 : 2 : 1 from ``critical`` to ``low``, in tokens: start-time fair queueing (Goyal, Vin,
    Cheng, 1996), the rule of `sparecall.batch`. With ``b`` tokens before it in its class and ``m`` in the largest, a value of ``low`` is
    taken after at most ``15 b + 18 m`` tokens of all classes. Within a class the earliest deadline goes first; a value without one is
    ordered as if due a second after it came.

    Any thread may call any method. Values go in through lock-free rings (crossbeam's ``ArrayQueue``, 1,024 a class).
    """

    def __new__(
        cls, max_items: int, *, overflow: Literal["wait", "reject", "drop"] = "wait", clock: Callable[[], float]
    ) -> Self:
        """Make a queue of at most ``max_items`` values. ``clock`` is what deadlines are times of, in seconds.

        Raises `sparecall.errors.InvalidArgument` for another overflow, or a ``max_items`` below 1.
        """

    @property
    def max_items(self) -> int:
        """The most values that wait."""
    @property
    def tokens(self) -> int:
        """How many tokens wait."""
    def put(
        self,
        value: _T,
        *,
        priority: _Priority = "normal",
        tokens: int = 1,
        deadline: float | None = None,
        timeout: float | None = None,
    ) -> QueueTicket[_T]:
        """Put a value in, which costs the consumer ``tokens``, at least 1. O(1), O(log n) with a deadline.

        Where the queue is full, ``wait`` sleeps until there is room, at most ``timeout`` seconds, without the GIL; ``reject`` raises; ``drop`` has
        the oldest of the lowest class give way that is no higher than ``priority``, and raises where there is none.

        Raises `sparecall.errors.Overloaded` (``full``), whose ``retry_after`` is the time in which a sixteenth of the queue is taken at
        the pace seen; `sparecall.errors.InvalidArgument` for negative tokens or times, `sparecall.errors.UnknownName` for another priority;
        ``RuntimeError`` where it would have to sleep in a thread with a running event loop.
        """

    def take(self) -> tuple[_T] | None:
        """Return the next value in a tuple of one, taken out, or None where nothing waits. O(1), O(log n) with deadlines."""
    def expired(self) -> list[_T]:
        """Return all values whose deadline has passed, taken out. O(log n) each."""
    def _tell_of_items(self, port: Port, future: asyncio.Future[None]) -> None:
        """Have ``future`` resolved once something waits, or at once. The latest one only: there is one consumer."""
    def _tell_of_room(self, port: Port, future: asyncio.Future[None]) -> None:
        """Have ``future`` resolved once there is room, or at once."""
    def _tell_no_more(self, future: asyncio.Future[None]) -> None:
        """Forget a future of `_tell_of_room`."""
    def __len__(self) -> int: ...

@final
class QueueTicket(Generic[_T]):
    """What was put in, as whoever put it in sees it."""

    def cancel(self) -> bool:
        """Take the value back while it waits, and say whether it did. O(1). Its place and tokens are free at once."""
    @property
    def dropped(self) -> list[_T]:
        """The value that gave way; an empty list where none had to."""

@final
class Work(Generic[_R]):
    """Long work of the core that is ready to be done by a worker: ``await sparecall.queue.run(work)``, once.

    Native classes make it: their arguments are read by then, and errors in them raised. It holds the objects that it reads.
    """

    @property
    def seconds(self) -> float:
        """How long it is predicted to take: its cost beside other work."""

@final
class WorkTicket:
    """The right to call work off while it waits for a worker."""

    def cancel(self) -> bool:
        """Call the work off and say whether that was in time, before it was begun. O(1). Its place is free, and what it holds dropped, at once."""

@final
class Port:
    """Where one event loop gets results from other threads: ``sparecall.queue.port()`` returns the running loop's.

    Results go through a lock-free list. The loop is woken through one descriptor, which the port owns, and only by the first result after
    it looked: the next ones cost nothing more. It resolves at most 256 futures at a time, in about half a millisecond, then lets others on the loop have their turn.
    """

    def __new__(cls) -> Self:
        """Open a descriptor: an eventfd, or a pipe where the system has none. Raises ``OSError`` where it grants none."""

    def fileno(self) -> int:
        """The descriptor, which a loop watches for reading, with `drain` as what to call then."""
    def drain(self) -> None:
        """Resolve what is ready, at most 256 futures. Those that are done by now, as cancelled ones are, are passed over. In the loop's thread."""
    def submit(self, work: Work[_R], future: asyncio.Future[_R], priority: _Priority) -> WorkTicket:
        """Have a worker do `work`, and resolve `future`, one of the port's loop, with what comes of it.

        Raises `sparecall.errors.UnknownName` for another priority, ``RuntimeError`` for work that was begun before, ``OSError``
        where no thread can be started.
        """
    def resolve(self, future: asyncio.Future[_T], value: _T) -> None:
        """Have the loop set the future's result, unless it is done by then. From any thread; O(1), without a lock.

        Results come in the order of the calls of one thread. For a loop that is closed, nothing happens.
        """
    def fail(self, future: asyncio.Future[_T], error: BaseException) -> None:
        """Have the loop set the future's exception, likewise."""
    def _resolve_natively(self, futures: list[asyncio.Future[_T]], value: _T) -> None:
        """For benchmarks: a native thread resolves the futures with ``value``, one after the other."""

def queue_workers() -> tuple[int, int, int]:
    """Return how many pieces of work wait, how many threads there are for them, and how many there may be: as many as cores, at least two.

    One of them does only what is ``critical`` or ``high``.
    """

def _queue_after_fork() -> None:
    """For the child of a fork: the workers are the parent's, and so is what waits for them."""

def _queue_hold(value: _T) -> Work[_T]:
    """For tests: work that keeps a worker busy until `_queue_let_go` is called next, and returns ``value``."""

def _queue_let_go() -> None:
    """For tests: end what `_queue_hold` made."""

def _queue_pause(seconds: float, value: _T) -> Work[_T]:
    """For tests: work that keeps a worker busy for so many seconds and returns ``value``; for NaN, a fault of the core."""

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
