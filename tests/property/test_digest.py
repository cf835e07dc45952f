"""digest, held to any JSON: meaning decides, spelling does not, and Python's own reader agrees on what JSON is."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
from hypothesis import assume, given

from sparecall import digest, errors

if TYPE_CHECKING:
    from collections.abc import Sequence

IGNORED = (
    "stream",
    "stream_options",
    "user",
    "safety_identifier",
    "metadata",
    "store",
    "service_tier",
    "prompt_cache_key",
)
# Few letters, so that two documents often nearly meet; every character, surrogates too, so that none is forgotten.
TEXTS = st.one_of(st.text("ab", max_size=3), st.text(st.characters(codec=None), max_size=12), st.sampled_from(IGNORED))
NUMBERS = st.one_of(
    st.integers(-12, 12).map(Decimal),
    st.integers().map(Decimal),
    st.tuples(st.integers(-1000, 1000), st.integers(-400, 400)).map(lambda parts: Decimal(parts[0]).scaleb(parts[1])),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)
SPACES = st.text(" \t\r\n", max_size=2)


def digest_of(body: bytes) -> bytes:
    return digest.inspect(body, scope="team").digest


def spell_text(draw: st.DrawFn, text: str) -> str:
    style = draw(st.sampled_from(["plain", "ascii", "escaped"]))
    if style == "escaped":
        units = text.encode("utf-16-be", "surrogatepass")
        hexes = [units[at : at + 2].hex() for at in range(0, len(units), 2)]
        return '"' + "".join(f"\\u{unit.upper() if draw(st.booleans()) else unit}" for unit in hexes) + '"'
    # A lone surrogate has no bytes in UTF-8: only its escape can be written.
    lone = any("\ud800" <= character <= "\udfff" for character in text)
    spelled = json.dumps(text, ensure_ascii=lone or style == "ascii")
    return spelled.replace("/", "\\/") if draw(st.booleans()) else spelled


def spell_number(draw: st.DrawFn, number: Decimal) -> str:
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    text, minus = "".join(map(str, digits)).lstrip("0") or "0", "-" if sign else ""
    zeros = draw(st.integers(0, 3))
    match draw(st.sampled_from(["digits", "point", "whole"])):
        case "point":
            return f"{minus}0.{'0' * zeros}{text}e{exponent + len(text) + zeros}"
        case "whole" if -40 < exponent < 40:
            return f"{number:f}"
        case _ if text == "0":
            return minus + "0" + "." * bool(zeros) + "0" * zeros
        case _:
            return f"{minus}{text}{'0' * zeros}E{exponent - zeros:+d}"


def spell(draw: st.DrawFn, value: Any) -> str:
    """One of the many spellings of a value."""
    before, after = draw(SPACES), draw(SPACES)
    match value:
        case None | True | False:
            middle = json.dumps(value)
        case Decimal():
            middle = spell_number(draw, value)
        case str():
            middle = spell_text(draw, value)
        case list():
            middle = f"[{','.join(spell(draw, item) for item in value) or draw(SPACES)}]"
        case _:
            keys = draw(st.permutations(list(value)))
            members = [f"{draw(SPACES)}{spell_text(draw, key)}{draw(SPACES)}:{spell(draw, value[key])}" for key in keys]
            middle = f"{{{','.join(members) or draw(SPACES)}}}"
    return before + middle + after


@st.composite
def spellings(draw: st.DrawFn, values: Sequence[Any]) -> list[bytes]:
    return [spell(draw, value).encode() for value in values]


def meaning(value: Any) -> Any:
    """What two values share exactly where they mean the same; Python's own ``True == 1`` must not count."""
    match value:
        case Decimal():
            return ("number", value)
        case list():
            return ("array", [meaning(item) for item in value])
        case dict():
            return ("object", {key: meaning(item) for key, item in value.items()})
        case _:
            return (type(value).__name__, value)


def counted(value: Any) -> Any:
    return {key: item for key, item in value.items() if key not in IGNORED} if isinstance(value, dict) else value


def mutate(draw: st.DrawFn, value: Any) -> Any:
    """The value with a small change somewhere inside, or another value."""
    match value:
        case list() if value and draw(st.booleans()):
            at = draw(st.integers(0, len(value) - 1))
            return [
                *value[:at],
                *draw(st.sampled_from([[mutate(draw, value[at])], [], [value[at]] * 2])),
                *value[at + 1 :],
            ]
        case dict() if value and draw(st.booleans()):
            key = draw(st.sampled_from(sorted(value)))
            rest = {other: item for other, item in value.items() if other != key}
            changed = {key: mutate(draw, value[key])}
            return rest | draw(st.sampled_from([changed, {}, {key + "a": value[key]}]))
        case str() if draw(st.booleans()):
            return value + draw(TEXTS)
        case Decimal() if draw(st.booleans()):
            return value * 10 + draw(st.integers(-1, 1))
        case _:
            return draw(VALUES)


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[Any, Any]:
    value = draw(VALUES)
    return value, mutate(draw, value)


@given(st.data(), VALUES)
def test_another_spelling_of_the_same_value_has_the_same_digest(data: st.DataObject, value: Any) -> None:
    one, other = data.draw(spellings([value, value]))
    assert digest_of(one) == digest_of(other)
    assert digest.compare(one, other) is None


@given(st.data(), neighbours())
def test_a_change_of_meaning_changes_the_digest_and_compare_sees_it(data: st.DataObject, pair: tuple[Any, Any]) -> None:
    one, other = data.draw(spellings(pair))
    same = meaning(counted(pair[0])) == meaning(counted(pair[1]))
    assert (digest_of(one) == digest_of(other)) == same
    difference = digest.compare(one, other)
    assert (difference is None) == same
    if difference is not None:
        mirrored = digest.compare(other, one)
        assert mirrored is not None
        assert (mirrored.path, mirrored.offset) == (difference.path, difference.offset)
        assert (mirrored.left, mirrored.right) == (difference.right, difference.left)


@given(st.text(max_size=5), st.text(max_size=5), st.integers(0, 3), st.integers(0, 3), st.binary(max_size=3))
def test_scope_version_and_salt_change_the_digest(one: str, other: str, first: int, second: int, salt: bytes) -> None:
    keys = {(one, first, b""), (other, second, b""), (one, first, salt), (one, second, salt)}
    digests = {digest.inspect(b"{}", scope=scope, version=version, salt=extra).digest for scope, version, extra in keys}
    assert len(digests) == len(keys)


@given(st.data(), st.dictionaries(TEXTS, VALUES, max_size=4), st.dictionaries(st.sampled_from(IGNORED), VALUES))
def test_ignored_fields_of_the_top_level_do_not_count(
    data: st.DataObject, value: dict[str, Any], ignored: dict[str, Any]
) -> None:
    plain, extended, nested = data.draw(spellings([counted(value), counted(value) | ignored, {"x": ignored}]))
    assert digest_of(plain) == digest_of(extended)
    assert (digest_of(nested) == digest_of(b'{"x":{}}')) == (not ignored)


class Refused(ValueError):
    """Python's reader would take it; we must not."""


def depth(value: Any) -> int:
    if isinstance(value, (list, dict)):
        return 1 + max((depth(item) for item in (value.values() if isinstance(value, dict) else value)), default=0)
    return 0


def python_accepts(body: bytes) -> bool:
    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(members)) < len(members):
            raise Refused("a key twice")
        return dict(members)

    def constant(name: str) -> float:
        raise Refused(name)

    def number(text: str) -> str:
        mantissa, _, exponent = text.lower().partition("e")
        if any(digit in mantissa for digit in "123456789") and len(exponent.lstrip("+-0")) > 17:
            assume(False)  # near the limit of 64 bits: the core's own tests know it exactly
        return text

    try:
        text = body.decode()
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=constant, parse_int=number, parse_float=number)
        return depth(value) <= 128
    except (ValueError, RecursionError):
        return False


def accepts(body: bytes) -> bool:
    try:
        digest_of(body)
    except errors.InvalidDocument as refusal:
        if not 0 <= refusal.offset <= len(body):
            raise AssertionError("an offset outside the body") from refusal
        return False
    return True


@given(st.one_of(st.binary(max_size=40), st.text('{}[]",:\\u0123eE+-.\n tfalsn', max_size=16).map(str.encode)))
def test_python_agrees_on_which_bytes_are_json(body: bytes) -> None:
    assert accepts(body) == python_accepts(body)


@given(st.data(), VALUES)
def test_python_agrees_on_json_with_a_few_bytes_changed(data: st.DataObject, value: Any) -> None:
    [body] = data.draw(spellings([value]))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body)))
        gone = data.draw(st.integers(0, 2))
        body = (
            body[:at]
            + data.draw(st.sampled_from([b"", b"0", b'"', b"\\", b",", b"]", b"}", b"\xc3", b"\x01", body[:at]]))
            + body[at + gone :]
        )
    assert accepts(body) == python_accepts(body)


@given(st.integers(120, 136), st.booleans())
def test_python_agrees_on_depth(levels: int, objects: bool) -> None:
    opening, closing = ('{"a":', "}") if objects else ("[", "]")
    body = (opening * levels + "1" + closing * levels).encode()
    assert accepts(body) == python_accepts(body) == (levels <= 128)


@given(st.data(), st.floats(0, 2), st.floats(0, 2), st.integers(1, 5), st.integers(1, 5))
def test_temperature_and_n_above_their_limits_are_not_cacheable(
    data: st.DataObject, temperature: float, max_temperature: float, n: int, max_n: int
) -> None:
    chat = {"model": "m", "messages": [{}], "temperature": Decimal(repr(temperature)), "n": Decimal(n)}
    [body] = data.draw(spellings([chat]))
    found = digest.inspect(body, scope="team", max_temperature=max_temperature, max_n=max_n)
    assert found.cacheable == (temperature <= max_temperature and n <= max_n)
    assert found.temperature is not None
    assert math.isclose(found.temperature, temperature, rel_tol=0, abs_tol=0)
    assert found.n == n
